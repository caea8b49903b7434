"""Features of patches: their principal components."""

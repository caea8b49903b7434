"""Features of patches, and their principal components."""

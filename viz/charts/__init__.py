"""Charts: numbers in, a figure out."""

"""Captioners: decoders over image tokens, how they choose words, and where each word looked."""

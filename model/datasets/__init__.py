"""Data sets: as published, packed, drawn, and the sample photos."""

"""Measure every head over many pictures."""

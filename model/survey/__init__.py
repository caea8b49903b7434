"""Measures of every head over many pictures."""

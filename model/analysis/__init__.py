"""Measure a model: its heads, position codes, token order, patch filters and cost."""

"""Measure a checkpoint: `python -m model.evaluate classify NAME --data DIR`.

The figures go onto the checkpoint's card, and one JSON object is printed last.
"""

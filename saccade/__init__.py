"""The command `saccade`. The library is in the packages `model` and `viz`:

    >>> from model import AttentionRecorder, samples, zoo
    >>> from viz.notebook import show

Installed, this package also has `home`: `app.py`, its settings and the checkpoints, which
`model.home` finds.
"""

"""Train a vision transformer from a recipe.

`python -m model.training RECIPE --data DIR --out FILE [--resume]` trains, and
`python -m model.training pack FROM TO` turns a publisher's data set into a few small files.

One idea a file: `recipe` says what to train and how, `augment` and `optimisers` build its parts,
and `loop` takes a run from epoch to epoch. What is learned stands in `classification`,
`distillation`, `captioning` and `self_critical`. `shipping` writes the checkpoint and its card.
"""

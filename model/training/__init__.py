"""Train a vision transformer from a recipe.

`python -m model.training RECIPE --data DIR --out FILE [--resume]` trains, and
`python -m model.training pack FROM TO` turns a publisher's data set into a few small files.

One idea a file: `data` reads pictures into memory, `recipe` reads what to do, `augment` varies a
batch, `loop` trains, `finish` writes the checkpoint and its card.
"""

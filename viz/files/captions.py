"""The files of a picture that a captioner describes: each word's map, and the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from model.captioning.caption import Caption, CaptionBundle
from viz.export.captions import Written, caption_export
from viz.files.attention import NUMBERS, write_numbers
from viz.files.wanted import Wanted, write_beside, write_export


def write_caption(
    bundle: CaptionBundle, image: Image.Image, wanted: Wanted, path: Path, out: Path, made: str
) -> Caption:
    """Write the caption's picture and numbers, from the last layer of the decoder.

    Raises ValueError where the captioner writes nothing, or sees the whole picture as one vector.
    """
    caption = bundle.caption(image)
    if not caption.words:
        raise ValueError("The captioner has written nothing for this picture.")
    if bundle.memory_of_one:
        raise ValueError("This captioner sees the whole picture as one vector: words have no map.")
    written = Written(
        caption,
        bundle.frame(image),
        bundle.tokens,
        bundle.name,
        path.stem,
        "greedy",
        wanted.opening(path),
        "bundle.caption(image)",
    )
    export = caption_export(written, len(caption.cross) - 1, "mean", wanted.style)
    out.mkdir(parents=True, exist_ok=True)
    (out / NUMBERS).unlink(missing_ok=True)
    if wanted.all:
        write_export(export, out, "caption", wanted.width, ("npz",))
    else:
        write_beside(out / "caption.png", export.write("png", wanted.width))
    arrays = {**export.numbers().arrays, "text": np.array(caption.text), "made": np.array(made)}
    write_numbers(out / NUMBERS, arrays)
    return caption

"""The explorer over random queries and keys, of the size that the address asks for."""

import numpy as np
import streamlit as st
from PIL import Image
from skimage import data

from viz.components import mounts
from viz.components.draw_style import DrawStyle
from viz.components.payload import pack, photo_bytes

side, heads = int(st.query_params.get("side", 14)), int(st.query_params.get("heads", 12))
dim, tokens = 64, side * side + 1
rng = np.random.default_rng(0)
header = {
    "image": f"{side} {heads}",
    "model": "random",
    "layers": [[heads, side, side]] * 12,
    "numbers": list(range(1, 13)),
    "prefix": ["cls"],
    "view": {"layer": 0, "head": "mean", "query": 0, "held": False},
    "style": DrawStyle(lines=True).as_header(),
    "revision": 0,
    "classes": [],
    "note": "",
}
query, key = rng.normal(size=(2, heads, tokens, dim)).astype(np.float16)
layer = pack({"kind": "qk", "dim": dim, "scale": dim**-0.5}, query=query, key=key)
photo = photo_bytes(Image.fromarray(data.astronaut()))
st.set_page_config(layout="wide")
mounts.explorer(pack(header, **{"photo": photo, "layer/0": layer}))

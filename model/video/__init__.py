"""Clips: frames of a video, an animated picture or a folder, and the attention of each frame.

`open_clip` opens a file and `open_frames` a folder or pictures, both bounded in frames and bytes;
`record_clip` of `model.video.recording` runs the frames through a model, one after another.
"""

from model.errors import ClipRejected
from model.video.clip import Clip
from model.video.limits import CLIP_ENDINGS, MAX_CLIP_BYTES, MAX_FRAMES
from model.video.opening import looks_like_a_clip, open_clip, open_frames

__all__ = [
    "CLIP_ENDINGS",
    "MAX_CLIP_BYTES",
    "MAX_FRAMES",
    "Clip",
    "ClipRejected",
    "looks_like_a_clip",
    "open_clip",
    "open_frames",
]

"""What is taken of a clip: the endings of files, and the largest numbers of frames and bytes."""

VIDEO_ENDINGS = ("mp4", "m4v", "mov", "webm", "mkv", "avi", "mpg", "mpeg", "ogv", "flv", "3gp")
"""Endings of files that PyAV decodes, without the dot."""

CLIP_ENDINGS = ("gif", "webp", "png", "apng", *VIDEO_ENDINGS)
"""Endings of files that may hold several frames."""

MAX_FRAMES = 240
"""Frames that are kept of a clip: 24 seconds at ten a second."""
MAX_CLIP_BYTES = 100_000_000
MAX_CLIP_SIDE = 512
"""Longer side of a kept frame in pixels; larger ones are made smaller as they are decoded."""

MAX_CLIP_SECONDS = 30.0
"""Processor time for decoding one clip."""
MAX_CLIP_WAIT = 120.0
"""Time on the clock for the same."""

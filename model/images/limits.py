"""What is taken: the endings of files, and the largest sizes and numbers of parts."""

ENDINGS = (
    *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "webp", "gif", "bmp", "dib"),
    *("tif", "tiff", "avif", "heic", "heif"),
)
"""Endings of picture files that the app and the command line take, without the dot."""

MAX_BYTES = 100_000_000
MAX_PIXELS = 25_000_000
"""Largest picture in memory. What is larger is decoded at a fraction of its size, or refused."""
MAX_PHONE_PIXELS = 51_000_000
"""Largest AVIF or HEIC, which a process of its own decodes and reduces within its memory."""
MAX_REDUCIBLE_PIXELS = 220_000_000
"""Largest picture of a format that can be decoded at a fraction of its size: JPEG and TIFF."""
MAX_ASPECT = 20

MAX_SECONDS = 1.8
"""Processor time for one file. Legitimate files of the largest size take about one second."""

MAX_SEGMENTS = 4_000
"""Segments of a JPEG, chunks of a WebP, blocks of a GIF before its pixels."""
MAX_SCANS = 100
MAX_SCANNED_BLOCKS = 60_000_000
"""Blocks of 8 x 8 coefficients of a JPEG, counted once for each scan that visits them."""
MAX_COEFFICIENTS = 150_000_000
"""Coefficients that a progressive JPEG keeps until its last scan, two bytes each."""
MAX_TABLE_BYTES = 200_000
MAX_CHUNKS = 25_000
"""Chunks of a PNG."""
MAX_SUB_BLOCKS = 1_000_000
"""Sub-blocks of a GIF, which hold up to 255 bytes each."""
MAX_RUNS = 1_500_000
"""Runs of equal pixels in a BMP."""
MAX_TAGS = 1_000
MAX_STRIPS = 100_000
"""Strips or tiles of a TIFF."""
MAX_RAW_PARTS = 20_000
"""Strips or tiles of a TIFF without compression, which Pillow opens one by one."""
MAX_BANDS = 1_000
MAX_SAMPLE_BYTES = 160_000_000
"""Samples of a deep or many-band TIFF in memory."""

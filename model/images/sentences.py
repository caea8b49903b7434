"""Sentences that say why a picture is not taken, and what to do."""

from __future__ import annotations

from model.images.limits import MAX_BYTES, MAX_PIXELS, MAX_REDUCIBLE_PIXELS

AGAIN = "Export or download it again, as JPEG or PNG."
_LONGEST_QUOTE = 100


def quote(text: object) -> str:
    """Quote a name or a value from outside: one line, printable, at most 100 characters."""
    line = "".join(c if c.isprintable() else "�" for c in str(text))
    return line if len(line) <= _LONGEST_QUOTE else line[: _LONGEST_QUOTE - 1] + "…"


def pixels(size: tuple[int, int]) -> str:
    """Write a size: "4,000 × 3,000 pixels"."""
    return f"{size[0]:,} × {size[1]:,} pixels"


def too_large(size: tuple[int, int], reducible: bool, most: int = MAX_PIXELS) -> str:
    """Say that a picture has too many pixels, with its number and the largest one."""
    most = MAX_REDUCIBLE_PIXELS if reducible else most
    other = "" if reducible else f" (as JPEG, {MAX_REDUCIBLE_PIXELS // 1_000_000})"
    return (
        f"The picture is too large: {pixels(size)}, {size[0] * size[1] / 1e6:,.1f} megapixels. "
        f"At most {most // 1_000_000} megapixels are taken{other}: make it smaller and try again."
    )


def too_heavy(size: int) -> str:
    """Say that a file has too many bytes."""
    return (
        f"The file is too large: {size / 1e6:,.0f} MB. "
        f"At most {MAX_BYTES // 1_000_000} MB are taken: save it as JPEG or make it smaller."
    )


def too_many(kind: str, parts: str, count: int, most: int) -> str:
    """Say that a file is cut into more parts than any program writes."""
    return f"This {name_of(kind)} has {count:,} {parts} or more; at most {most:,} are read. {AGAIN}"


def too_slow(kind: str) -> str:
    """Say that a file takes longer than any ordinary one."""
    return f"This {name_of(kind)} takes too long to decode. {AGAIN}"


def truncated(kind: str) -> str:
    """Say that a file ends too early."""
    return f"This {name_of(kind)} stops before its end, as if it had been copied in part. {AGAIN}"


def damaged(kind: str, error: Exception | None = None, size: tuple[int, int] | None = None) -> str:
    """Say that a decoder failed on a file, and why where that is known."""
    if size and 0 in size:
        return f"This {name_of(kind)} holds no pixels: it says it is {pixels(size)}. {AGAIN}"
    if "truncated" in str(error).lower():
        return truncated(kind)
    return f"This {name_of(kind)} is damaged or of a rare kind that cannot be read here. {AGAIN}"


def cause(error: Exception) -> str:
    """Name what the system said."""
    return quote(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def name_of(kind: str) -> str:
    """Write a format as its makers do."""
    return {"WEBP": "WebP", "HEIF": "HEIC"}.get(kind, kind)

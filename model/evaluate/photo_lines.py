"""Keep what is measured of each photo as a line of a file, so that a second run goes on.

The first line names the model and the measure.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def start_or_resume(out: Path, head: dict[str, Any]) -> set[int]:
    """Start the file, or list the photos it has. ValueError if it belongs to another run."""
    if not out.exists() or out.stat().st_size == 0:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(head) + "\n", encoding="utf-8")
        return set()
    lines = read_lines(out)
    if not lines or lines[0] != head:
        raise ValueError(f"{out} is of another run. Delete it, or name another file with --out.")
    # A line cut short when the run was stopped is left out, and its photo is scored again.
    out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return {line["photo"] for line in lines[1:]}


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Read the lines of a file up to the first that is cut short."""
    lines: list[dict[str, Any]] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return lines

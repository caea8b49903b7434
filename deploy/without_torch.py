"""Divide a lock file: what is left without torch and its CUDA libraries, or torch's versions.

python deploy/without_torch.py requirements.lock > rest.lock
python deploy/without_torch.py --torch requirements.lock      # torch==2.13.0 torchvision==0.28.0
"""

import re
import sys
from pathlib import Path

TORCH = ("torch", "torchvision")
CUDA = re.compile(r"(nvidia|cuda|triton)\b")


def entries(text: str) -> dict[str, str]:
    """Divide a lock file into its entries, by the package's name."""
    found = re.findall(r"^(\S.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    lines = (entry for entry in found if not entry.startswith("#"))
    return {re.split(r"[=\[ ;]", entry, maxsplit=1)[0]: entry for entry in lines}


def without_torch(text: str) -> str:
    """Return the lock file without torch, torchvision and the libraries of CUDA."""
    kept = (e for n, e in entries(text).items() if n not in TORCH and not CUDA.match(n))
    return "".join(kept)


def torch_versions(text: str) -> list[str]:
    """Return torch and torchvision with the versions of the lock file."""
    locked = entries(text)
    return [re.match(r"[\w.-]+==[\w.]+", locked[name])[0] for name in TORCH]


if __name__ == "__main__":
    lock = Path(sys.argv[-1]).read_text(encoding="utf-8")
    print(*torch_versions(lock)) if "--torch" in sys.argv else print(without_torch(lock), end="")

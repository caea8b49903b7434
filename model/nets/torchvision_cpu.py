"""Let torchvision import beside a CPU-only build of torch.

The torchvision wheel of the package index carries a C++ extension that wants CUDA libraries.
Beside a CPU-only torch that extension does not load, its operators are never declared, and
`import torchvision` (and timm with it) stops at "operator torchvision::nms does not exist".
Vision transformers use none of those operators, so declaring them is enough.
"""

import importlib.util
import threading
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import torch

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_lock = threading.Lock()
_library: torch.library.Library | None = None  # the declarations live as long as this object


def ensure_operators() -> None:
    """Declare torchvision's operators where its own extension cannot.

    Call it before the first `import torchvision` or `import timm`; further calls cost nothing.
    Where torchvision is not installed it does nothing, and importing torchvision says so.
    """
    global _library
    with _lock:
        if _declared() or _load_extension():
            return
        if importlib.util.find_spec("torchvision") is None:
            return
        _library = torch.library.Library("torchvision", "DEF")
        for schema in _SCHEMAS:
            _library.define(schema)


def _declared() -> bool:
    return hasattr(torch.ops.torchvision, "nms")


def _load_extension() -> bool:
    """Load torchvision's compiled operators without importing it; False where they fail."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    for suffix in EXTENSION_SUFFIXES:
        extension = Path(spec.origin).with_name("_C" + suffix)
        if extension.exists():
            try:
                torch.ops.load_library(str(extension))
            except (OSError, ImportError):
                return False
            return True
    return False

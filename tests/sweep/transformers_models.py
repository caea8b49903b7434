"""The classes of transformers that are given pictures, each in a tiny configuration.

`transformers_configs.py` shrinks configurations by the names of their fields, and
`transformers_inputs.py` makes inputs by the names of the arguments of `forward`. What does not run
that way is listed as not run.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import itertools
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.sweep.judge import copy_of
from tests.sweep.subject import NoSubject, Subject
from tests.sweep.transformers_configs import configurations
from tests.sweep.transformers_inputs import inputs, run_on

ATTEMPTS = 60  # inputs for one configuration
_TOO_MUCH = {
    "Glm5NextModel": "it runs; the loops of its linear attention take the judge more than 6 GB",
}


def load() -> None:
    """Import what most classes share, once for all the processes that judge one each."""
    for name in ("clip", "detr", "llava", "qwen2_vl", "sam2", "auto"):
        importlib.import_module(f"transformers.models.{name}.modeling_{name}")


def list_models() -> list[str]:
    """List one or two classes of each architecture: the whole model, and its eye."""
    spec = importlib.util.find_spec("transformers")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "models"
    return [name for file in sorted(folder.glob("*/modeling_*.py")) for name in _classes(file)]


def _classes(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text("utf-8"))
    named = [c.name for c in tree.body if isinstance(c, ast.ClassDef) and _is_given_pictures(c)]
    named = [n for n in named if not n.endswith(("PreTrainedModel", "Backbone"))]
    models = sorted((n for n in named if n.endswith("Model")), key=len)
    eyes = [n for n in models if "Vision" in n]
    heads = [n for n in named if "For" in n and "Classification" not in n]
    whole = [n for n in models if n not in eyes][:1] or heads[:1] or named[:1]
    yield from dict.fromkeys((*whole, *eyes[:1], *(heads[:1] if len(models) < 1 else ())))


def _is_given_pictures(kind: ast.ClassDef) -> bool:
    forward = [f for f in kind.body if isinstance(f, ast.FunctionDef) and f.name == "forward"]
    public = any(isinstance(b, ast.Name) and b.id.endswith("PreTrainedModel") for b in kind.bases)
    given = {"pixel_values", "pixel_values_videos", "grid_thw", "input_features_images"}
    return public and any(given & {a.arg for a in f.args.args} for f in forward)


def build(name: str) -> Subject:
    """Build a class in a tiny configuration, with what its `forward` asks for."""
    import transformers

    if name in _TOO_MUCH:
        raise NoSubject(_TOO_MUCH[name])
    kind = getattr(transformers, name, None) or _find(name)
    faults: list[tuple[str, int, str]] = []  # form, how deep the run came, what was said
    for form, config in configurations(kind.config_class):
        if isinstance(config, Exception):
            faults.append((form, 0, _said(config)))
            continue
        try:
            torch.manual_seed(0)
            net = kind(config).eval()
        except Exception as error:
            faults.append((form, 0, _said(error)))
            continue
        for subject in itertools.islice(inputs(net, config), ATTEMPTS):
            try:
                found = run_on(subject, config)
            except Exception as error:
                depth = len(traceback.extract_tb(error.__traceback__))
                faults.append((form, depth, _said(error)))
                continue
            found.eager = _own_maps
            return found
    raise NoSubject(" · ".join(_farthest(faults)))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"


def _farthest(faults: list[tuple[str, int, str]]) -> list[str]:
    """The fault of each form that came up the deepest in the net: the input fitted best there."""
    forms = dict.fromkeys(form for form, _, _ in faults)
    deepest = [max((f for f in faults if f[0] == form), key=lambda f: f[1]) for form in forms]
    return list(dict.fromkeys(said for _, _, said in deepest))


def _find(name: str) -> Any:
    """Find a class that transformers does not export by itself."""
    spec = importlib.util.find_spec("transformers")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "models"
    for file in folder.glob("*/modeling_*.py"):
        if f"class {name}(" in file.read_text("utf-8"):
            module = importlib.import_module(f"transformers.models.{file.parent.name}.{file.stem}")
            return getattr(module, name)
    raise NoSubject("there is no such class")


def _own_maps(subject: Subject) -> list[Tensor]:
    """The maps that transformers itself returns, with its eager attention."""
    net: Any = copy_of(subject.net)
    net.set_attn_implementation("eager")
    with torch.no_grad():
        output = net(**subject.kwargs, output_attentions=True)
    found: list[Tensor] = []
    for key, value in output.items():
        if "attentions" in key and isinstance(value, list | tuple):
            found += [v for v in value if isinstance(v, Tensor) and v.ndim == 4]
    return found

"""Every architecture of timm that attends: the smallest of each class and kind of attention."""

from __future__ import annotations

import re
from typing import Any

import torch

from model.errors import NothingRecorded
from model.recording.recorder import AttentionRecorder
from tests.sweep.subject import NoSubject, Subject, images

_SIZES = re.compile(
    r"femto|pico|nano|atto|tiny|mini|small|medium|base|large|huge|giant|xxlarge|xlarge|xxs|xs"
    r"|so400m|gopt|dwee|dpwee|pwee|wee|little|betwixt|zepto|gigantic|[a-z]?\d+x?m?b?"
)
_ATTENDS = re.compile(r"attn|attention|mhsa|mhca|gpsa|mla$", re.I)
MANY = 150_000_000  # parameters, from which a model is built with fewer layers
TOO_MANY = 600_000_000  # from which it is not built with all of them
_SMALL = [
    *("test", "atto", "femto", "pico", "zepto", "nano", "xxs", "xxsmall", "dwee", "pwee", "wee"),
    *("xs", "xsmall", "tiny", "ti", "t", "mini", "little", "m0", "b0", "s0", "d1", "small", "s"),
]
_NARROW: dict[str, Any] = {"depth": 2, "embed_dim": 128, "num_heads": 4}
SHRUNK: dict[
    str, tuple[dict[str, Any], int]
] = {  # models too large to build, by the beginning of their names: settings, side of pictures
    "deepseek_vit_412m": (_NARROW | {"img_size": 84}, 84),
    "vit_5b_patch16_sapiens2": (_NARROW | {"num_kv_heads": (4, 2), "img_size": 64}, 64),
    "mobilenetv5_300m_enc": ({}, 256),
}
WITHOUT = {  # files whose models have neither a softmax over a map nor anything named after it
    *(
        "resnet",
        "efficientnet",
        "nfnet",
        "regnet",
        "mobilenetv3",
        "convnext",
        "cspnet",
        "mlp_mixer",
    ),
    *("resnetv2", "dla", "hrnet", "mambaout", "vovnet", "ghostnet", "hgnet", "rexnet", "senet"),
    *("res2net", "repghost", "vgg", "dpn", "starnet", "densenet", "fasternet", "hardcorenas"),
    *("selecsls", "xception_aligned", "inception_next", "rdnet", "tresnet", "convmixer", "lcnetv2"),
    *("inception_resnet_v2", "inception_v3", "inception_v4", "xception", "nasnet", "pnasnet"),
    *("cspnext", "sequencer"),
}


def list_models() -> list[str]:
    """List the names: the smallest of each class of models with each kind of attention."""
    import timm

    families: dict[tuple[str, str], list[str]] = {}
    for name in timm.list_models():
        file = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
        if file not in WITHOUT:
            families.setdefault((file, _SIZES.sub("", name)), []).append(name)
    smallest: dict[tuple[str, ...], tuple[int, str]] = {}
    for (file, _), names in families.items():
        name = min(names, key=_size)
        kind, parameters = _measure(name)
        kind = (file, *kind)
        if len(kind) > 1:
            smallest[kind] = min(smallest.get(kind, (parameters, name)), (parameters, name))
    return sorted(name for _, name in smallest.values())


def _size(name: str) -> tuple[int, list[int], int]:
    """Rank a name by the word for its size, and by its numbers."""
    ranks = [_SMALL.index(word) for word in name.split("_") if word in _SMALL]
    numbers = [int(number) for number in re.findall(r"\d+", name)]
    return min(ranks, default=len(_SMALL)), numbers, len(name)


def _measure(name: str) -> tuple[tuple[str, ...], int]:
    """The classes of a model and of its attention with its parts, and the model's size.

    No classes where nothing attends.
    """
    import timm

    with torch.device("meta"):
        net = timm.create_model(name)
    kinds = {
        f"{type(module).__name__}({', '.join(part for part, _ in module.named_children())})"
        for module in net.modules()
        if _ATTENDS.search(type(module).__name__)
    }
    parameters = sum(p.numel() for p in net.parameters())
    return (type(net).__name__, *sorted(kinds)) if kinds else (), parameters


def build(name: str) -> Subject:
    """Build a model for the smallest pictures that it takes."""
    import timm

    for known, (shrunk, side) in SHRUNK.items():
        if name.startswith(known):
            torch.manual_seed(0)
            return Subject(timm.create_model(name, **shrunk).eval(), (images(3, side, side),))
    config = timm.get_pretrained_cfg(name)
    channels, largest, _ = config.input_size if config else (3, 224, 224)
    torch.manual_seed(0)
    parameters = _measure(name)[1]
    fewer: list[dict[str, int]] = [{"depth": 2}, {"depth": 2, "num_kv_heads": 2}]
    fewer = [{}] if parameters < MANY else fewer + [{}] * (parameters < TOO_MANY)
    faults = []
    for side in (largest // 4, largest // 2, largest):
        for settings in (size | few for few in fewer for size in ({"img_size": side}, {})):
            try:
                net = timm.create_model(name, **settings).eval()
                subject = Subject(net, (images(channels, side, side),))
                if side < largest and not _has_several_keys(subject):
                    break
            except (TypeError, RuntimeError, AssertionError, ValueError, IndexError) as error:
                faults.append(f"{type(error).__name__}: {str(error)[:80]}")
                continue
            return subject
    raise NoSubject(" · ".join(dict.fromkeys(faults))[:300])


@torch.no_grad()
def _has_several_keys(subject: Subject) -> bool:
    """Whether each map has more than one key, so that there is something to compare."""
    try:
        with AttentionRecorder(subject.net) as recorder:
            subject.first().run()
    except NothingRecorded:
        return True
    return all(record.shape[-1] > 1 for record in recorder.records)

"""The models of vit-pytorch, one of each file, small: settings and inputs go by their names."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.sweep.subject import NoSubject, Subject, images

SIDE = 64
_SETTINGS: dict[str, Any] = {
    "image_size": SIDE,
    "img_size": SIDE,
    "patch_size": 16,
    "image_patch_size": 16,
    "freq_patch_size": 16,
    "frames": 4,
    "max_frames": 4,
    "frame_patch_size": 2,
    "seq_len": 64,
    "ndim": 2,
    "input_shape": (SIDE, SIDE),
    "num_classes": 5,
    "dim": 48,
    "depth": 2,
    "spatial_depth": 2,
    "temporal_depth": 2,
    "cls_depth": 1,
    "heads": 3,
    "dim_head": 16,
    "mlp_dim": 64,
    "num_residual_streams": 2,
    "num_slots": 4,
}
_SPECIAL: dict[str, dict[str, Any]] = {
    "ats_vit": {"max_tokens_per_depth": (12, 8)},
    "cross_vit": {"sm_dim": 48, "lg_dim": 64, "depth": 2, "sm_patch_size": 8, "lg_patch_size": 16},
    "levit": {"dim": (48, 64, 96), "heads": (2, 3, 4), "mlp_mult": 2, "depth": 2},
    "max_vit": {"dim": 32, "depth": (1, 2), "window_size": 4},
    "max_vit_with_registers": {"dim": 32, "depth": (1, 2), "window_size": 4},
    "mobile_vit": {
        "image_size": (SIDE, SIDE),
        "dims": [48, 64, 80],
        "channels": [16, 16, 24, 24, 32, 32, 48, 48, 64, 64, 128],
    },
    "nest": {"heads": 2, "num_hierarchies": 2, "block_repeats": (2, 2), "patch_size": 8},
    "pit": {"depth": (2, 2), "patch_size": 16},
    "scalable_vit": {
        "dim": 32,
        "heads": (2, 2, 4, 4),
        "depth": (1, 1, 1, 1),
        "reduction_factor": (4, 2, 1, 1),
        "window_size": (8, 4, None, None),
    },
    "sep_vit": {
        "dim": 32,
        "dim_head": 16,
        "heads": (1, 2, 2, 4),
        "depth": (1, 1, 1, 1),
        "num_classes": 5,
    },
    "regionvit": {"dim": (32, 48, 64, 64), "depth": (1, 1, 1, 1), "window_size": 4},
    "crossformer": {
        "dim": (32, 48, 64, 64),
        "depth": (1, 1, 1, 1),
        "global_window_size": (4, 2, 2, 1),
        "local_window_size": 2,
    },
    "twins_svt": {
        "s1_emb_dim": 32,
        "s2_emb_dim": 32,
        "s3_emb_dim": 48,
        "s4_emb_dim": 48,
        "s1_local_patch_size": 4,
        "s2_local_patch_size": 4,
        "s3_local_patch_size": 2,
        "s4_local_patch_size": 2,
        **{f"s{i}_depth": 1 for i in range(1, 5)},
        **{f"s{i}_global_k": 2 for i in range(1, 5)},
    },
    "cct": {"img_size": 64, "embedding_dim": 48, "num_layers": 2, "num_heads": 3, "num_classes": 5},
    "cct_3d": {
        "img_size": 64,
        "num_frames": 4,
        "embedding_dim": 48,
        "num_layers": 2,
        "num_heads": 3,
        "num_classes": 5,
    },
    "looped_vit": {"image_size": SIDE, "patch_size": 16},
    "jet_vit": {"dim": 48, "dim_head": 16},
    "t2t": {"depth": 2, "heads": 3, "mlp_dim": 64},
    # its layer norm takes the width of the picture for the features': they are as many here
    "local_vit": {"dim": 16, "image_size": SIDE, "patch_size": 4},
    "look_vit": {"depth": 2, "patch_size": 16, "highres_patch_size": 8},
    "vat_siglip": {
        "dim": 48,
        "depth": 2,
        "heads": 3,
        "dim_head": 16,
        "mlp_dim": 64,
        "siglip_image_size": 64,
        "siglip_patch_size": 16,
        "siglip_dim": 48,
        "siglip_depth": 2,
        "siglip_heads": 3,
        "siglip_mlp_dim": 64,
        "dim_action": 4,
    },
}
_NONE = (
    "extractor",
    "recorder",
    "distill",
    "dino",
    "es_vit",
    "lejepa",
    "levjepa",
    "levjepa_nd",
    "mpp",
)
_NONE += ("accept_video_wrapper", "vaat", "vit_nd_masking", "__init__")


def _vit() -> Any:
    """An encoder whose position embedding (1, N + 1, D) is the one that the wrappers slice."""
    from vit_pytorch import ViT

    net = ViT(image_size=SIDE, patch_size=16, num_classes=5, dim=48, depth=2, heads=3, mlp_dim=64)
    net.pos_embedding = nn.Parameter(net.pos_embedding.detach()[None])
    return net


def _wrapped() -> dict[str, Callable[[], nn.Module]]:
    from vit_pytorch.efficient import ViT as Efficient
    from vit_pytorch.learnable_memory_vit import Adapter
    from vit_pytorch.learnable_memory_vit import ViT as WithMemory
    from vit_pytorch.mae import MAE
    from vit_pytorch.mp3 import MP3
    from vit_pytorch.mp3 import ViT as OfMP3
    from vit_pytorch.simmim import SimMIM
    from vit_pytorch.simple_vit import Transformer
    from vit_pytorch.vat import VAT
    from vit_pytorch.vat import ViT as OfVAT

    sizes = {"image_size": SIDE, "patch_size": 16, "num_classes": 5, "dim": 48}
    sizes |= {"depth": 2, "heads": 3, "mlp_dim": 64}
    plain = {k: v for k, v in sizes.items() if k not in ("depth", "heads", "mlp_dim")}
    return {
        "mae": lambda: MAE(encoder=_vit(), decoder_dim=32, decoder_depth=1, decoder_heads=2),
        "simmim": lambda: SimMIM(encoder=_vit()),
        "mp3": lambda: MP3(vit=OfMP3(**sizes), masking_ratio=0.5),
        "learnable_memory_vit": lambda: Adapter(
            vit=WithMemory(**sizes), num_classes=3, num_memories_per_layer=2
        ),
        "efficient": lambda: Efficient(**plain, transformer=Transformer(48, 2, 3, 16, 64)),
        "vat": lambda: VAT(
            OfVAT(**sizes), dim=48, depth=2, heads=3, dim_head=16, dim_action=4, mlp_dim=64
        ),
    }


def list_models() -> list[str]:
    """List the files, of which each holds a model."""
    spec = importlib.util.find_spec("vit_pytorch")
    assert spec is not None and spec.origin is not None
    files = sorted(file.stem for file in Path(spec.origin).parent.glob("*.py"))
    return [name for name in files if name not in _NONE]


def build(name: str) -> Subject:
    """Build the model of a file."""
    torch.manual_seed(0)
    wrapped = _wrapped()
    if name in wrapped:
        return Subject(wrapped[name]().eval(), (_input(name),))
    module = importlib.import_module(f"vit_pytorch.{name}")
    kinds = [
        k for k in vars(module).values() if inspect.isclass(k) and k.__module__ == module.__name__
    ]
    words = (
        "vit",
        "svt",
        "xci",
        "cct",
        "pit",
        "cait",
        "cvt",
        "crossformer",
        "t2t",
        "rvt",
        "wwt",
        "nest",
        "vat",
    )
    named = [k for k in kinds if any(word in k.__name__.lower() for word in words)]
    if not named:
        raise NoSubject("it has no model that stands alone")
    kind = named[-1]
    asked = inspect.signature(kind.__init__).parameters
    special = _SPECIAL.get(name, {})
    settings = {k: v for k, v in _SETTINGS.items() if k in asked and k not in special}
    small = {k: v for k, v in settings.items() if asked[k].default is inspect.Parameter.empty}
    net = kind(**small, **special)
    if name.startswith("na_vit"):
        return _lists(name, net.eval())
    return Subject(net.eval(), (_input(name),))


def _input(name: str) -> Tensor:
    if name.endswith("_1d"):
        return images(3, 64)
    if name == "sep_vit":
        return images(3, 224, 224)  # its windows are 7 wide at every scale, whatever is asked for
    if name.startswith("vat"):
        return images(1, 3, SIDE, SIDE)  # one view
    if "fft" in name or not any(word in name for word in ("3d", "vivit")):
        return images(3, SIDE, SIDE)
    return images(3, 4, SIDE, SIDE)


def _lists(name: str, net: nn.Module) -> Subject:
    """Pictures of different sizes, packed by the model itself."""
    frames = (4,) if "3d" in name else ()
    pictures = [images(3, *frames, *size)[0] for size in ((64, 32), (32, 64))]
    given: Any = pictures if "nested" in name else [pictures]

    def cut(_: Subject) -> tuple[tuple, dict]:
        return ((pictures[:1] if "nested" in name else [pictures[:1]]),), {}

    return Subject(net, (given,), cut=cut, packed="nested" not in name, nested="nested" in name)

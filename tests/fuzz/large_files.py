"""What a large honest model costs while it is opened: processor time, and memory beside itself.

    python -m tests.fuzz.large_files

prints a table. Each case runs in a process of its own: the files are uploaded, laid out and opened,
as the Models page does it. What transformers does once a process is done before. It maps the
weights of a folder from the disk; the system takes these pages back whenever it needs them, so they
are counted apart.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from model import zoo
from model.vit import build
from model.zoo.uploads import lay_out
from tests.fuzz.__main__ import _forget_peak, _peak

DTYPES = {"float32": torch.float32, "float16": torch.float16}
SETTINGS = {"img_size": 224, "patch_size": 16, "dim": 768, "heads": 12, "mlp_dim": 3072}


def depth_of(dtype: str) -> int:
    """Return how many layers make a file of about 340 MB."""
    return 12 * torch.float32.itemsize // DTYPES[dtype].itemsize


def write_pickle(folder: Path, dtype: str) -> None:
    """Write one file as torch.save does."""
    net = build("vit", num_classes=10, depth=depth_of(dtype), **SETTINGS)
    torch.save({k: v.to(DTYPES[dtype]) for k, v in net.state_dict().items()}, folder / "weights.pt")


def write_folder(folder: Path, dtype: str) -> None:
    """Write a Hugging Face folder whose weights are a pickle."""
    from model.nets import torchvision_cpu

    torchvision_cpu.ensure_operators()
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(num_hidden_layers=depth_of(dtype))
    config.save_pretrained(folder)
    net = ViTForImageClassification(config).to(DTYPES[dtype])
    torch.save(net.state_dict(), folder / "pytorch_model.bin")


WRITERS: dict[str, Callable[[Path, str], None]] = {"file": write_pickle, "folder": write_folder}


def measure(kind: str, dtype: str) -> dict[str, float]:
    """Write a model, and open it in a new process; return bytes and seconds by name."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.fuzz.large_files", kind, dtype, folder]
        subprocess.run([*command, "write"], check=True, stdout=subprocess.DEVNULL)
        done = subprocess.run([*command, "open"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def _open(kind: str, source: Path) -> dict[str, float]:
    if kind == "folder":
        from model.nets import torchvision_cpu

        torchvision_cpu.ensure_operators()
        _open_small_folder()
    zoo.load("cifar10-plain")
    start = 1024 * _forget_peak()
    uploads = [(path.name, path.read_bytes()) for path in source.iterdir()]
    size = sum(len(data) for _, data in uploads)
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        laid = lay_out(uploads, Path(folder))
        bundle = zoo.load(str(laid.path))
    seconds = time.process_time() - began
    model = sum(each.nbytes for each in bundle.net.parameters())
    mapped = size if kind == "folder" else 0
    beside = 1024 * _peak() - start - model - mapped
    return {"file": size, "model": model, "mapped": mapped, "beside": beside, "seconds": seconds}


def _open_small_folder() -> None:
    """Let the library do what it does once a process: that is no file's cost."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(num_hidden_layers=1, hidden_size=24, num_attention_heads=2, image_size=32)
    with tempfile.TemporaryDirectory() as folder:
        ViTForImageClassification(config).save_pretrained(folder)
        zoo.load(folder)


def main() -> None:
    """Print a line a case."""
    titles = ("what", "file, MB", "model, MB", "mapped, MB", "beside, MB", "processor, s")
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for kind in WRITERS:
        for dtype in DTYPES:
            found = measure(kind, dtype)
            cells = (f"{found[key] / 1e6:.0f}" for key in ("file", "model", "mapped", "beside"))
            line = [f"{kind}, {dtype}", *cells, f"{found['seconds']:.1f}"]
            print(f"| {' | '.join(line)} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        _, kind, dtype, source, step = sys.argv
        if step == "write":
            WRITERS[kind](Path(source), dtype)
        else:
            print(json.dumps(_open(kind, Path(source))))

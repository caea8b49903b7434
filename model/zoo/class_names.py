"""Names of the classes that published models tell apart."""

from __future__ import annotations

from model.nets import torchvision_cpu

CIFAR10 = [
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
]
FASHION_MNIST = [
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
]


def imagenet() -> list[str]:
    """List the names of ImageNet's 1,000 classes, as torchvision ships them."""
    torchvision_cpu.ensure_operators()
    from torchvision.models import ViT_B_16_Weights

    return list(ViT_B_16_Weights.IMAGENET1K_V1.meta["categories"])

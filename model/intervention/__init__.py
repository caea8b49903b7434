"""Look into a running model, and change it while it runs."""

from model.intervention.activations import Activations, head_means, keep_activations
from model.intervention.context import Intervention, intervene
from model.intervention.head_steps import inside_head
from model.intervention.scans import scan_heads, scan_patches, scan_tokens

__all__ = [
    "Activations",
    "Intervention",
    "head_means",
    "inside_head",
    "intervene",
    "keep_activations",
    "scan_heads",
    "scan_patches",
    "scan_tokens",
]

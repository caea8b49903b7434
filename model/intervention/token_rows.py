"""Lay a model's tensors out in one way, whatever its own: by head and token, or by token."""

from __future__ import annotations

import torch
from torch import Tensor

from model.recording.record import AttentionRecord


class TokenRows:
    """Arranges the tensors around one attention, which ran for one image.

    In a windowed layer the tokens stand window by window, with those that pad a window.
    """

    def __init__(self, record: AttentionRecord) -> None:
        self.windows = record.windows
        self.batch, self.heads, self.queries, self.keys = record.shape

    def by_head(self, tensor: Tensor) -> Tensor | None:
        """(1, H, N, d), (H, N, d) or windows (W, H, n, d) -> (H, N, d); None for other shapes.

        Heads that share their keys each get them.
        """
        rows = self.batch * tensor.shape[-2] * tensor.shape[-1]
        own, left = divmod(tensor.numel(), rows)
        if left or not own or self.heads % own:
            return None
        parts = tensor.reshape(self.batch, own, *tensor.shape[-2:])
        parts = parts.repeat_interleave(self.heads // own, dim=1)
        return parts.transpose(0, 1).flatten(1, 2)

    def by_token(self, tensor: Tensor) -> Tensor | None:
        """(1, N, D), (N, 1, D), a grid (1, rows, columns, D) or windows (W, n, D) -> (N, D)

        None for tensors of other tokens.
        """
        flat = tensor.reshape(-1, tensor.shape[-1])
        count = self.batch * self.queries
        if self.windows is None or (self.batch > 1 and len(tensor) == self.batch):
            return flat if len(flat) == count else None
        if len(flat) != self.windows.grid[0] * self.windows.grid[1]:
            return None
        places = torch.arange(count, device=flat.device).view(self.batch, self.queries)
        laid = flat.new_zeros(count, flat.shape[-1])
        laid[self.windows.join(places).flatten()] = flat
        return laid

    def of_stream(self, tensor: Tensor) -> Tensor:
        """Lay out a tensor that is known to hold this attention's tokens."""
        tokens = self.by_token(tensor)
        return tensor.reshape(-1, tensor.shape[-1]) if tokens is None else tokens

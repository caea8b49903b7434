"""The ways to run a model in Does order matter?, and the answer of one run."""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from viz.pictures.patches import join

AS_IT_IS, SHUFFLE, WITHOUT, BOTH, SHIFT = (
    "As it is",
    "Shuffle the patches",
    "Take the code away",
    "Both",
    "Shift the code",
)
TITLES = {
    AS_IT_IS: AS_IT_IS,
    SHUFFLE: "With the patches shuffled",
    WITHOUT: "Without the added code",
    BOTH: "Shuffled, and without the added code",
    SHIFT: "With the code of a patch half the photo away",
}
SHUFFLES = 8
CLASSES = 5
SIDE = 336


@dataclass(frozen=True)
class Answer:
    """The answer of the model, run in one way; ``order``: place i holds patch order[i]."""

    run: tuple[str, int]  # the way, and the seed of the order
    order: Tensor
    logits: Tensor
    query: int  # the chosen token, where it is now
    maps: np.ndarray  # attention from the chosen token to each place, (heads, rows, columns)

    def map_of(self, head: int | str) -> np.ndarray:
        """Return one head's map (rows, columns), or the mean of all heads."""
        return self.maps[head] if isinstance(head, int) else self.maps.mean(0)

    def likeliest(self) -> list[int]:
        """Return the classes that the page lists, the likeliest first."""
        return self.logits.topk(min(CLASSES, len(self.logits))).indices.tolist()


def patches_in_order(frame: Image.Image, grid: tuple[int, int], order: Tensor) -> Image.Image:
    """Cut the photo on the model's grid, and put its patches in this order."""
    rows, columns = grid
    step = max(1, SIDE // max(rows, columns))
    pixels = np.asarray(frame.convert("RGB").resize((columns * step, rows * step)))
    tiles = pixels.reshape(rows, step, columns, step, 3).transpose(0, 2, 1, 3, 4)
    return join(tiles.reshape(-1, step, step, 3)[order.numpy()], grid)

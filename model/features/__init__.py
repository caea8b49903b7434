"""Features of patches: which patches a model takes for alike, and what each of them would answer.

`patch_features` returns the vectors of the patches at any layer; `similarity`,
`principal_components` and `token_norms` describe them; `lens` reads every token of every layer with
the model's own end; `compare_maps` says how far apart two maps are, and `closest_heads` which two
heads agree most.

    >>> from model import samples, zoo
    >>> bundle = zoo.load("photos")
    >>> images = bundle.prepare(samples.load("coffee"))
    >>> tokens = patch_features(bundle.net, images)  # after the last norm
    >>> tokens.shape  # images, patches, width
    torch.Size([1, 256, 192])
    >>> similarity(tokens, query=100).shape  # cosines with patch 100
    torch.Size([1, 256])
"""

from model.features.class_lens import lens
from model.features.components import principal_components
from model.features.cosine import similarity
from model.features.head_pairs import HeadPair, closest_heads
from model.features.map_distance import MapDistance, compare_maps
from model.features.patch_vectors import patch_features
from model.features.token_length import token_norms

__all__ = [
    "HeadPair",
    "MapDistance",
    "closest_heads",
    "compare_maps",
    "lens",
    "patch_features",
    "principal_components",
    "similarity",
    "token_norms",
]

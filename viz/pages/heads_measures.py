"""What the measures and the kinds of heads are called, and what they mean."""

MEASURES = {
    "distance": (
        "Distance",
        "Mean attention distance, pixels",
        " px",
        "*Mean attention distance*: how far away the patches lie that a patch attends to, "
        "weighted by the attention that they get. Tokens without a place, such as CLS, are left "
        "out (Dosovitskiy et al., 2021, fig. 7).",
    ),
    "distance_patches": (
        "Distance in patches",
        "Mean attention distance, patches",
        " patches",
        "The mean attention distance counted in patches, to compare models whose patches differ "
        "in size.",
    ),
    "entropy": (
        "Entropy",
        "Entropy, nats",
        " nats",
        "*Entropy*, −Σ a ln a: 0 nats if a row is all on one token, ln N if it is even over N. "
        "Low: the head picks few places, and its map tells which; that may be the same place in "
        "every photo. High: it averages over the photo.",
    ),
    "cls": (
        "To CLS",
        "Share of attention to CLS",
        "",
        "How much of their attention the patches give to *CLS*, the token from which the answer "
        "is read (in distilled models, also to the second such token).",
    ),
    "registers": (
        "To registers",
        "Share of attention to registers",
        "",
        "How much of their attention the patches give to *registers*: extra tokens that belong to "
        "no place and give a model room to work (Darcet et al., 2024).",
    ),
    "diagonal": (
        "To itself",
        "Share of attention to the patch itself",
        "",
        "How much of its attention a patch keeps for itself: the *diagonal* of the map.",
    ),
    "neighbours": (
        "To neighbours",
        "Share of attention to the eight neighbours",
        "",
        "How much of the attention to patches goes to the patches around, eight at most.",
    ),
    "row": (
        "To its row",
        "Share of attention to the same row",
        "",
        "How much of the attention to patches goes to other patches of the same row.",
    ),
    "column": (
        "To its column",
        "Share of attention to the same column",
        "",
        "How much of the attention to patches goes to other patches of the same column.",
    ),
    "content": (
        "Content",
        "Share of the map that position does not explain",
        "",
        "How much of a map depends on what the photo shows: 0 for the same pattern around every "
        "patch, 1 where only the photo decides. It is the share of the map's variance that the "
        "offset between two patches does not explain.",
    ),
    "object": (
        "On the object",
        "Share of attention on the object's box, above chance",
        "",
        "The share of the patches' attention that falls on the box around the object, less the "
        "share of the patches that the box covers: 0 is chance.",
    ),
    "object_from_cls": (
        "On the object, from CLS",
        "Share of CLS's attention on the object's box, above chance",
        "",
        "The share of CLS's attention that falls on the box around the object, less "
        "the share of the patches that the box covers: 0 is chance.",
    ),
}
KIND_NAMES = {
    "neighbours": "Nearest neighbours",
    "row": "Same row",
    "column": "Same column",
    "uniform": "Uniform",
    "cls": "CLS",
    "content": "Content",
}

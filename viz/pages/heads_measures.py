"""What the measures and the kinds of heads are called, and what they mean."""

MEASURES = {
    "distance": (
        "Distance",
        "Mean attention distance, pixels",
        " px",
        "*Mean attention distance*: how far from a patch the patches lie that it attends to, "
        "each weighted by its attention. Special tokens are left out and the rest of each row "
        "is made to sum to one (Dosovitskiy et al., 2021, fig. 7).",
    ),
    "distance_patches": (
        "Distance in patches",
        "Mean attention distance, patches",
        " patches",
        "The mean attention distance counted in patches, so that models with patches of other "
        "sizes compare.",
    ),
    "entropy": (
        "Entropy",
        "Entropy, nats",
        " nats",
        "*Entropy* says how widely a row of attention spreads: 0 if all of it is on one token, "
        "ln N if it is even over all N tokens. It is −Σ a ln a, in nats.",
    ),
    "cls": (
        "To CLS",
        "Share of attention to CLS",
        "",
        "How much of their attention the patches give to *CLS*, the extra token that stands for "
        "the whole photo (in distilled models, also to their second extra token).",
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
        "The share of the attention to patches that goes to the up to eight patches around.",
    ),
    "row": (
        "To its row",
        "Share of attention to the same row",
        "",
        "The share of the attention to patches that goes to other patches of the same row.",
    ),
    "column": (
        "To its column",
        "Share of attention to the same column",
        "",
        "The share of the attention to patches that goes to other patches of the same column.",
    ),
    "content": (
        "Content",
        "Share of the map that position does not explain",
        "",
        "The share of a map's variance that the offset between two patches does not explain: 0 "
        "for the same pattern around every patch, 1 where only the photo decides.",
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
        "Share of the class token's attention on the object's box, above chance",
        "",
        "The share of the class token's attention that falls on the box around the object, less "
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

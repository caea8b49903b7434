"""What the pages say about attention, with the numbers of the model that is shown."""

from model.image_layers import Layer
from model.recording.record import AttentionRecord
from model.tokens import TokenLayout


def why_several_heads(record: AttentionRecord) -> str:
    """Say what the heads of a layer share out, and why each has a map of its own."""
    heads = record.shape[1]
    if heads == 1:
        return "This layer has one head, so from each token it has one map."
    if record.query is None:
        return f"Each head has its own map, so a token can look at {heads} things at once."
    width = record.query.shape[-1]
    return (
        f"{heads} heads × {width} = {heads * width} numbers. Each head compares only its own "
        f"{width}, so each has its own map, and a token can look at {heads} things at once."
    )


def where_keys_lie(record: AttentionRecord, layer: Layer) -> str:
    """Say where a token of a layer can look, if not at every patch of its own grid; else ""."""
    if windows := record.windows:
        rows, columns = windows.size
        if windows.spacing != (1, 1):
            return f"Here a patch sees {columns} × {rows} patches that lie apart on the photo."
        return f"Here a patch sees no further than its window of {columns} × {rows} patches."
    if layer.keys is None:
        return ""
    rows, columns = layer.keys.grid
    if layer.keys.patches < layer.tokens.patches:
        return (
            f"The keys of this layer are fewer than its patches, {columns} × {rows}: each stands "
            "for a block of patches, which is drawn in one colour and shares its attention."
        )
    return (
        f"The keys of this layer are more than its patches, {columns} × {rows}: each patch is "
        "drawn with the attention of all keys in its place."
    )


def why_signed(record: AttentionRecord) -> str:
    """Say what weights below zero are, in a layer that has some; else ""."""
    if record.softmax_map is None or record.map is None or not (record.map < 0).any():
        return ""
    return (
        "This layer changes its maps after the softmax, before they weigh the values: weights may "
        "fall below zero, need not sum to one, and are then not coloured."
    )


def why_cross_attention(memory: TokenLayout, has_queries: bool) -> str:
    """Say who asks and who answers when a captioner looks at a photo, and what a row holds.

    Args:
        memory: the tokens of the photo that the words look at.
        has_queries: whether the decoder compares queries with keys; a recurrent one does not.
    """
    asks = (
        "the query comes from the words, keys and values from the photo"
        if has_queries
        else "the decoder's state asks, the photo answers"
    )
    return (
        f"In cross-attention {asks}. So each word has one row of {memory.tokens} weights, one for "
        "each vector of the photo's memory, and they sum to one."
    )


def why_off(record: AttentionRecord) -> str:
    """Say what becomes of a head's numbers when it is switched off, and why to try several."""
    heads = record.shape[1]
    numbers = "output becomes"
    if record.query is not None:
        width = record.query.shape[-1]
        numbers = f"{width} of {heads * width} numbers become"
    return f"Choose a head: its {numbers} zero. Others may stand in for it, so try several."

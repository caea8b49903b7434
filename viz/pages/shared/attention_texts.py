"""What the pages say about attention, with the numbers of the model that is shown."""

from model.recording.record import AttentionRecord


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

"""What the pages say about the settings of attention rollout."""

FUSION_HELP = (
    "Rollout needs one map a layer. The mean is the paper's choice; max keeps what any head "
    "looks at, min only what all heads look at."
)
DISCARD_HELP = (
    "Sets the smallest weights of each row to zero before multiplying. It sharpens the picture "
    "and throws information away: compare before you believe it."
)

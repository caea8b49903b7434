"""What the pages say about the settings of attention rollout."""

FUSION_HELP = (
    "Rollout needs one map for each layer. The paper takes the mean of the heads; max keeps what "
    "any head looks at, min only what all heads look at."
)
DISCARD_HELP = (
    "Sets the smallest weights of each row to zero before multiplying. The picture gets sharper, "
    "and information is lost, so compare it with 0 %."
)

"""What the pages say about the settings of attention rollout."""

FUSION_HELP = (
    "Rollout needs one map for each layer. The paper takes the mean of the heads. Max keeps what "
    "any head looks at; min keeps what all heads look at."
)
DISCARD_HELP = (
    "Ignoring the weakest links sets the smallest weights of each row to zero before multiplying. "
    "The picture gets sharper and loses information, so compare it with 0 %."
)

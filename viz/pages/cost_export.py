"""What Cost saves: the operations of the model as it is, and with something doubled."""

from collections.abc import Mapping

from model.analysis.cost import Cost
from model.nets.vit import ViTConfig
from viz.export.account import Account
from viz.export.program import Code
from viz.export.tables import bars_export
from viz.pages.shared.saving import Saved

PARTS = ("linear", "quadratic")


def describe_cost(config: ViTConfig, costs: Mapping[str, Cost]) -> Saved:
    """Describe what can be saved of the operations, counted."""
    height, width = config.tokens.image_size
    account = Account(
        "Operations of one photo, in thousand millions",
        {
            "Image": f"{width} × {height} pixels",
            "Patches": f"of {config.patch_size} pixels",
            "Width": f"{config.dim}",
            "Layers": f"{config.depth}, of {config.heads} heads",
        },
        ["Linear is what every token pays by itself, quadratic what every pair of tokens pays."],
    )
    series = {part: [getattr(cost, part) / 1e9 for cost in costs.values()] for part in PARTS}
    code = Code(
        [
            f"config = {config!r}",
            "variants = {'as it is': config, **doubled_configs(config)}",
            "costs = [cost_of(variant) for variant in variants.values()]",
            f"parts = {PARTS}",
            "values = np.array([[getattr(cost, part) for cost in costs] for part in parts]) / 1e9",
        ],
        [
            "import numpy as np",
            "from model.analysis.cost import cost_of, doubled_configs",
            "from model.nets.vit import ViTConfig",
        ],
    )
    names = [name.capitalize() for name in costs]
    return Saved(
        [bars_export("Cost in thousand millions", account, names, series, [code], "{:.3g}".format)]
    )

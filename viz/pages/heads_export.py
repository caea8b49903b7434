"""What Heads saves: the chosen measure of every head, and all measures as numbers."""

from model.datasets import samples
from viz.export.account import Account
from viz.export.numbers import count_from_one
from viz.export.program import Code
from viz.export.tables import table_export
from viz.pages.heads_measured import Measures
from viz.pages.heads_measures import MEASURES
from viz.pages.shared import open_models
from viz.pages.shared.opening import model_code, opening_of, photo_title
from viz.pages.shared.saving import Saved
from viz.pages.shared.session import Session, chosen_layers


def describe_measures(session: Session, measures: Measures, measure: str, scope: str) -> Saved:
    """Describe what can be saved of the measures over a photo or many.

    Args:
        scope: "photo", "samples", or in words what else they are averaged over.
    """
    _, title, unit, _ = MEASURES[measure]
    name = session.bundle.name
    over = {"photo": photo_title(session.picture), "samples": "the samples, averaged"}
    account = Account(
        f"{title}, of every head",
        {"Model": open_models.model_title(name), "Over": over.get(scope, scope)},
    )
    values = measures[measure].numpy()
    axes = {
        "layer": [number + 1 for number in session.recorded.numbers],
        "head": count_from_one(values.shape[1]),
    }
    more = {each: found.numpy() for each, found in measures.items()}
    code = _code(session, measure, scope)
    return Saved(
        [table_export(f"Heads {measure}", account, values, axes, code, unit.strip(), more, name)]
    )


def _code(session: Session, measure: str, scope: str) -> list[Code]:
    """Write the Python that measures again; none for photos that were uploaded."""
    layers = chosen_layers(session.bundle.name)
    given = f", {list(layers)}" if layers is not None else ""
    take = f"values = measures[{measure!r}].numpy()  # layers, heads"
    if scope == "photo":
        lines = [
            f"recorded = record_image(bundle, image{given})",
            "measures = measure_layers(recorded.records, bundle.tokens)",
            take,
        ]
        imports = [
            "from model.analysis.head_measures import measure_layers",
            "from model.recorded_image import record_image",
        ]
        return [opening_of(session.bundle.name, session.picture), Code(lines, imports)]
    if scope != "samples":
        return []
    lines = [
        f"photos = [samples.load(name) for name in {samples.names()!r}]",
        f"*_, mean = survey_heads(bundle, photos{given})",
        "measures = mean.mean()",
        take,
    ]
    imports = [
        "from model.datasets import samples",
        "from model.survey.head_survey import survey_heads",
    ]
    return [model_code(session.bundle.name), Code(lines, imports)]

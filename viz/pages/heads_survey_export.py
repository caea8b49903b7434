"""What Heads saves over a survey: a measure of every head, which are alike, and one's pictures."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from model.recorded_image import layer_maps, record_image
from model.survey.survey_results import TopPicture
from viz.components.draw_style import DrawStyle
from viz.export.account import Account, name_file
from viz.export.attention import patch_box
from viz.export.export import Export
from viz.export.maps import NamedMap, draw_maps, map_numbers
from viz.export.numbers import count_from_one
from viz.export.program import Code, write_program
from viz.export.tables import table_export
from viz.pages import heads_surveys
from viz.pages.heads_measures import MEASURES
from viz.pages.heads_survey_head import RANKING_NAMES, UNITS, chosen_ranking
from viz.pages.heads_surveys import OpenSurvey
from viz.pages.shared import open_models
from viz.pages.shared.opening import model_code
from viz.pages.shared.saving import Saved
from viz.pages.shared.session import Session
from viz.pages.shared.state import Heads


def describe_survey(
    session: Session, survey: OpenSurvey, place: tuple[int, int], measure: str
) -> Saved:
    """Describe what can be saved of a survey, and of the head whose page is shown."""
    exports = [_similarity(session, survey)]
    if np.isfinite(survey.results.mean[measure]).any():
        exports.insert(0, _measure(session, survey, measure))
    ranking = chosen_ranking()
    top = survey.results.top[ranking][survey.results.places.index(place)]
    names, uploads = [each.name for each in top], Heads.survey_photos.get() or ()
    photos = heads_surveys.open_pictures(survey, names, uploads) if top else {}
    here = [each for each in top if each.name in photos]
    if here:
        exports.append(_pictures(session, survey, place, ranking, here, photos))
    return Saved(exports)


def _facts(session: Session, survey: OpenSurvey) -> dict[str, str]:
    title = open_models.model_title(session.bundle.name)
    return {"Model": title, "Over": f"{survey.results.pictures:,} pictures of a survey"}


def _reading(survey: OpenSurvey) -> Code:
    """Write the Python that reads the survey; one that is not shipped is looked for beside it."""
    shipped = f"checkpoints.DIRECTORY / 'surveys' / {f'{survey.name}.json'!r}"
    file = Code([f"file = {shipped}"], ["from model.zoo import checkpoints"])
    if not survey.shipped:
        note = "# survey.json stands for the survey that was opened."
        file = Code([note, "file = Path('survey.json')"], ["from pathlib import Path"])
    return file + Code(
        ["results = read_results(file.read_bytes())"],
        ["from model.survey.survey_results import read_results"],
    )


def _measure(session: Session, survey: OpenSurvey, measure: str) -> Export:
    results, (_, title, unit, _) = survey.results, MEASURES[measure]
    values = results.mean[measure]
    axes = {
        "layer": [number + 1 for number in results.numbers],
        "head": count_from_one(values.shape[1]),
    }
    code = Code(
        [
            f"values = results.mean[{measure!r}]  # layers, heads",
            f"deviation = results.deviation[{measure!r}]",
        ]
    )
    return table_export(
        f"Heads {measure}",
        Account(f"{title}, of every head", _facts(session, survey)),
        values,
        axes,
        [_reading(survey), code],
        unit.strip(),
        {"deviation": results.deviation[measure], **results.mean},
        f"survey {session.bundle.name}",
    )


def _similarity(session: Session, survey: OpenSurvey) -> Export:
    results = survey.results
    names = [f"{results.numbers[layer] + 1}.{head + 1}" for layer, head in results.places]
    account = Account(
        "How alike the maps of two heads are",
        _facts(session, survey),
        ["A head is named by its layer and its number. 1 stands for equal maps."],
    )
    return table_export(
        "Heads alike",
        account,
        results.similarity,
        {"head": names, "with": names},
        [_reading(survey), Code(["values = results.similarity  # heads, heads"])],
        name=f"survey {session.bundle.name}",
    )


def _pictures(
    session: Session,
    survey: OpenSurvey,
    place: tuple[int, int],
    ranking: str,
    top: Sequence[TopPicture],
    photos: dict[str, Image.Image],
) -> Export:
    """Describe the pictures on which a head is most of something, with its map over each."""
    bundle, (at, head) = session.bundle, place
    layer, (title, measure) = survey.results.numbers[at], RANKING_NAMES[ranking]
    style = DrawStyle()
    account = Account(
        f"Head {head + 1} of layer {layer + 1}: {title.lower()}",
        _facts(session, survey),
        ["The token that attends is outlined; each map is scaled to its own maximum."],
    )

    def maps() -> list[NamedMap]:
        found = []
        for each in top:
            recorded = record_image(bundle, photos[each.name], [layer])
            tokens = recorded.layers[0].tokens
            values = layer_maps(recorded.records[0], tokens, each.query)[head]
            note, box = UNITS[measure](each.value), patch_box(each.query, tokens)
            found.append(NamedMap(each.name, values, recorded.frame, note, asking=box))
        return found

    code = Code(
        [
            "# The pictures lie in this folder, by their names in the survey.",
            f"queries = { ({each.name: each.query for each in top})!r}",
            "",
            "def look(name, query):",
            f"    recorded = record_image(bundle, open_picture(name).image, [{layer}])",
            "    tokens = recorded.layers[0].tokens",
            f"    return layer_maps(recorded.records[0], tokens, query)[{head}]",
            "",
            "maps = np.stack([look(name, query) for name, query in queries.items()])",
        ],
        [
            "import numpy as np",
            "from model.images import open_picture",
            "from model.recorded_image import layer_maps, record_image",
        ],
    )
    packed = any("#" in each.name for each in top)  # a place in a packed file is no file to open
    return Export(
        "Its pictures",
        name_file("head", bundle.name, f"layer {layer + 1}", f"head {head + 1}", ranking),
        account,
        lambda: draw_maps(maps(), style, account.lines),
        map_numbers(maps, "picture"),
        "" if packed else write_program(account.title, [model_code(bundle.name), code]),
    )

"""What Does order matter? saves: attention, the answers, and how far shuffles move a score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from model.analysis.position_codes import PositionCode
from viz.export.account import Account, name_file
from viz.export.attention import patch_box
from viz.export.drawing import Drawing
from viz.export.export import Export
from viz.export.names import name_head, token_name
from viz.export.numbers import Numbers, count_from_one
from viz.export.painting import paint_map
from viz.export.panels import Grid, Panel, draw_grid
from viz.export.program import Code, write_program
from viz.export.tables import bars_export
from viz.pages.positions_order_answer import (
    BOTH,
    SHIFT,
    SHUFFLE,
    SHUFFLES,
    TITLES,
    WITHOUT,
    Answer,
    patches_in_order,
)
from viz.pages.shared.saving import Saved
from viz.pages.shared.seen import seen_of
from viz.pages.shared.session import Session
from viz.pictures.lettering import percent

ORDER = "model.analysis.token_order"


@dataclass(frozen=True)
class ShownOrder:
    """What the tab shows.

    Attributes:
        answers: the model's answer as it is, and after the change.
        moved: how far shuffles move a score at most, with the code and, if there is one, without.
    """

    session: Session
    code: PositionCode
    answers: Sequence[Answer]
    moved: Mapping[str, float]

    @property
    def titles(self) -> list[str]:
        """Name both runs as the page does."""
        return [TITLES[answer.run[0]] for answer in self.answers]

    @property
    def facts(self) -> dict[str, str]:
        """Say what was run, and what the second run changes."""
        seen, (way, seed) = seen_of(self.session), self.answers[1].run
        shuffled = f" (shuffle {seed})" if way in (SHUFFLE, BOTH) else ""
        return {
            "Model": seen.model,
            "Photo": seen.photo,
            "Second run": f"{TITLES[way].lower()}{shuffled}",
        }


def describe_order(shown: ShownOrder) -> Saved:
    """Describe what can be saved of the answers of two orders."""
    bundle, logits = shown.session.bundle, shown.answers[0].logits
    exports = [_attention(shown)]
    if bundle.classes is not None and len(bundle.classes) == logits.numel():
        exports.append(_probabilities(shown, bundle.classes))
    return Saved([*exports, _moved_scores(shown)])


def _name(shown: ShownOrder, what: str) -> str:
    seen, (way, seed) = seen_of(shown.session), shown.answers[1].run
    return name_file(what, seen.photo, seen.name, way, f"{seed}" * (way in (SHUFFLE, BOTH)))


# -- attention ------------------------------------------------------------------------------------


def _attention(shown: ShownOrder) -> Export:
    recorded, view = shown.session.recorded, shown.session.view
    tokens = recorded.layers[view.layer].tokens
    facts = shown.facts | {"Layer": f"{recorded.numbers[view.layer] + 1}"}
    facts |= {"Head": _head_title(view.head), "From": token_name(view.query, tokens)}
    note = "Each map is coloured up to its own maximum; the patch that asks is outlined."
    account = Account("Attention over the same patches, in two orders or codes", facts, [note])
    code = Code(["maps = np.stack([maps for _, maps in runs])  # runs, rows, columns"])
    return Export(
        "Attention",
        _name(shown, "order"),
        account,
        lambda: _draw(shown, account.lines),
        lambda: _numbers(shown),
        write_program(account.title, [*_running(shown), code + _LOGITS]),
    )


def _head_title(head: int | str) -> str:
    return name_head(head if isinstance(head, int) else "mean")


def _draw(shown: ShownOrder, caption: Sequence[str]) -> Drawing:
    """Draw the patches of both runs, and below them attention over both."""
    session, view = shown.session, shown.session.view
    grid, tokens = session.bundle.tokens.grid, session.recorded.layers[view.layer].tokens
    photos = [patches_in_order(session.recorded.frame, grid, each.order) for each in shown.answers]
    patches = [Panel(photo, None, title) for photo, title in zip(photos, shown.titles, strict=True)]
    attention = [
        Panel(photo, paint_map(each.map_of(view.head), view.style),
              asking=patch_box(each.query, tokens))
        for photo, each in zip(photos, shown.answers, strict=True)
    ]  # fmt: skip
    return draw_grid(Grid([patches, attention], caption=caption))


def _numbers(shown: ShownOrder) -> Numbers:
    maps = np.stack([each.map_of(shown.session.view.head) for each in shown.answers])
    logits = np.stack([each.logits.numpy() for each in shown.answers])
    arrays = {"maps": maps, "logits": logits, "runs_of_maps": np.array(shown.titles)}
    arrays["order"] = shown.answers[1].order.numpy()
    _, rows, columns = maps.shape
    axes: dict[str, Sequence[object]] = {"run": shown.titles}
    axes |= {"row": count_from_one(rows), "column": count_from_one(columns)}
    return Numbers(arrays, "maps", axes)


# -- the answers ----------------------------------------------------------------------------------


def _probabilities(shown: ShownOrder, classes: Sequence[str]) -> Export:
    """Describe the probability of the classes that the page lists, in both runs."""
    listed = list(dict.fromkeys(i for each in reversed(shown.answers) for i in each.likeliest()))
    chances = [answer.logits.softmax(-1)[listed].tolist() for answer in shown.answers]
    account = Account("The answer, in two orders or codes", shown.facts)
    line = f"values = torch.tensor(logits).softmax(-1)[:, {listed}].numpy()  # runs, classes"
    return bars_export(
        "Answers",
        account,
        [classes[index] for index in listed],
        dict(zip(shown.titles, chances, strict=True)),
        [*_running(shown), _LOGITS + Code([line])],
        percent,
        _name(shown, "").removeprefix("saccade-"),
    )


_LOGITS = Code(["logits = np.stack([logits.numpy() for logits, _ in runs])  # runs, classes"])


# -- the Python -----------------------------------------------------------------------------------


def _running(shown: ShownOrder) -> list[Code]:
    """Write the Python that runs the model in both ways, as `runs`."""
    session, view = shown.session, shown.session.view
    seen, record = seen_of(session), session.recorded.records[view.layer]
    take = f"[{view.head}]" if isinstance(view.head, int) else ".mean(0)"
    tokens = Code(["tokens = bundle.tokens  # of the layer"])
    if session.recorded.layers[view.layer].tokens != session.bundle.tokens:
        last = Code([f"tokens = recorded.layers[{view.layer}].tokens  # of the layer"])
        tokens = seen.recording + last
    look = Code(
        [
            "def look(net, images, query):",
            "    with torch.inference_mode(), AttentionRecorder(net) as recorder:",
            "        logits = net(images)[0].float()",
            f"    named = (each for each in recorder.records if each.name == {record.name!r})",
            f"    return logits, layer_maps(next(named), tokens, query){take}",
        ],
        [
            *("import numpy as np", "import torch", "from model import AttentionRecorder"),
            "from model.recorded_image import layer_maps",
        ],
    )
    before, after = shown.answers
    runs = Code(
        [
            f"runs = [look(bundle.net, bundle.prepare(image), {before.query}),",
            f"        look(net, images, {after.query})]  # as it is, and changed",
        ]
    )
    return [seen.opening, tokens, look, _changing(after, shown.code, session), runs]


def _changing(answer: Answer, code: PositionCode, session: Session) -> Code:
    """Write the lines that change the net and the images as one answer was made."""
    way, seed = answer.run
    made = Code(
        [
            "net, images = bundle.net, bundle.prepare(image)",
            "order = torch.arange(bundle.tokens.patches)",
        ]
    )
    if way in (WITHOUT, BOTH):
        made += _FIND + Code(
            ["net = without_position_code(net, code)"],
            [f"from {ORDER} import without_position_code"],
        )
    if way == SHIFT:
        rows, columns = grid = code.table_grid or session.bundle.tokens.grid
        made += _FIND + Code(
            [f"net = with_shifted_position_code(net, code, {grid}, {rows // 2}, {columns // 2})"],
            [f"from {ORDER} import with_shifted_position_code"],
        )
    if way in (SHUFFLE, BOTH):
        made += Code(
            [
                f"order = random_order(bundle.tokens.patches, {seed})",
                "net, images = with_shuffled_patches(net, images, bundle.tokens, order)",
            ],
            [f"from {ORDER} import random_order, with_shuffled_patches"],
        )
    return made + Code(["order = order.numpy()  # place i holds patch order[i]"])


_FIND = Code(
    ["code = find_position_code(bundle.net, bundle.tokens)"],
    ["from model.analysis.position_codes import find_position_code"],
)


# -- shuffles -------------------------------------------------------------------------------------


def _moved_scores(shown: ShownOrder) -> Export:
    """Describe how far shuffles move a class's score at most."""
    seen, two = seen_of(shown.session), len(shown.moved) > 1
    account = Account(
        "How far the order of the patches moves a score",
        {"Model": seen.model, "Photo": seen.photo},
        [
            f"The largest change of any class's score (its logit) in {SHUFFLES} shuffles. "
            "Changes below 0.0001 are the rounding of float32."
        ],
    )
    nets = "[bundle.net, without_position_code(bundle.net, code)]" if two else "[bundle.net]"
    code = Code(
        [
            "images, tokens = bundle.prepare(image), bundle.tokens",
            f"orders = [random_order(tokens.patches, seed) for seed in range({SHUFFLES})]",
            f"nets, moved = {nets}, []",
            "with torch.inference_mode():",
            "    for net in nets:",
            "        runs = [with_shuffled_patches(net, images, tokens, each) for each in orders]",
            "        outputs = [changed(inputs) for changed, inputs in runs]",
            "        moved.append(largest_difference(outputs, net(images)))",
            "values = np.array([moved])",
        ],
        [
            *("import numpy as np", "import torch"),
            f"from {ORDER} import largest_difference, random_order, with_shuffled_patches",
        ],
    )
    if two:
        code = _FIND + code + Code([], [f"from {ORDER} import without_position_code"])
    return bars_export(
        "Moved scores",
        account,
        list(shown.moved),
        {"Largest change of a score": list(shown.moved.values())},
        [seen.opening, code],
        "{:.2g}".format,
        f"{seen.photo} {seen.name}",
    )

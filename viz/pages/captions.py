"""Captions: which patches chose each word?"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import streamlit as st

from model import zoo
from model.datasets import scenes
from viz.components import mounts
from viz.components.caption_payload import MEMORY_OF_ONE, CaptionLike, Objects, caption_payload
from viz.components.draw_style import DrawStyle
from viz.components.payload import photo_bytes
from viz.pages import captioner_card
from viz.pages.shared import captioner_choice, open_models, picture
from viz.pages.shared import scene as scene_choice
from viz.pages.shared.captions_written import Question, caption_of, first_telling
from viz.pages.shared.picture import Picture
from viz.pages.shared.scene import STRANGE, enlarged
from viz.pages.shared.session import start
from viz.pages.shared.text import plain
from viz.pages.shared.url_params import set_url_params, url_param
from viz.pictures.caption_strip import animation, strip

BY_CHANCE = 0
DECODING = {1: "Greedy", 3: "Beam 3", 5: "Beam 5", BY_CHANCE: "By chance"}
DECODING_HELP = (
    "Greedy takes the likeliest word at each step. A beam keeps the 3 or 5 likeliest beginnings, "
    "and takes the whole caption that is likeliest for its length: log-probability ÷ words^0.7, "
    "since without that the shortest would win. By chance draws each word with the probability "
    "that the model gives it."
)
TEMPERATURES = [0.3, 0.5, 0.7, 1.0, 1.3, 1.6, 2.0]
TEMPERATURE_HELP = (
    "The logits are divided by it before the softmax: below 1 the likely words get likelier, "
    "above 1 the unlikely ones get their turn."
)
END = "<end>"  # how a vocabulary writes it
MOST_TYPED = 10_000  # characters; a captioner reads fewer, and says so
MOST_LINKED = 200
MOST_DRAWS = 1000
LOOKS = {"colors": "viridis", "opacity": 0.75, "smooth": False, "boxes": False}
NONE_TRAINED = (
    "No captioner is trained yet. This command trains one on scenes that the project draws "
    "itself, in under an hour on two cores; then open this page again:"
)
TRAIN = "python -m model.training scenes-captioner --out checkpoints/scenes-captioner.safetensors"


DOT_PRODUCT = (
    "To choose word $i$ the decoder asks a question, its *query* $q_i$, made of the words so far, "
    "and takes from each patch $j$ according to how well its *key* $k_j$ fits. This is "
    "**cross-attention**, one row for each word, head and layer:",
    r"A_{ij} = \operatorname{softmax}_j\left(q_i \cdot k_j \,/\, \sqrt{d}\right)",
    "The triangle is the **self-attention** of the decoder: how much of each earlier word went "
    "into the question.",
)
ADDITIVE = (
    "A recurrent net reads the words so far into its state $h_i$. To choose word $i$ a small "
    "network compares this state with the vector $m_j$ of each patch, and takes from the patches "
    "by how well they fit. This is **additive attention**, the older way, one row for each word:",
    r"A_{ij} = \operatorname{softmax}_j\left(v \cdot \tanh(W h_i + U m_j)\right)",
    "There are no heads, and no triangle: what it knows of the words before is in its state.",
)

View = dict[str, object]  # layer, head, word, and how maps are drawn


@dataclass(frozen=True)
class Told:
    """The caption on the page, and what the model says when nobody types."""

    question: Question  # what the caption answers
    caption: CaptionLike
    own: CaptionLike
    beam: int = 0  # which of the own caption's beams it is
    typed: bool = False


def page() -> None:
    """The whole page, top to bottom."""
    notes = start()
    st.title("Which patches chose each word?")
    st.markdown(
        "A captioner writes word after word, and looks at the photo anew for each. Step through "
        "the words, or move the mouse over the photo: the words that looked there stand out."
    )
    if "caption_view" not in st.session_state:
        notes += captioner_choice.open_linked()
    captioner_choice.not_opened()
    names = open_models.open_names("caption")
    if not names:
        st.info(NONE_TRAINED, icon=":material/info:")
        st.code(TRAIN, language="bash")
        captioner_choice.open_another()
        return
    notes += _read_address(names)
    bundle, shown, scene = _choose(names)
    if notes:
        st.caption(" ".join(notes))
    if bundle.knows_only_scenes and scene is None:
        st.info(STRANGE, icon=":material/info:")
    told = _tell(bundle, shown)
    objects = _objects(bundle, told.caption, scene)
    _show(bundle, shown, told, objects)
    if objects.named:
        st.caption(_pointing(objects))
    with st.container(horizontal=True):
        _show_meaning(bundle, told.caption)
        _show_export(bundle, shown, told.caption)
        captioner_card.about(bundle)
        captioner_choice.open_another()
    _write_address(shown, scene)


# -- the choices ----------------------------------------------------------------------------------


def _read_address(names: Sequence[str]) -> list[str]:
    """Begin the page's own part of the session from the address, once."""
    words = dict(st.query_params)
    scene_choice.begin(words)
    state = st.session_state
    usual = captioner_choice.fitting(state.subject == "scene", state.get("captioner"))
    url_param("captioner", usual or names[0], names)
    url_param("beams", 1, list(DECODING))
    url_param("temperature", 1.0, TEMPERATURES)
    url_param("draw", 0, lambda draw: 0 <= draw < MOST_DRAWS)
    if "caption_view" in st.session_state:
        return []
    st.session_state.typed = words.get("text", "")[:MOST_LINKED]
    st.session_state.given = words.get("given", "")[:MOST_LINKED].split()
    st.session_state.given_about = None  # any picture: the link's own
    st.session_state.beam = None
    st.session_state.caption_view = dict(LOOKS, layer=None, head="mean", word=None)
    return _read_view(words)


def _read_view(words: dict[str, str]) -> list[str]:
    view, notes = st.session_state.caption_view, []
    for name, usual in (("layer", None), ("head", "mean"), ("word", None)):
        text = words.get(name, "")
        if text.isascii() and text.isdigit() and 0 < len(text) < 4 and int(text):
            view[name] = int(text) - 1
        elif text and text != usual:
            notes.append(f"The link's {name} is not one of this page; showing the usual one.")
    return notes


def _choose(names: Sequence[str]) -> tuple[zoo.Bundle, Picture, scenes.Scene | None]:
    """The choices: the captioner, the picture, and the scene if it is one."""
    what, how = st.columns([5, 6], gap="large")
    with how:
        name_column, decoding_column = st.columns([4, 6], gap="small")
        with name_column:
            name = st.selectbox(
                "Captioner",
                names,
                key="captioner",
                format_func=captioner_choice.captioner_title,
                persist_state="session",
            )
        with decoding_column:
            st.segmented_control(
                "Words are chosen",
                list(DECODING),
                key="beams",
                required=True,
                format_func=DECODING.get,
                help=DECODING_HELP,
                wrap=True,
                persist_state="session",
            )
        if st.session_state.beams == BY_CHANCE:
            _draw_by_chance()
        _type()
    bundle = _open(name)
    with what:
        if scene_choice.chosen(bundle, "captioner"):
            return bundle, *scene_choice.current()
        picture.sample_choice()
        picture.upload()
        return bundle, picture.current(), None


def _open(name: str) -> zoo.Bundle:
    """The captioner; a sentence and no more where its file is gone or broken."""
    try:
        return open_models.open_model_named(name)
    except (zoo.ModelNotFound, zoo.ModelRejected) as problem:
        st.error(plain(str(problem)), icon=":material/error:")
        st.stop()


def _draw_by_chance() -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.select_slider(
            "Temperature",
            TEMPERATURES,
            key="temperature",
            help=TEMPERATURE_HELP,
            persist_state="session",
        )
        st.button("Draw again", on_click=_draw_again, help="Other words by the same chances")


def _draw_again() -> None:
    st.session_state.draw = (st.session_state.draw + 1) % MOST_DRAWS
    _drop_changes()


def _type() -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input(
            "Your own caption",
            key="typed",
            placeholder="Type one: what does the model think of it?",
            on_change=_drop_changes,
            persist_state="session",
        )
        st.button(
            "Clear",
            on_click=_start_again,
            disabled=not (st.session_state.typed or st.session_state.given),
            help="Back to the model's own caption",
        )


def _drop_changes() -> None:
    st.session_state.given, st.session_state.beam = [], None


def _start_again() -> None:
    st.session_state.typed = ""
    _drop_changes()


# -- the caption ----------------------------------------------------------------------------------


def _tell(bundle: zoo.Bundle, shown: Picture) -> Told:
    """The model's caption, one of its beams, or what it thinks of the typed one."""
    state, about = st.session_state, (bundle.name, shown.key)
    if state.given_about not in (None, about):
        state.given = []  # words were chosen for another picture
    state.given_about = about
    question = Question(*about, max(1, state.beams), tuple(state.given))
    if state.beams == BY_CHANCE:
        question = replace(question, temperature=state.temperature, draw=state.draw)
    own = caption_of(bundle, shown, question)
    if state.typed.strip():
        judged = replace(question, typed=state.typed[:MOST_TYPED])
        caption = caption_of(bundle, shown, judged)
        if caption.words:
            return Told(judged, caption, own, typed=True)
        st.info("There is no word in what you typed; this is the model's own caption.")
    asked, beam = state.beam or ("", 0)
    if asked == question.key and 0 < beam < len(own.beams):
        judged = replace(question, typed=own.beams[beam][0])
        return Told(judged, caption_of(bundle, shown, judged), own, beam)
    return Told(question, own, own)


def _show(bundle: zoo.Bundle, shown: Picture, told: Told, objects: Objects) -> None:
    """Mount the caption; nothing is sent again until there is another one."""
    _fit_view(told, objects)
    view = dict(st.session_state.caption_sent[1])
    style = DrawStyle(**{name: view.pop(name) for name in ("colors", "opacity", "smooth")})
    payload = caption_payload(
        told.caption,
        photo_bytes(enlarged(bundle.frame(shown.image))),
        bundle.tokens.grid,
        view,
        style,
        bundle.tokens.prefix,
        beams=[] if told.typed else told.own.beams,
        beam=told.beam,
        given=0 if told.question.typed else len(told.question.given),
        objects=objects,
        memory_of_one=bundle.memory_of_one,
        summary=_summary(told),
        key=told.question.key,
    )
    mounts.captions(
        payload,
        on_view=_take_view,
        on_continue=_take_word,
        on_beam=partial(_take_beam, replace(told.question, typed=None).key),
    )


def _fit_view(told: Told, objects: Objects) -> None:
    """Make the view one that this caption has; note what the browser begins with."""
    state, view, caption = st.session_state, st.session_state.caption_view, told.caption
    before, now = state.get("caption_sent"), told.question.key
    if before and before[0] != now:
        given = len(told.question.given)
        view["word"] = given - 1 if given else None
    if view["word"] is None:
        view["word"] = _telling_word(caption.words, objects)
    last = len(caption.cross) - 1
    captioner = told.question.captioner
    if state.setdefault("caption_by", captioner) != captioner:
        state.caption_by, view["layer"] = captioner, None  # another one has other layers
    view["layer"] = last if view["layer"] is None else min(max(view["layer"], 0), last)
    if view["head"] != "mean":
        view["head"] = min(max(view["head"], 0), len(caption.cross[view["layer"]]) - 1)
    view["word"] = min(max(view["word"], 0), max(0, len(caption.words) - 1))
    if not before or before[0] != now or "captions" not in state:
        state.caption_sent = now, dict(view)


def _telling_word(words: Sequence[str], objects: Objects) -> int:
    """The first word that names a thing, or else the first that may."""
    shapes = (word for word, _ in objects.named if words[word] in scenes.SHAPES)
    return next(shapes, first_telling(words))


def _summary(told: Told) -> str:
    """How sure the model is, and what was cut or replaced, in sentences of plain text."""
    caption = told.caption
    if not caption.words:
        return f"The model says nothing here. {caption.note}"
    least = int(np.argmin(caption.logprobs))
    if told.typed:
        said = (
            f"The model gives these words a log-probability of {_logprob(caption)}; those of its "
            f"own caption get {_logprob(told.own)}, the end of neither counted. It is most "
            f"surprised by “{caption.words[least]}”."
        )
    else:
        mean = math.exp(float(np.mean(caption.logprobs)))
        said = (
            f"How sure the model is: {_percent(mean)} a word (geometric mean), least of "
            f"“{caption.words[least]}”, {_percent(math.exp(caption.logprobs[least]))}."
        )
    return f"{said} {caption.note}".strip()


def _logprob(caption: CaptionLike) -> str:
    total = float(caption.logprobs.sum())
    mean = total / len(caption.words) if caption.words else 0.0
    return f"{total:.1f}, {mean:.1f} a word".replace("-", "−")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.01 else f"{100 * share:.1g} %"


def _take_view() -> None:
    message = st.session_state.captions.get("view") or {}
    if message.get("id") == st.session_state.caption_sent[0]:
        view = st.session_state.caption_view
        view.update((name, message[name]) for name in view.keys() & message.keys())


def _take_word() -> None:
    """Go on from a word that was chosen among the alternatives, or end there."""
    if words := st.session_state.captions.get("continue"):
        _start_again()
        *before, last = (str(word) for word in words)
        if last == END:
            st.session_state.typed = " ".join(before)
        else:
            st.session_state.given = [*before, last]


def _take_beam(question: str) -> None:
    if (beam := st.session_state.captions.get("beam")) is not None:
        st.session_state.beam = question, beam


# -- what was drawn -------------------------------------------------------------------------------


def _objects(bundle: zoo.Bundle, caption: CaptionLike, scene: scenes.Scene | None) -> Objects:
    if scene is None:
        return Objects()
    width, height = scene.image.size
    boxes = [
        (left / width, top / height, right / width, bottom / height)
        for left, top, right, bottom in (thing.box for thing in scene.objects)
    ]
    labels = [f"{thing.size} {thing.colour} {thing.shape}" for thing in scene.objects]
    found = (
        () if bundle.memory_of_one else scenes.score_pointing_game(caption, scene, bundle.tokens)
    )
    named = [(word, thing) for word, thing, _ in found]
    return Objects(boxes, labels, named, sum(hit for _, _, hit in found))


def _pointing(objects: Objects) -> str:
    return (
        f"Pointing score of this caption: of {len(objects.named)} words that name an object, "
        f"{objects.hits} have the peak of their attention (last layer, mean of the heads) inside "
        f"its box. A place chosen blindly would hit {objects.chance:.1f}."
    )


# -- what it means, and to keep -------------------------------------------------------------------


def _show_meaning(bundle: zoo.Bundle, caption: CaptionLike) -> None:
    has_self_attention = bool(caption.self_)
    how, formula, words_before = DOT_PRODUCT if has_self_attention else ADDITIVE
    with st.popover("What am I seeing?", icon=":material/help:"):
        st.markdown(f"The encoder turns the photo into a *memory*: one vector a patch. {how}")
        st.latex(formula)
        st.markdown(
            f"A row sums to one. {words_before} The percentage under a word is the "
            "probability $p(w_i \\mid w_1 \\dots w_{i-1}, \\text{photo})$ that the model gave "
            "it; the log-probability of a caption is the sum of their logarithms.\n\n"
            "**What it is not.** A patch that was looked at is not thereby the reason for the "
            "word: a sharp map can point beside the object and the word be right all the same."
        )
        if bundle.memory_of_one:
            st.markdown(f"**Here:** {MEMORY_OF_ONE}")


def _show_export(bundle: zoo.Bundle, shown: Picture, caption: CaptionLike) -> None:
    if bundle.memory_of_one or not caption.words:
        return
    # A file is made when it is asked for, by a thread that has no session: the view goes along.
    told = bundle, shown, caption, dict(st.session_state.caption_view)
    with st.popover("Save", icon=":material/download:"):
        st.download_button(
            "All words side by side (PNG)",
            partial(_strip, *told),
            "saccade-caption.png",
            "image/png",
            on_click="ignore",
        )
        for kind, title in (("gif", "GIF"), ("webp", "WebP")):
            st.download_button(
                f"Word by word ({title})",
                partial(_animation, *told, kind),
                f"saccade-caption.{kind}",
                f"image/{kind}",
                on_click="ignore",
            )


def _strip(bundle: zoo.Bundle, shown: Picture, caption: CaptionLike, view: View) -> bytes:
    buffer = io.BytesIO()
    photo, maps = enlarged(bundle.frame(shown.image)), _maps(bundle, caption, view)
    probabilities = np.exp(caption.logprobs)
    strip(photo, maps, caption.words, probabilities, **_style(view)).save(buffer, "PNG")
    return buffer.getvalue()


def _animation(
    bundle: zoo.Bundle, shown: Picture, caption: CaptionLike, view: View, kind: str
) -> bytes:
    photo, maps = enlarged(bundle.frame(shown.image)), _maps(bundle, caption, view)
    return animation(photo, maps, caption.words, kind, **_style(view))


def _style(view: View) -> dict[str, object]:
    return {"color_map": view["colors"], "opacity": view["opacity"], "smooth": view["smooth"]}


def _maps(bundle: zoo.Bundle, caption: CaptionLike, view: View) -> np.ndarray:
    """(words, rows, columns) of the layer and head that are shown."""
    head = None if view["head"] == "mean" else view["head"]
    rows = caption.attention(view["layer"], head)[:, bundle.tokens.patch_slice]
    return rows.reshape(-1, *bundle.tokens.grid)


def _write_address(shown: Picture, scene: scenes.Scene | None) -> None:
    """Let the address say what is shown; the last thing that the page does."""
    state, view = st.session_state, st.session_state.caption_view
    place = {"photo": shown.sample or "own"} if scene is None else {"scene": state.scene}
    head = view["head"] if view["head"] == "mean" else view["head"] + 1
    words = {"captioner": state.captioner, **place, "layer": view["layer"] + 1, "head": head}
    st.query_params.from_dict({name: str(value) for name, value in words.items()})
    given = " ".join(state.given)
    set_url_params(
        word=(view["word"] + 1, None),
        beams=(state.beams, 1),
        temperature=(state.temperature if state.beams == BY_CHANCE else 1.0, 1.0),
        draw=(state.draw if state.beams == BY_CHANCE else 0, 0),
        given=(given if len(given) <= MOST_LINKED else "", ""),
        text=(state.typed if len(state.typed) <= MOST_LINKED else "", ""),
    )


page()

"""Captions: which patches chose each word?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from model import zoo
from model.captioning.caption import Caption, CaptionBundle
from model.datasets import scenes
from viz.components import mounts
from viz.components.caption_payload import MEMORY_OF_ONE, SURE, Objects, caption_payload
from viz.export.captions import Written, caption_export
from viz.pages import captions_card
from viz.pages.shared import address, browser, captioner_choice, open_models, scene
from viz.pages.shared.attention_texts import why_cross_attention
from viz.pages.shared.browser import write_address
from viz.pages.shared.captioned_picture import choose_picture, show_captioner_choice
from viz.pages.shared.captions_written import Question, caption_of, first_telling, write_call
from viz.pages.shared.choices_row import begin_row
from viz.pages.shared.explained import show_heading
from viz.pages.shared.figures import show_table
from viz.pages.shared.html_file import caption_file
from viz.pages.shared.opening import opening_of, photo_title
from viz.pages.shared.photos import framed_photo, grant_photo
from viz.pages.shared.picture import Picture
from viz.pages.shared.saving import Saved, show_save
from viz.pages.shared.session import begin_session
from viz.pages.shared.state import Captions, Scene, read_link
from viz.pages.shared.text import plain
from viz.pages.shared.use_as_b import offer_captioner_as_b
from viz.pages.shared.view import CaptionView, LinkedCaptionView
from viz.pages.without_it import go_on_captioning_without, what_if_address
from viz.pictures.lettering import percent

BY_CHANCE = 0
DECODING = {1: "Greedy", 3: "Beam 3", 5: "Beam 5", BY_CHANCE: "Sampling"}
HOW = "Decoding, and a caption of your own"
DECODING_HELP = (
    "Greedy takes the likeliest word at each step. A beam keeps the 3 or 5 likeliest beginnings, "
    "since a word that is a little less likely now may be followed by far likelier ones. It takes "
    "the caption with the highest log-probability ÷ words^0.7; without this division the shortest "
    "caption would win. Sampling draws each word with the probability that the model "
    "gives it."
)
TEMPERATURES = [0.3, 0.5, 0.7, 1.0, 1.3, 1.6, 2.0]
TEMPERATURE_HELP = (
    "The logits are divided by it before the softmax. Below 1 the likely words get likelier; "
    "above 1 unlikely words come more often."
)
END = "<end>"  # how a vocabulary writes it
MOST_TYPED = 10_000  # characters; a captioner reads fewer, and says so
MOST_DRAWS = 1000
NONE_TRAINED = (
    "No captioner is trained yet. This command trains one on scenes that the project draws "
    "itself, in under an hour on two cores; then open this page again:"
)
TRAIN = "python -m model.training scenes-captioner --out checkpoints/scenes-captioner.safetensors"


DOT_PRODUCT = (
    "To choose word $i$ the decoder asks with a *query* $q_i$, which it makes from the words so "
    "far. The better the *key* $k_j$ of a patch fits, the more the word takes from that patch. "
    "This is **cross-attention**, one row for each word, head and layer:",
    r"A_{ij} = \operatorname{softmax}_j\left(q_i \cdot k_j \,/\, \sqrt{d}\right)",
    "The triangle is the **self-attention** of the decoder: how much of each earlier word went "
    "into the query. A mask hides the later words.",
)
ADDITIVE = (
    "A recurrent net reads the words so far into its state $h_i$. To choose word $i$, a small "
    "network compares this state with the vector $m_j$ of each patch. The better they fit, the "
    "more the word takes from that patch. This is **additive attention**, the older kind, one row "
    "for each word:",
    r"A_{ij} = \operatorname{softmax}_j\left(v \cdot \tanh(W h_i + U m_j)\right)",
    "There are no heads and no triangle: all that it knows of the earlier words is in its state.",
)


@dataclass(frozen=True)
class ShownCaption:
    """The caption on the page, and the model's own one, which differs where somebody typed."""

    question: Question  # what the caption answers
    caption: Caption
    own: Caption
    beam: int = 0  # which of the own caption's beams it is
    typed: bool = False


def page() -> None:
    """Show the whole page, top to bottom."""
    notes = begin_session()
    beside = show_heading(
        "Which patches chose each word?",
        "A captioner writes one word after another, and looks at the photo anew for each, by "
        "cross-attention. Step through the words; or point at a patch or tap it, and the words "
        "that looked there stand out.",
    )
    if not Captions.linked.is_set:
        notes += captioner_choice.open_linked()
    captioner_choice.show_refusal()
    names = open_models.open_names("caption")
    if not names:
        st.info(NONE_TRAINED, icon=":material/info:")
        st.code(TRAIN, language="bash")
        captioner_choice.show_hub_field()
        return
    notes += _begin_settings(names)
    bundle, photo, drawn, below_decoding = _choose_captioner_and_picture(names)
    if notes:
        st.caption(" ".join(notes))
    if bundle.knows_only_scenes and drawn is None:
        st.info(scene.STRANGE, icon=":material/info:")
    if not bundle.sees_the_photo:
        st.info(plain(f"{bundle.card.note} The photo is not looked at."), icon=":material/info:")
    shown = _ask_captioner(bundle, photo)
    with below_decoding:
        _compare_decodings(bundle, photo, shown)
    objects = _find_objects(bundle, shown.caption, drawn)
    view, begun = _fit_view(shown, objects)
    go_on_captioning_without(Captions.component, bundle, photo)
    _show_caption(bundle, photo, drawn is not None, shown, objects, begun)
    if objects.named:
        st.caption(_pointing_score(objects))
    with beside:
        _show_meaning(bundle, shown.caption)
    with st.container(horizontal=True):
        show_save(partial(_describe_saved, bundle, photo, shown))
        captions_card.show_card(bundle)
        captioner_choice.show_hub_field()
        offer_captioner_as_b(bundle, photo, drawn is not None)
    write_address(_url_params(photo, drawn is not None, view), browser.CAPTIONS)


# -- the choices ----------------------------------------------------------------------------------


def _begin_settings(names: Sequence[str]) -> list[str]:
    """Begin the page's own settings from the address, once; return notes for what was wrong."""
    url_params = read_link()
    scene.begin_scene(url_params)
    drawn = Scene.subject.get() == "scene"
    default = captioner_choice.fitting_captioner(drawn, Captions.captioner.get())
    Captions.captioner.begin(names, default or names[0])
    Captions.beams.begin(DECODING)
    Captions.temperature.begin(TEMPERATURES)
    Captions.draw.begin(range(MOST_DRAWS))
    if Captions.linked.is_set:
        return []
    notes: list[str] = []
    layer = address.CAPTION_LAYER.read(url_params, notes)
    head = address.CAPTION_HEAD.read(url_params, notes)
    word = address.WORD.read(url_params, notes)
    Captions.linked.set(LinkedCaptionView(layer, head, word))
    Captions.typed.set(address.TEXT.read(url_params))
    Captions.given.set(address.GIVEN.read(url_params).split())
    return notes


def _choose_captioner_and_picture(
    names: Sequence[str],
) -> tuple[CaptionBundle, Picture, scenes.Scene | None, DeltaGenerator]:
    """Show the choices; return captioner, picture, its scene if it is one, and a place below."""
    row = begin_row()
    with row.model:
        name = show_captioner_choice(names, Captions.captioner.name)
    bundle = _open_captioner(name)
    shown, drawn = choose_picture(row, bundle, Captions.captioner)
    if Captions.typed.get() or Captions.given.get():
        row.end.button("Clear", on_click=_start_again, help="Back to the model's own caption")
    if Captions.beams.get() != Captions.beams.default or Captions.typed.get():
        Captions.how_is_open.set(True)  # and stays so: two ways of decoding are compared
    with st.expander(HOW, expanded=Captions.how_is_open.get()):
        with st.container(horizontal=True, gap="large"):
            _show_decoding()
            with st.container():
                _show_typing()
        below = st.container()
    return bundle, shown, drawn, below


def _show_decoding() -> None:
    with st.container(width="content"):
        beams = st.segmented_control(
            "Decoding",
            list(DECODING),
            key=Captions.beams.name,
            required=True,
            format_func=DECODING.__getitem__,
            help=DECODING_HELP,
            wrap=True,
            persist_state="session",
        )
        if beams == BY_CHANCE:
            _show_chance()


def _open_captioner(name: str) -> CaptionBundle:
    """Open the captioner; show a sentence and no more where its file is gone or broken."""
    try:
        return open_models.open_captioner(name)
    except (zoo.ModelNotFound, zoo.ModelRejected) as problem:
        st.error(plain(str(problem)), icon=":material/error:")
        st.stop()


def _show_chance() -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.select_slider(
            "Temperature",
            TEMPERATURES,
            key=Captions.temperature.name,
            help=TEMPERATURE_HELP,
            persist_state="session",
        )
        st.button(
            "Draw again", on_click=_draw_again, help="Draws other words with the same probabilities"
        )


def _draw_again() -> None:
    Captions.draw.set((Captions.draw.get() + 1) % MOST_DRAWS)
    _drop_changes()


def _show_typing() -> None:
    st.text_input(
        "Your own caption",
        key=Captions.typed.name,
        placeholder="Type one: what does the model think of it?",
        on_change=_drop_changes,
        persist_state="session",
    )


def _drop_changes() -> None:
    Captions.given.set([])
    Captions.beam.set(None)


def _start_again() -> None:
    Captions.typed.set("")
    _drop_changes()


# -- the caption ----------------------------------------------------------------------------------


def _ask_captioner(bundle: CaptionBundle, photo: Picture) -> ShownCaption:
    """Return the model's caption, one of its beams, or its judgement of the typed one."""
    question = _question(bundle, photo)
    own = caption_of(bundle, photo, question)
    typed = Captions.typed.get()
    if typed.strip():
        judged = replace(question, typed=typed[:MOST_TYPED])
        caption = caption_of(bundle, photo, judged)
        if caption.words:
            return ShownCaption(judged, caption, own, typed=True)
        st.info("There is no word in what you typed; this is the model's own caption.")
    asked, beam = Captions.beam.get() or ("", 0)
    if asked == question.key and 0 < beam < len(own.beams):
        judged = replace(question, typed=own.beams[beam][0])
        return ShownCaption(judged, caption_of(bundle, photo, judged), own, beam)
    return ShownCaption(question, own, own)


def _question(bundle: CaptionBundle, photo: Picture) -> Question:
    """Describe the question for the model's own caption, as the settings have it."""
    about, beams = (bundle.name, photo.key), Captions.beams.get()
    if Captions.given_about.get() not in (None, about):
        Captions.given.set([])  # words were chosen for another picture
    Captions.given_about.set(about)
    question = Question(*about, max(1, beams), tuple(Captions.given.get()))
    if beams != BY_CHANCE:
        return question
    return replace(question, temperature=Captions.temperature.get(), draw=Captions.draw.get())


def _compare_decodings(bundle: CaptionBundle, photo: Picture, shown: ShownCaption) -> None:
    """Show the captions of the decodings that were tried; none is written for this table."""
    asked = replace(shown.question, typed=None, temperature=0.0, draw=0)
    tried = {DECODING[Captions.beams.get()]: shown.own}
    for beams, name in DECODING.items():
        if beams != BY_CHANCE and name not in tried:
            kept = caption_of.kept(bundle, photo, replace(asked, beams=beams))
            tried |= {name: kept} if kept else {}
    tried = {name: tried[name] for name in DECODING.values() if name in tried}
    if len(tried) > 1:
        columns = {
            "Decoding": list(tried),
            "Caption": [plain(" ".join(caption.words)) for caption in tried.values()],
            "Log-probability without the end": [_logprob(caption) for caption in tried.values()],
        }
        show_table(columns)


def _show_caption(
    bundle: CaptionBundle,
    photo: Picture,
    drawn: bool,
    shown: ShownCaption,
    objects: Objects,
    begun: CaptionView,
) -> None:
    """Mount the caption; the browser gets a new payload only for another caption."""
    payload = caption_payload(
        shown.caption,
        grant_photo(framed_photo(bundle, photo)),
        bundle.tokens.grid,
        begun.as_header(),
        begun.style,
        bundle.tokens.prefix,
        beams=[] if shown.typed else shown.own.beams,
        beam=shown.beam,
        given=0 if shown.question.typed else len(shown.question.given),
        objects=objects,
        memory_of_one=bundle.memory_of_one,
        about_memory=why_cross_attention(bundle.tokens, bool(shown.caption.self_)),
        summary=_summary(shown),
        what_if=what_if_address({"of": "captioner"} | _subject_params(photo, drawn)),
        key=shown.question.key,
        revision=browser.caption_revision(shown.question.key),
    )
    mounts.captions(
        payload,
        on_continue=_take_word,
        on_beam=partial(_take_beam, replace(shown.question, typed=None).key),
        key=Captions.component.name,
    )


def _fit_view(shown: ShownCaption, objects: Objects) -> tuple[CaptionView, CaptionView]:
    """Find the nearest view that this caption has, and the view with which the browser began it."""
    caption, now = shown.caption, shown.question.key
    sent, view = Captions.sent.get(), Captions.view.get()
    looked_at = view or Captions.linked.get()
    layer, head, word = looked_at.layer, looked_at.head, looked_at.word
    if sent and sent[0] != now:
        given = len(shown.question.given)
        word = given - 1 if given else None
    if word is None:
        word = _telling_word(caption.words, objects)
    captioner, last = shown.question.captioner, len(caption.cross) - 1
    if Captions.view_captioner.is_set and Captions.view_captioner.get() != captioner:
        layer = None  # another one has other layers
    Captions.view_captioner.set(captioner)
    layer = last if layer is None else min(max(layer, 0), last)
    if isinstance(head, int):
        head = min(max(head, 0), len(caption.cross[layer]) - 1)
    word = min(max(word, 0), max(0, len(caption.words) - 1))
    fitted = replace(view or CaptionView(layer, head, word), layer=layer, head=head, word=word)
    Captions.view.set(fitted)
    if not sent or sent[0] != now:
        sent = now, fitted
        Captions.sent.set(sent)
    return fitted, sent[1]


def _telling_word(words: Sequence[str], objects: Objects) -> int:
    """Find the first word that names a thing, or else the first that may."""
    shapes = (word for word, _ in objects.named if words[word] in scenes.SHAPES)
    return next(shapes, first_telling(words))


def _summary(shown: ShownCaption) -> str:
    """Say how sure the model is, and what was cut or replaced, in sentences of plain text."""
    caption = shown.caption
    if not caption.words:
        return f"The model says nothing here. {caption.note}"
    least = int(np.argmin(caption.logprobs))
    if shown.typed:
        summary = (
            f"The model gives these words a log-probability of {_logprob(caption)}, and its own "
            f"caption {_logprob(shown.own)}, both without the end. It is most surprised by "
            f"“{caption.words[least]}”."
        )
    else:
        mean = math.exp(float(np.mean(caption.logprobs)))
        summary = (
            f"How sure the model is: {percent(mean)} for each word (geometric mean), least for "
            f"“{caption.words[least]}”: {percent(math.exp(caption.logprobs[least]))}."
        )
        if len(shown.own.beams) < 2:  # beams list theirs
            summary += f" Log-probability without the end: {_logprob(caption)}."
    if float(caption.logprobs.max()) >= math.log(SURE):
        summary += f" No number: {percent(SURE)} or more."
    return f"{summary} {caption.note}".strip()


def _logprob(caption: Caption) -> str:
    total = float(caption.logprobs.sum())
    mean = total / len(caption.words) if caption.words else 0.0
    return f"{total:z.1f}, {mean:z.1f} a word".replace("-", "−")


def _take_word() -> None:
    """Go on from a word that was chosen among the alternatives, or end there."""
    if words := Captions.component.get().get("continue"):
        _start_again()
        *before, last = (str(word) for word in words)
        if last == END:
            Captions.typed.set(" ".join(before))
        else:
            Captions.given.set([*before, last])


def _take_beam(question: str) -> None:
    if (beam := Captions.component.get().get("beam")) is not None:
        Captions.beam.set((question, beam))


# -- what was drawn -------------------------------------------------------------------------------


def _find_objects(bundle: CaptionBundle, caption: Caption, drawn: scenes.Scene | None) -> Objects:
    """Find the drawn objects, and those that the caption names."""
    if drawn is None:
        return Objects()
    width, height = drawn.image.size
    boxes = [
        (left / width, top / height, right / width, bottom / height)
        for left, top, right, bottom in (thing.box for thing in drawn.objects)
    ]
    labels = [f"{thing.size} {thing.colour} {thing.shape}" for thing in drawn.objects]
    found = (
        () if bundle.memory_of_one else scenes.score_pointing_game(caption, drawn, bundle.tokens)
    )
    named = [(word, thing) for word, thing, _ in found]
    return Objects(boxes, labels, named, sum(hit for _, _, hit in found))


def _pointing_score(objects: Objects) -> str:
    return (
        f"Pointing score of this caption: {objects.hits} of {len(objects.named)} words that name "
        "an object look most inside its box (last layer, mean of the heads). A random place would "
        f"hit {objects.chance:.1f}."
    )


# -- what it means, and to keep -------------------------------------------------------------------


def _show_meaning(bundle: CaptionBundle, caption: Caption) -> None:
    has_self_attention = bool(caption.self_)
    how, formula, words_before = DOT_PRODUCT if has_self_attention else ADDITIVE
    with st.popover("What am I seeing?", icon=":material/help:"):
        st.markdown(f"The encoder turns the photo into a *memory*: a vector for each patch. {how}")
        st.latex(formula)
        st.markdown(
            f"A row sums to one. {words_before} The percentage under a word is the "
            "probability $p(w_i \\mid w_1 \\dots w_{i-1}, \\text{photo})$ that the model gave "
            "it; the log-probability of a caption is the sum of their logarithms.\n\n"
            "**Attention is not the reason for a word.** A sharp map can point beside the object, "
            "and the word can still be right."
        )
        if bundle.memory_of_one:
            st.markdown(f"**Here:** {MEMORY_OF_ONE}")


def _describe_saved(bundle: CaptionBundle, photo: Picture, shown: ShownCaption) -> Saved:
    """Describe what can be saved of the caption, as the browser shows it now."""
    caption, view = shown.caption, Captions.view.get()
    if bundle.memory_of_one or not caption.words or view is None:
        return Saved(missing="There is no map of a word to save here.")
    question = shown.question
    written = Written(
        caption,
        scene.enlarged(bundle.frame(photo.image)),
        bundle.tokens,
        open_models.model_title(bundle.name),
        photo_title(photo),
        "judged, not written" if question.typed is not None else _decoding_in_words(question),
        opening_of(bundle.name, photo),
        write_call(question),
        bundle.name,
    )
    export = caption_export(written, view.layer, view.head, view.style)
    return Saved([export], caption_file(caption, view, bundle.memory_of_one))


def _decoding_in_words(question: Question) -> str:
    """Say how the words were chosen."""
    given = f", after “{' '.join(question.given)}”" if question.given else ""
    if question.temperature:
        drawn = f"sampled at temperature {question.temperature:g}, draw {question.draw}"
        return f"{drawn}{given}"
    return f"{'greedy' if question.beams == 1 else f'{question.beams} beams'}{given}"


def _url_params(photo: Picture, drawn: bool, view: CaptionView) -> dict[str, str]:
    """Write what the page shows into the parameters of an address."""
    chance = {}
    if Captions.beams.get() == BY_CHANCE:
        chance = Captions.temperature.url_params() | Captions.draw.url_params()
    given, typed = " ".join(Captions.given.get()), Captions.typed.get()
    return (
        _subject_params(photo, drawn)
        | address.CAPTION_LAYER.write(view.layer)
        | address.CAPTION_HEAD.write(view.head)
        | address.WORD.write(view.word)
        | Captions.beams.url_params()
        | chance
        | address.GIVEN.write_changed(given if len(given) <= address.LONGEST else "")
        | address.TEXT.write_changed(typed if len(typed) <= address.LONGEST else "")
    )


def _subject_params(photo: Picture, drawn: bool) -> dict[str, str]:
    captioner, number = Captions.captioner, Scene.number
    subject = number.param.write(number.get()) if drawn else address.PHOTO.write(photo.name_in_link)
    return captioner.param.write(captioner.get()) | subject


page()

"""Inside a captioner's head: words that ask words, and words that ask patches."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from model.captioning.caption import CaptionBundle
from model.errors import NothingRecorded
from viz.components.draw_style import DrawStyle
from viz.pages.inside_head_export import describe_inside_caption
from viz.pages.inside_head_numbers import decoder_layers, layer_of_caption
from viz.pages.inside_head_payload import Looked, own_url_params, show_inside
from viz.pages.inside_head_source import DecoderSource
from viz.pages.shared import address
from viz.pages.shared.browser import write_address
from viz.pages.shared.captioned_picture import choose_captioner_and_picture
from viz.pages.shared.captions_written import Question, caption_of, first_telling
from viz.pages.shared.explained import show_heading
from viz.pages.shared.photos import framed_photo
from viz.pages.shared.picture import Picture
from viz.pages.shared.saving import show_save
from viz.pages.shared.session import begin_session
from viz.pages.shared.state import InsideHead, Scene
from viz.pages.shared.use_as_b import offer_captioner_as_b

NO_WORDS = "The captioner has written nothing for this picture, so no word asks. Choose another."
NO_HEADS = (
    "This captioner has no heads to look into. A recurrent one compares its state with each patch "
    "by a small network (additive attention), without queries and keys. Choose another captioner."
)
START = "start"
AMONG = {"self": "among words", "cross": "words to photo"}


def show_captioner(question: str, lead: str, show_subjects: Callable[[], None]) -> None:
    """Show the page for a captioner, top to bottom."""
    notes = begin_session()
    show_heading(question, lead)
    chosen = choose_captioner_and_picture(InsideHead.captioner, show_subjects)
    if chosen is None:
        return
    bundle, shown = chosen
    drawn = Scene.subject.get() == "scene"
    offer_captioner_as_b(bundle, shown, drawn)
    if notes:
        st.caption(" ".join(notes))
    caption = caption_of(bundle, shown, Question(bundle.name, shown.key))
    if not caption.words:
        st.info(NO_WORDS, icon=":material/info:")
        return
    _show_layer(bundle, shown, tuple(caption.words), drawn)


@st.fragment
def _show_layer(bundle: CaptionBundle, shown: Picture, words: tuple[str, ...], drawn: bool) -> None:
    """Show one layer of the decoder; this alone runs again when the browser reports a choice."""
    try:
        layers = decoder_layers(bundle, shown, words)
    except NothingRecorded:
        st.info(NO_HEADS, icon=":material/info:")
        return
    kinds = [kind for _, kind in layers]
    first = kinds.index("cross") if "cross" in kinds else 0  # a photo is looked at
    place = InsideHead.layer.begin(range(1, len(layers) + 1), first + 1) - 1
    titles = _titles(kinds)
    looked = Looked(
        model=bundle.name,
        picture=f"{shown.key} {' '.join(words)}",
        sent=layer_of_caption(bundle, shown, words, layers[place][0]),
        photo=framed_photo(bundle, shown),
        style=DrawStyle(),
        layer=place,
        layers=titles,
        chips=titles,
        tokens=bundle.tokens,
        words=[START, *words],
        source=DecoderSource(
            bundle.name, bundle.card.sha256 or "", shown.key, words, layers[place][0]
        ),
    )
    head = InsideHead.head.begin(lambda head: 1 <= head <= looked.numbers.heads)
    word = InsideHead.word.begin(range(1, len(words) + 2), first_telling(words) + 2)

    def take(message: dict[str, Any]) -> None:
        InsideHead.layer.set(int(message["layer"]) + 1)
        InsideHead.head.set(int(message["head"]) + 1)
        InsideHead.word.set(int(message["query"]) + 1)

    show_inside(looked, head - 1, word - 1, take)
    asked, module = (head - 1, word - 1), layers[place][0]
    show_save(lambda: describe_inside_caption(bundle, shown, looked, module, *asked))
    number, captioner = Scene.number, InsideHead.captioner
    subject = number.param.write(number.get()) if drawn else address.PHOTO.write(shown.name_in_link)
    write_address(captioner.param.write(captioner.get()) | subject | own_url_params())


def _titles(kinds: list[str]) -> list[str]:
    """Name a decoder's layers: the number among those of one kind, and who asks whom."""
    return [f"{kinds[: i + 1].count(kind)} {AMONG[kind]}" for i, kind in enumerate(kinds)]

"""The choice of a captioner: an embedded one, or one of a hub that somebody opened."""

import streamlit as st

from model import zoo
from viz.pages.shared import open_models
from viz.pages.shared.state import Captions, read_link
from viz.pages.shared.text import plain
from viz.server.class_mode import MODE

HUB = "hf/"
EXAMPLE = "hf/nlpconnect/vit-gpt2-image-captioning"
HUB_LEAD = (
    f"ViT-GPT2 and BLIP from the Hugging Face hub, such as `{EXAMPLE}` or "
    "`hf/Salesforce/blip-image-captioning-base`. Weights are fetched once, about a gigabyte, and "
    "kept on this computer."
)


def open_linked() -> list[str]:
    """Offer the hub's captioner that a link names, if it is open here; return notes if it is not.

    Nothing is fetched because of a link.
    """
    name = Captions.captioner.param.read(read_link())
    if not name.startswith(HUB) or name in open_models.open_names("caption"):
        return []
    if not open_models.is_open(name, "caption"):
        return ["The link names a captioner that is not open here; showing another one."]
    open_models.open_by_name(name, "caption")
    return []


def fitting_captioner(scenes: bool, chosen: str | None) -> str | None:
    """Find a captioner that knows scenes alone, or one that does not.

    The chosen one comes first, where it fits; None where none does.
    """
    names = open_models.open_names("caption")
    for name in sorted(names, key=lambda name: name != chosen):
        try:
            if open_models.open_captioner(name).knows_only_scenes == scenes:
                return name
        except (zoo.ModelNotFound, zoo.ModelRejected):
            continue
    return None


def show_hub_field() -> None:
    """Show the field in which a captioner of the hub is named, where this server opens any."""
    if not MODE.hubs:
        return
    with st.popover("Another captioner", icon=":material/add:"):
        st.markdown(HUB_LEAD)
        with st.form("open_captioner", border=False):
            st.text_input("Name", key=Captions.hub_name.name, placeholder=EXAMPLE)
            st.checkbox(
                "Random weights",
                key=Captions.hub_random.name,
                help="The same network before any training. Its words are noise.",
            )
            st.form_submit_button("Open", on_click=_open_named)


def show_refusal() -> None:
    """Show why the captioner that was asked for last did not open."""
    if sentence := Captions.not_opened.take():
        st.error(plain(sentence), icon=":material/error:")


def _open_named() -> None:
    name = (Captions.hub_name.get() or "").strip()
    if not name.startswith(HUB):
        Captions.not_opened.set(f"A captioner of the hub is named hf/ORG/NAME, as in {EXAMPLE}.")
        return
    name += open_models.RANDOM if Captions.hub_random.get() else ""
    try:
        open_models.open_by_name(name, "caption")
    except (zoo.ModelNotFound, zoo.ModelRejected) as problem:
        Captions.not_opened.set(str(problem))
        return
    Captions.captioner.set(name)

"""Which captioner writes: the embedded ones, and those of a hub that somebody opened."""

import streamlit as st

from model import zoo
from viz.pages.shared import open_models
from viz.pages.shared.text import plain

HUB = "hf/"
EXAMPLE = "hf/nlpconnect/vit-gpt2-image-captioning"
HUB_LEAD = (
    f"ViT-GPT2 and BLIP from the Hugging Face hub, such as `{EXAMPLE}` or "
    "`hf/Salesforce/blip-image-captioning-base`. Weights are fetched once, about a gigabyte, and "
    "kept on this computer."
)


def open_linked() -> list[str]:
    """Offer the hub's captioner that a link names, if it is open here; notes if it is not.

    Nothing is fetched because of a link.
    """
    name = st.query_params.get("captioner", "")
    if not name.startswith(HUB) or name in open_models.open_names("caption"):
        return []
    if not open_models.is_open(name, "caption"):
        return ["The link names a captioner that is not open here; showing another one."]
    open_models.open_by_name(name, "caption")
    return []


def captioner_title(name: str) -> str:
    """How the page calls a captioner."""
    if name.startswith(HUB):
        return name
    try:
        return open_models.open_model_named(name).card.title or name
    except (zoo.ModelNotFound, zoo.ModelRejected):
        return name


def fitting(scenes: bool, chosen: str | None) -> str | None:
    """A captioner that knows scenes alone, or one that does not: the chosen one if it is such, else
    the first, if there is any."""
    names = open_models.open_names("caption")
    for name in sorted(names, key=lambda name: name != chosen):
        try:
            if open_models.open_model_named(name).knows_only_scenes == scenes:
                return name
        except (zoo.ModelNotFound, zoo.ModelRejected):
            continue
    return None


def open_another() -> None:
    """Show the field in which a captioner of the hub is named."""
    with st.popover("Another captioner", icon=":material/add:"):
        st.markdown(HUB_LEAD)
        with st.form("open_captioner", border=False):
            st.text_input("Name", key="hub_captioner", placeholder=EXAMPLE)
            st.checkbox(
                "Random weights",
                key="hub_captioner_random",
                help="The same network before any training. Its words are noise.",
            )
            st.form_submit_button("Open", on_click=_take)


def not_opened() -> None:
    """Say why the captioner that was asked for last did not open."""
    if sentence := st.session_state.pop("captioner_not_opened", None):
        st.error(plain(sentence), icon=":material/error:")


def _take() -> None:
    name = (st.session_state.hub_captioner or "").strip()
    if not name.startswith(HUB):
        st.session_state.captioner_not_opened = (
            f"A captioner of the hub is named hf/ORG/NAME, as in {EXAMPLE}."
        )
        return
    name += open_models.RANDOM if st.session_state.hub_captioner_random else ""
    try:
        open_models.open_by_name(name, "caption")
    except (zoo.ModelNotFound, zoo.ModelRejected) as problem:
        st.session_state.captioner_not_opened = str(problem)
        return
    st.session_state.captioner = name

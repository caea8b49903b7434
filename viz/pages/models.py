"""Models: which model is looking, how good it is, and how to open another."""

import re
from typing import Any

import streamlit as st

from model import zoo
from model.errors import NothingRecorded, NothingToShow
from model.recorded_image import bytes_of_layers
from model.zoo import catalogue
from viz.pages import models_card, models_design, models_untrained
from viz.pages.shared import address, open_models
from viz.pages.shared.browser import write_address
from viz.pages.shared.explained import show_explained, show_heading
from viz.pages.shared.session import begin_session, chosen_layers, show_model_choice
from viz.pages.shared.state import Captions, Models, Shared
from viz.pages.shared.text import plain
from viz.pages.shared.training_facts import show_training
from viz.server.class_mode import MODE, NO_HUBS, NO_WEIGHTS

HUB_LEAD = (
    "Names are `torchvision/vit_b_16`, `timm/deit_tiny_patch16_224` or "
    "`hf/facebook/dino-vits8`, and may end with the pictures' size, height x width: `@160x256`. "
    "Weights are fetched once and kept on this computer. Captioners "
    "(ViT-GPT2, BLIP) open on the Captions page."
)
FILE_LEAD = (
    "A file of weights or a training checkpoint (`.safetensors`, `.pt`, `.pth`, `.ckpt`, ...), or "
    "a Hugging Face folder: all its files at once, or zipped. Nothing in a file is run."
)
LAYOUTS = (
    "The layout is read off the file: this project's, the CS231n assignment's, D2L's, the einops "
    "tutorial's, vit-pytorch's, CLIP's image tower, torchvision's, timm's, or Hugging Face's ViT, "
    "DeiT, DINOv2 and CLIP. A Hugging Face folder may hold any model that opens from the hub. "
    "LoRA adapters open with the files of their base. "
    "What this project trains is a pair: choose the `.json` beside the file too, and nothing is "
    "guessed. The captioner of the CS231n assignment opens on the Captions page: choose its "
    "`coco2014_vocab.json` and a `.npy` or `.h5` file of features with it."
)
LAYOUT_DEFAULT = "As the layout usually has it"
SCALINGS = {
    LAYOUT_DEFAULT: None,
    "By the square root of a head's width": "head",
    "By the square root of the whole width": "width",
    "By the square root of the whole width, after the softmax": "after_softmax",
}
ACTIVATIONS = {
    LAYOUT_DEFAULT: None,
    "GELU": "gelu",
    "QuickGELU (OpenAI's CLIP)": "quick_gelu",
    "ReLU": "relu",
}
POOLINGS = {
    LAYOUT_DEFAULT: None,
    "CLS": "cls",
    "The mean of the patches": "mean",
    "The mean of all tokens": "mean_all",
}
NORMALISATIONS = {
    LAYOUT_DEFAULT: None,
    "Mean and deviation 0.5 (CS231n, Google's ViTs)": ((0.5,) * 3, (0.5,) * 3),
    "ImageNet's (torchvision, DeiT, DINO)": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "CIFAR-10's": ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    "CLIP's": (
        (0.48145466, 0.4578275, 0.40821073),
        (0.26862954, 0.26130258, 0.27577711),
    ),
}
_SIZE = re.compile(r"([1-9][0-9]{0,4})(?:\s*[x×*,]\s*([1-9][0-9]{0,4}))?", re.IGNORECASE)


def page() -> None:
    """Show the whole page, top to bottom."""
    begin_session()
    show_heading(
        "Which model is looking?",
        "Choose a model, see how well it does and how it is built, or open your own.",
    )
    own_column, card_column = st.columns([2, 3], gap="large")
    with own_column:
        show_model_choice()
        _open_another()
    with card_column:
        bundle = _open_chosen(Shared.model.get())
        if bundle is not None:
            _show_summary(bundle)
    with own_column:
        if bundle is not None and not bundle.name.endswith(open_models.RANDOM):
            models_untrained.show_untrained(bundle)
    if bundle is not None:
        _show_more(bundle)
    write_address(address.PHOTO.write(Shared.photo.get()) | address.MODEL.write(Shared.model.get()))


def _open_chosen(name: str) -> zoo.Bundle | None:
    try:
        return open_models.open_model_named(name)
    except (zoo.ModelNotFound, zoo.ModelRejected) as problem:
        st.error(plain(str(problem)), icon=":material/error:")
        return None


# -- opening ------------------------------------------------------------------------------------


def _open_another() -> None:
    message = st.container()  # always there, so that the tab in front stays in front
    if sentence := Models.not_opened.take():
        message.error(plain(sentence), icon=":material/error:")
    if name := Models.opened_captioner.take():
        with message.container(border=True):
            title = plain(open_models.model_title(name))
            st.markdown(f"**{title}** writes captions. It is chosen on the Captions page.")
            st.page_link("captions.py", label="Open Captions", icon=":material/chat:")
    with st.expander("Open another: untrained, from a hub, or your own file"):
        _show_ways_to_open()


def _show_ways_to_open() -> None:
    untrained, hub, own = st.tabs(["The same, untrained", "From a hub", "Your own file"])
    with untrained:
        st.markdown(
            "The same network with random weights. What its maps show comes from the "
            "architecture and the picture, not from learning: compare before you read meaning "
            "into a map."
        )
        name = Shared.model.get()
        st.button(
            "Open it untrained",
            on_click=_open_by_name,
            args=(name + open_models.RANDOM,),
            disabled=name.endswith(open_models.RANDOM),
        )
    with hub:
        if MODE.hubs:
            _show_hub()
        else:
            st.info(NO_HUBS)
    with own:
        if MODE.own_weights:
            _show_own_file()
        else:
            st.info(NO_WEIGHTS)


def _show_hub() -> None:
    st.markdown(HUB_LEAD)
    with st.form("hub", border=False):
        st.text_input("Name", key=Models.hub_name.name, placeholder="timm/deit_tiny_patch16_224")
        st.checkbox("Random weights (nothing is fetched)", key=Models.hub_random.name)
        st.form_submit_button("Open", on_click=_open_hub)


def _show_own_file() -> None:
    st.markdown(FILE_LEAD)
    with st.form("own_model", border=False):
        st.file_uploader(
            "Files of one model",
            key=Models.files.name,
            accept_multiple_files=True,
            help=LAYOUTS,
        )
        st.number_input(
            "Heads",
            min_value=1,
            max_value=64,
            value=None,
            key=Models.heads.name,
            placeholder="as the layout usually has it",
            help="No file says how many heads share a layer's width. Empty: 4 for CS231n, 8 "
            "for D2L and einops, width / 64 otherwise.",
        )
        st.text_input(
            "Size of the pictures in pixels",
            key=Models.side.name,
            placeholder="as the file or the layout has it",
            help="One side of a square, such as 224, or height x width, such as 192 x 256. "
            "Needed where the pictures are not square, or where the positions are computed: "
            "empty, CS231n's are 32 x 32.",
        )
        st.selectbox(
            "Normalisation of the pictures", list(NORMALISATIONS), key=Models.normalisation.name
        )
        with st.expander("More"):
            st.selectbox(
                "Scaling of the scores",
                list(SCALINGS),
                key=Models.scaling.name,
                help="The einops tutorial divides by the square root of the whole width; its "
                "first listing does so after the softmax. No file can tell.",
            )
            st.selectbox("Activation of the MLP", list(ACTIVATIONS), key=Models.activation.name)
            st.selectbox("Pooling: what is classified", list(POOLINGS), key=Models.pooling.name)
            st.text_input(
                "Which network in the file",
                key=Models.network.name,
                placeholder="the teacher, or the average over the training",
                help="A training run may keep two, such as student and teacher. The card lists "
                "the others; write one of these names here.",
            )
            st.number_input(
                "Row of the features",
                min_value=0,
                value=None,
                key=Models.row.name,
                placeholder="0",
                help="For a captioner of the CS231n assignment: which image of the file of "
                "features, counted from 0.",
            )
        st.form_submit_button("Open", on_click=_open_upload)


def _open_by_name(name: str) -> None:
    try:
        open_models.open_by_name(name)
    except (zoo.ModelNotFound, zoo.ModelRejected) as problem:
        Models.not_opened.set(str(problem))
        return
    Shared.model.set(name)


def _open_hub() -> None:
    name = (Models.hub_name.get() or "").strip()
    hub, slash, _ = name.partition("/")
    # A path is no hub's name: nobody opens the server's own files from a browser.
    if not slash or hub not in catalogue.HUBS or name.lower().endswith(catalogue.SUFFIXES):
        Models.not_opened.set(
            "A hub's model has its hub's name first, as in timm/deit_tiny_patch16_224."
        )
        return
    _open_by_name(name + (open_models.RANDOM if Models.hub_random.get() else ""))


def _open_upload() -> None:
    uploads = [(upload.name, upload.getvalue()) for upload in Models.files.get()]
    if not uploads:
        Models.not_opened.set("Choose a file first.")
        return
    try:
        name = open_models.open_files(uploads, **_given_facts())
    except (zoo.ModelNotFound, zoo.ModelRejected) as problem:
        Models.not_opened.set(str(problem))
        return
    if open_models.is_open(name, "caption"):
        Captions.captioner.set(name)
        Models.opened_captioner.set(name)
    else:
        Shared.model.set(name)


def _given_facts() -> dict[str, Any]:
    """Read what the form says about the file; raises ``zoo.ModelRejected`` for a wrong size."""
    mean, std = NORMALISATIONS[Models.normalisation.get()] or (None, None)
    given = {
        "heads": Models.heads.get(),
        "mean": mean,
        "std": std,
        "img_size": _parse_size(Models.side.get()),
        "scale_by": SCALINGS[Models.scaling.get()],
        "activation": ACTIVATIONS[Models.activation.get()],
        "pool": POOLINGS[Models.pooling.get()],
        "network": (Models.network.get() or "").strip() or None,
        "row": Models.row.get(),
    }
    return {name: value for name, value in given.items() if value is not None}


def _parse_size(text: str | None) -> int | tuple[int, int] | None:
    """ "224" -> 224, "192 x 256" -> (192, 256), nothing -> None."""
    if not text or not text.strip():
        return None
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise zoo.ModelRejected(
            f"“{text[:40]}” is no size of pictures. Write one number of pixels, such as 224, or "
            "height x width, such as 192 x 256."
        )
    height, width = found.groups()
    return int(height) if width is None else (int(height), int(width))


# -- the model ----------------------------------------------------------------------------------


def _show_summary(bundle: zoo.Bundle) -> None:
    st.subheader(plain(open_models.model_title(bundle.name)))
    if bundle.name.endswith(open_models.RANDOM):
        st.caption("Its weights are random: nothing was learned, so nothing was measured.")
    models_card.show_figures(bundle.card)
    models_card.show_facts(bundle)
    models_card.show_pointing(bundle.card)


def _show_more(bundle: zoo.Bundle) -> None:
    models_design.show_design(bundle)
    models_card.show_mixups(bundle.card)
    show_training(bundle.card)
    _show_layers(bundle)


# -- what recording takes -----------------------------------------------------------------------


@st.cache_data(show_spinner=False, max_entries=64)
def _count_bytes(name: str) -> dict[int, int] | str:
    """Count the bytes that recording keeps of each layer, or say why that is not possible."""
    try:
        return bytes_of_layers(open_models.open_model_named(name))
    except (NothingRecorded, NothingToShow) as problem:
        return str(problem)


def _show_layers(bundle: zoo.Bundle) -> None:
    st.subheader("What does recording keep?")
    show_explained(
        "The queries and keys of each layer, not its maps.", Shared.note("recording").name
    )
    sizes = _count_bytes(bundle.name)
    if isinstance(sizes, str):
        st.warning(plain(sizes))
        return
    chosen = chosen_layers(bundle.name) or tuple(sizes)
    numbers = st.pills(
        "Layers to record",
        [layer + 1 for layer in sizes],
        selection_mode="multi",
        default=[layer + 1 for layer in chosen],
        key=Models.recorded_layers(bundle.name).name,
        on_change=_take_layers,
        args=(bundle.name, len(sizes)),
    )
    kept = sum(sizes[number - 1] for number in numbers) or sum(sizes.values())
    st.caption(f"One picture takes {kept / 2**20:.1f} MiB of memory, shared by all who look at it.")


def _take_layers(name: str, count: int) -> None:
    numbers = sorted(Models.recorded_layers(name).get())
    chosen = tuple(number - 1 for number in numbers)
    everything = len(chosen) in (0, count)
    Shared.layers.set({**Shared.layers.get(), name: None if everything else chosen})


page()

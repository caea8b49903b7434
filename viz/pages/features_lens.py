"""The tab Lens: what each patch would answer if the model ended after this layer."""

from functools import partial

import numpy as np
import streamlit as st
import torch

from model.bundle import Bundle
from model.errors import NothingRecorded, NothingToShow
from model.features.class_lens import read_layers
from model.recorded_image import find_centre
from viz.components import mounts
from viz.components.lens_payload import LensView, lens_payload
from viz.pages.features_lens_export import describe_lens
from viz.pages.shared.explained import show_note
from viz.pages.shared.photos import framed_photo, grant_photo
from viz.pages.shared.picture import Picture
from viz.pages.shared.saving import show_save
from viz.pages.shared.session import Session
from viz.pages.shared.state import Features, Shared
from viz.pages.shared.text import plain
from viz.pictures.feature_paint import GROUP_COLORS
from viz.server.costs import forward_cost
from viz.server.queue import Cost
from viz.server.results import computed_once

LEGEND = 7
CAVEAT = (
    "*The lens* puts the model's own last norm and classifier on every token of every layer "
    "(nostalgebraist, 2020; Vilas et al., 2023). The classifier was trained for the last layer "
    "only, so its answer for an early layer is a hint. A layer can know more than the lens shows. "
    "A colour is stronger where the patch is surer; grey is any class that is not listed above."
)


def show_lens(session: Session) -> None:
    """Show the tab."""
    bundle = session.bundle
    if not bundle.classes:
        st.info(
            "This model has no classes for a patch to answer with. Choose a classifier.",
            icon=":material/info:",
        )
        return
    try:
        view = lens_view(bundle, session.picture)
    except (NothingToShow, NothingRecorded) as problem:
        st.info(plain(str(problem)), icon=":material/info:")
        return
    tokens = bundle.tokens
    at = tokens.position_of(session.view.query) if session.view.query < tokens.tokens else None
    patch = (tokens.index_of(*at) if at else find_centre(tokens)) - len(tokens.prefix)
    photo, given = framed_photo(bundle, session.picture), (tokens.grid, _id(session), 0, patch)
    payload = lens_payload(view, grant_photo(photo), *given, palette=GROUP_COLORS)
    mounts.class_lens(payload, key=Features.lens.name)
    whole = partial(lens_payload, view, photo, *given, palette=GROUP_COLORS)
    show_save(lambda: describe_lens(session, view, whole()))
    show_note(
        "The colour is the class that a patch would answer with. Choose a class above to see its "
        "probability grow.",
        Shared.note("lens").name,
    )
    with st.expander("How this is computed"):
        st.markdown(CAVEAT)


def _id(session: Session) -> str:
    """Tell this lens from others."""
    return f"{session.bundle.name} {session.picture.key}"


def lens_url_params() -> dict[str, str]:
    """Write the settings of this tab into the parameters of an address: it has none."""
    return {}


def _lens_cost(bundle: Bundle, picture: Picture) -> Cost:
    """Estimate three passes, and the logits of every token of every layer."""
    passes = forward_cost(bundle, 3)
    depth = len(getattr(bundle.net, "blocks", ())) or 12
    logits = 3 * 4 * depth * bundle.tokens.tokens * len(bundle.classes or ())
    what = f"A lens on {bundle.tokens.tokens:,} tokens"
    return Cost(passes.bytes + logits, passes.seconds, what, passes.cure)


@computed_once(
    "lens",
    key=lambda bundle, picture: (bundle.name, picture.key),
    size=lambda view: view.best.nbytes + view.shares.nbytes + view.curves.nbytes,
    cost=_lens_cost,
)
def lens_view(bundle: Bundle, picture: Picture) -> LensView:
    """Read a photo's tokens, and keep what the page draws."""
    layout = bundle.tokens
    read = read_layers(bundle.net, bundle.prepare(picture.image), layout=layout)
    tokens = read.tokens[:, 0].softmax(-1)
    patches = tokens[:, layout.patch_slice]
    named = {"the model's answer": read.answer[:, 0].softmax(-1)}
    if "cls" in layout.prefix:
        named = {"CLS": tokens[:, layout.prefix.index("cls")]}
    named |= {"the mean of the patches": read.mean[:, 0].softmax(-1)}
    best_share, best = patches.max(-1)
    legend = _legend(read.answer[-1, 0], best)
    names = bundle.classes or []
    rest = sorted(set(best.unique().tolist()) - set(legend))
    place = {label: index for index, label in enumerate([*legend, *rest])}
    chosen = torch.tensor(legend)
    return LensView(
        classes=[names[label] for label in legend],
        others=[names[label] for label in rest],
        labels=[*legend, *rest],
        best=np.vectorize(place.__getitem__)(best.numpy()).astype(np.uint32),
        best_share=best_share.numpy().astype(np.float16),
        shares=patches[..., chosen].permute(2, 0, 1).numpy().astype(np.float16),
        curves=torch.stack([c[:, chosen].T for c in named.values()], 1).numpy(),
        curve_names=list(named),
    )


def _legend(answer: torch.Tensor, best: torch.Tensor) -> list[int]:
    """Choose the classes of the legend: the model's three likeliest, then the most frequent."""
    likely = answer.topk(min(3, len(answer))).indices.tolist()
    labels, counts = best.unique(return_counts=True)
    frequent = labels[counts.argsort(descending=True, stable=True)].tolist()
    return list(dict.fromkeys([*likely, *frequent]))[:LEGEND]

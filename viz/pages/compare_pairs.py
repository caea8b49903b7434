"""Ready-made pairs: each is a link to this page, so one click shows all of it."""

from dataclasses import dataclass
from urllib.parse import urlencode

import streamlit as st

from viz.pages.shared import address, open_models
from viz.pages.shared.browser import open_address
from viz.pages.shared.session import PLAIN, Session
from viz.pages.shared.state import Compare

PHOTOS, CAPTIONER, COURSE = "photos", "flickr8k-captioner", "cifar10-plain"


@dataclass(frozen=True)
class Pair:
    """A pair with the models that it needs, and what its link says besides the photo."""

    title: str
    question: str
    models: tuple[str, ...]
    url_params: dict[str, str]


def _pairs() -> list[Pair]:
    plain = next(filter(open_models.shipped_names().__contains__, PLAIN), COURSE)
    return [
        Pair(
            "Trained and untrained",
            "What has training changed?",
            (PHOTOS,),
            {"b_model": PHOTOS + open_models.RANDOM, "b_method": "attention"},
        ),
        Pair(
            "One layer and rollout",
            "What does one layer show, and what all layers together?",
            (PHOTOS,),
            {"a_token": "cls", "b_token": "cls"},
        ),
        Pair(
            "CLS and all patches",
            "Does CLS look where the patches look?",
            (PHOTOS,),
            {"a_token": "cls", "b_token": "mean", "b_method": "attention"},
        ),
        Pair(
            "With and without position code",
            "Which part of a map comes from places, and which from what is there?",
            (plain,),
            {"layer": "1", "b_layer": "1", "b_code": "no", "b_method": "attention"},
        ),
        Pair(
            "Late and early in training",
            "When does a head find what it looks at?",
            (COURSE,),
            {"b_epoch": "0.25", "b_method": "attention"},
        ),
        Pair(
            "Classifier and captioner",
            "The captioner's encoder went on from this classifier. What did captions change?",
            (PHOTOS, CAPTIONER),
            {"b_model": CAPTIONER, "b_method": "attention"},
        ),
    ]


def show_pairs(session: Session) -> None:
    """Show the pairs whose models this server has."""
    shipped = {*open_models.shipped_names(), *open_models.shipped_names("caption")}
    for number, pair in enumerate(_pairs()):
        if shipped.issuperset(pair.models):
            st.button(
                pair.title,
                key=Compare.pair(number).name,
                help=pair.question,
                on_click=_open_pair,
                args=(pair, session.picture.name_in_link),
            )


def _open_pair(pair: Pair, photo: str) -> None:
    url_params = address.PHOTO.write(photo) | address.MODEL.write(pair.models[0])
    open_address(urlencode(url_params | pair.url_params))

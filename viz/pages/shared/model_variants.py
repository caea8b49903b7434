"""Models as Compare shows them: at a moment of training, a captioner's encoder, without positions.

A variant has a name of its own, from which anybody can open it again; what is recorded of it is
kept under that name.
"""

from dataclasses import replace

from model import zoo
from model.analysis.position_codes import find_position_code
from model.analysis.token_order import without_position_code
from model.bundle import Bundle
from model.captioning.caption import CaptionBundle
from model.errors import NothingToShow
from model.nets.vit import VisionTransformer
from viz.pages.shared import course, open_models

ENCODER = ", encoder"
NO_CODE = ", no position code"
REFUSALS = (zoo.ModelNotFound, zoo.ModelRejected, NothingToShow)
"""What `open_variant` raises."""


def open_variant(name: str) -> Bundle:
    """Open a model by the name of a variant.

    Raises:
        zoo.ModelNotFound, zoo.ModelRejected: as `open_models.open_model_named`.
        NothingToShow: the model has no such variant.
    """
    if name.endswith(NO_CODE):
        return without_code(open_variant(name.removesuffix(NO_CODE)))
    if name.endswith(ENCODER):
        return encoder_of(open_models.open_captioner(name.removesuffix(ENCODER)))
    return course.open_moment(name)


def as_classifier(name: str) -> Bundle:
    """Open a model that looks at photos: a classifier, or the encoder of a captioner."""
    bundle = open_models.open_model_named(name)
    return encoder_of(bundle) if isinstance(bundle, CaptionBundle) else bundle


def has_encoder(bundle: Bundle) -> bool:
    """Say whether a captioner has an encoder that `encoder_of` can take out."""
    return isinstance(getattr(bundle.net, "encoder", None), VisionTransformer)


def encoder_of(captioner: CaptionBundle) -> Bundle:
    """Return a captioner's encoder as a model of its own, without classes.

    Raises NothingToShow where it has none that can be run alone.
    """
    encoder = getattr(captioner.net, "encoder", None)
    if not isinstance(encoder, VisionTransformer):
        raise NothingToShow(
            f"{captioner.name} has no encoder that can be run alone. Choose another model."
        )
    return Bundle(
        captioner.name + ENCODER,
        encoder,
        encoder.config.tokens,
        captioner.mean,
        captioner.std,
        captioner.resize,
        card=captioner.card,
        bands=captioner.bands,
    )


def without_code(bundle: Bundle) -> Bundle:
    """Return a model whose position code is zero; the weights are shared, and stay as they are."""
    code = find_position_code(bundle.net, bundle.tokens)
    if code.patches is None:
        raise NothingToShow(
            "This model adds no position code to its tokens, so there is none to leave out."
        )
    net = without_position_code(bundle.net, code)
    return replace(bundle, name=bundle.name + NO_CODE, net=net)


def base_name(name: str) -> str:
    """Return the name of the model without what makes it a variant."""
    return course.name_without_moment(name.removesuffix(NO_CODE).removesuffix(ENCODER))


def variant_title(name: str) -> str:
    """Name a variant as the pages do."""
    title = open_models.model_title(base_name(name))
    rest = name.removeprefix(base_name(name))
    return title + rest


def can_open(name: str) -> bool:
    """Say whether a link may name this model: nothing is fetched because of a link."""
    return open_models.is_open(name) or open_models.is_open(name, "caption")

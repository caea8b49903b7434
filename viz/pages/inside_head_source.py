"""A layer's numbers, as the browser asks for them: once, whatever is chosen, and whoever asks."""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from hashlib import sha256

from model import zoo
from model.errors import CheckpointError, NothingRecorded, NothingToShow
from viz.components.payload import pack
from viz.pages.inside_head_numbers import SentLayer, layer_of_caption, layer_of_photo
from viz.pages.shared import model_variants, open_models, picture, scene
from viz.pages.shared.picture import Picture
from viz.pages.shared.recorded_images import recorded_image
from viz.server.passes import NoSuchQuestion, Reply, SourceGone

GONE = (CheckpointError, NothingRecorded, NothingToShow, zoo.ModelNotFound, zoo.ModelRejected)


@dataclass(frozen=True)
class LayerSource:
    """A layer of a classifier that looks at a photo: it keeps names, and never the numbers."""

    shown: str
    """The key of the recorded image."""
    model: str
    picture: str
    layers: tuple[int, ...] | None
    layer: int

    @property
    def id(self) -> str:
        """The name of this source, by its content."""
        return sha256(repr(astuple(self)).encode()).hexdigest()[:20]

    def answer(self, question: str) -> Reply:
        """Reply a question, as `viz.server.passes.Source`."""
        return _reply(question, self.picture, picture.find_picture, self._numbers)

    def _numbers(self, shown: Picture) -> SentLayer:
        bundle = model_variants.open_variant(self.model)
        recorded = recorded_image(bundle, shown.key, shown.image, self.layers)
        return layer_of_photo(bundle, shown, recorded, self.layer)


@dataclass(frozen=True)
class DecoderSource:
    """A layer of a captioner's decoder, likewise."""

    captioner: str
    weights: str
    """The sha256 of its file, where it has one."""
    picture: str
    words: tuple[str, ...]
    layer: str

    @property
    def id(self) -> str:
        """The name of this source, by its content."""
        return sha256(repr(astuple(self)).encode()).hexdigest()[:20]

    def answer(self, question: str) -> Reply:
        """Reply a question, as `viz.server.passes.Source`."""
        return _reply(question, self.picture, scene.find_shown, self._numbers)

    def _numbers(self, shown: Picture) -> SentLayer:
        bundle = open_models.open_captioner(self.captioner)
        return layer_of_caption(bundle, shown, self.words, self.layer)


def _reply(
    question: str,
    key: str,
    find: Callable[[str], Picture | None],
    numbers: Callable[[Picture], SentLayer],
) -> Reply:
    if question != "numbers":
        raise NoSuchQuestion(question)
    shown = find(key)
    if shown is None:
        raise SourceGone(key)
    try:
        return Reply(pack({}, **numbers(shown).arrays))
    except GONE as problem:
        raise SourceGone(key) from problem

"""The session: every key with its type and its default, page by page.

No other file touches ``st.session_state``. A new setting is one line here,

    beams = Setting("beams", 1)

and in its page `Captions.beams.begin(valid)` before the widget, ``key=Captions.beams.name`` in the
widget, and `Captions.beams.url_params()` among what the page writes into the address.

A session holds what somebody chose and the keys of what was computed, never the tensors.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from viz.pages.shared.address import Param, read_address, reader_of
from viz.pages.shared.view import CaptionView, LinkedCaptionView, Recorded, View
from viz.server.first_action import browser_brought
from viz.server.passes import Pass

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Key(Generic[T]):
    """One entry of the session; ``name`` is also the ``key`` of the widget that changes it."""

    name: str
    default: T

    @property
    def is_set(self) -> bool:
        """Whether the session has a value of its own."""
        return self.name in st.session_state

    def get(self) -> T:
        """Return the value, or the default where the session has none."""
        return st.session_state.get(self.name, self.default)

    def set(self, value: T) -> None:
        """Keep a value."""
        st.session_state[self.name] = value

    def take(self) -> T:
        """Return the value and forget it."""
        return st.session_state.pop(self.name, self.default)


@dataclass(frozen=True, eq=False)
class Setting(Key[T]):
    """A key that begins from a link, and goes into the address unless it is the default.

    ``param_name`` is its name in the address, where that is not the key's own.
    """

    param_name: str = ""

    @property
    def param(self) -> Param[T]:
        """The parameter of the address."""
        return Param(self.param_name or self.name, self.default, reader_of(self.default))

    def begin(
        self, valid: Container[T] | Callable[[T], bool] | None = None, default: T | None = None
    ) -> T:
        """Return a valid value: the session's, or else the link's, or else the default.

        What has begun on a page begins anew with each address that Back and Forward open on it.

        Args:
            valid: the values there are, or a test of one; None: any. The session's own value may
                have become invalid, say with another model.
            default: stands in for the setting's own default, say with another model.
        """
        default = self.default if default is None else default
        begun, here = Shared.begun.get(), (Shared.page.get(), self.name)
        if here not in begun:
            Shared.begun.set(begun | {here})
        is_set = self.is_set
        before = value = self.get() if is_set else self._linked(default)
        is_valid = valid if callable(valid) else lambda value: valid is None or value in valid
        if not is_valid(value):
            value = default
        if browser_brought(self.name):
            return value
        if not is_set or value != before:
            self.set(value)
        return value

    def url_params(self, default: T | None = None) -> dict[str, str]:
        """Write the entry of the address: none for the default, or before the setting has begun."""
        return self.param.write_changed(self.get(), default) if self.is_set else {}

    def _linked(self, default: T) -> T:
        return replace(self.param, default=default).read(read_link())


def read_link() -> Mapping[str, str]:
    """Read the address from which this page begins: the one that was opened last."""
    link = Shared.link.get()
    return read_address() if link is None else link


def forget_linked(page: str) -> None:
    """Forget what a page begins from an address, so that it can begin from another one."""
    settings = [name for shown_on, name in Shared.begun.get() if shown_on == page]
    others = [key.name for key in (*BEGUN_EVERYWHERE, *BEGUN.get(page, ()))]
    for name in (*settings, *others):
        st.session_state.pop(name, None)


Component = Key[Mapping[str, Any]]
"""What a browser component reports, by name."""


class Shared:
    """What stays from page to page: the photo, the model and the view of both."""

    photo = Key("photo", "")
    """A sample's name, or "own"."""
    own = Key[str | None]("own", None)
    """The key of the photo that somebody uploaded."""
    own_note = Key[str]("own_note", "")
    """What was changed as that photo was opened, in a sentence."""
    own_file = Key[str | None]("own_file_kept", None)
    """The key of that photo's file, where its bands or its range of values can be chosen."""
    own_bands = Key[int]("own_bands", 0)
    """How many bands that file has to choose from; 0 for an ordinary photo."""
    band_numbers = Key("band_numbers", "")
    black = Key[float | None]("black", None)
    white = Key[float | None]("white", None)
    whole_range = Key("whole_range", False)
    not_chosen = Key[str | None]("not_chosen", None)
    """Why the bands or the range that were asked for cannot be shown."""
    rejected = Key[str | None]("rejected", None)
    """Why the last upload was refused."""
    sample = Key("sample", "")
    offered = Key[tuple[str, ...] | None]("offered", None)
    """The samples offered last; empty at the beginning, None where a link named the photo."""
    upload = Key[UploadedFile | None]("upload", None)
    taken_upload = Key[str | None]("taken_upload", None)
    """The file that was taken from the upload field last, by Streamlit's name for it."""

    model = Key("model", "")
    model_choice = Key("model_choice", "")
    opened = Key[Sequence[str]]("opened", ())
    """Classifiers that this session opened, besides the embedded ones."""
    opened_captioners = Key[Sequence[str]]("opened_caption", ())
    epoch = Setting("epoch", -1.0)
    """A moment of the model's training, in epochs; -1: its end."""
    save = Key("save", False)
    """The button that offers what a page shows as files."""
    save_picture = Key("save_picture", "")
    save_width = Key("save_width", 1200)
    html_file = Key("html_file", False)
    """The button that saves what a page shows as one file."""
    layers = Key[Mapping[str, tuple[int, ...] | None]]("layers", {})
    """Which layers of each model to record, from zero; None for all."""

    view = Key[View | None]("view", None)
    recorded = Key[Recorded | None]("recorded", None)
    """The layers that the view was last fitted to."""
    revision = Key("revision", 0)
    """How often the view was changed in Python."""
    browser_pass = Key[Pass | None]("browser_pass", None)
    """With which the browser asks and reports."""

    page = Key("page", "")
    """The file of the page that is shown."""
    page_names = Key[tuple[str, ...]]("page_names", ())
    """Every page as an address names it; the first one is "explore"."""
    link = Key[Mapping[str, str] | None]("link", None)
    """The address of this page that Back or Forward has opened."""
    opened_links = Key("opened_links", 0)
    opened_now = Key("opened_now", False)
    """Whether this run has begun with opening one."""
    begun = Key[frozenset[tuple[str, str]]]("begun", frozenset())
    """Pages, and the settings that have begun on them."""
    address = Component("address", {})
    screen = Component("screen", {})
    """The switch for a projector."""
    help = Key[None]("help", None)
    """The place of the button that opens a page's help."""
    video = Key[None]("video_link", None)
    """The place of the way to Video."""
    lead = Component("lead", {})
    """The sentence below a page's question."""

    @staticmethod
    def note(name: str) -> Component:
        """Name a text of a page whose terms are explained."""
        return Component(f"note {name}", {})

    @staticmethod
    def save_file(kind: str, name: str) -> str:
        """Name the button of a file to save."""
        return f"save {kind} {name}"


class Lessons:
    """The lesson that runs, on whichever page, and the Lessons page."""

    running = Setting("lesson", "")
    """The lesson's name and the place in it from one, as in "several-heads.3"; empty: none."""
    component = Component("lesson_component", {})
    list = Component("lesson_list", {})
    welcome = Component("welcome", {})
    about = Setting("about", "")
    """The lesson whose notes for the teacher are shown."""
    unknown = Key[tuple[str, str] | None]("unknown_lesson", None)
    """A lesson that a link names and this server lacks, and the page on which that is said."""


class Explore:
    """The Explore page."""

    explorer = Component("explorer", {})
    sheet = Component("sheet", {})
    rollout = Component("rollout", {})


class Scene:
    """The drawn scene of the pages on which captioners write."""

    number = Setting("scene", 1)
    subject = Key("subject", "scene")
    """Whether a scene is looked at, or a photo."""


class Captions:
    """The Captions page."""

    captioner = Setting("captioner", "")
    beams = Setting("beams", 1)
    temperature = Setting("temperature", 1.0)
    draw = Setting("draw", 0)
    """Which of the captions by chance."""
    how_is_open = Key("how_is_open", False)
    """Whether the ways of decoding are shown."""
    typed = Key("typed", "")
    given = Key[Sequence[str]]("given", ())
    """Words with which the caption begins."""
    given_about = Key[tuple[str, str] | None]("given_about", None)
    """The captioner and the picture for which those words were chosen; None: any."""
    beam = Key[tuple[str, int] | None]("beam", None)
    """A question, and which of its beams is shown."""
    linked = Key("caption_linked", LinkedCaptionView())
    """What the link said of the view; set once, as the page's settings begin."""
    view = Key[CaptionView | None]("caption_view", None)
    view_captioner = Key("caption_by", "")
    """The captioner to which the view was last fitted."""
    sent = Key[tuple[str, CaptionView] | None]("caption_sent", None)
    """The caption that the browser has, and the view with which it began."""
    component = Component("captions", {})
    hub_name = Key("hub_captioner", "")
    hub_random = Key("hub_captioner_random", False)
    not_opened = Key[str | None]("captioner_not_opened", None)


class InsideHead:
    """The page Inside a head. What is chosen of a decoder is counted from one."""

    subject = Setting("inside", "model")
    """Whether a model that classifies is looked into, or a captioner."""
    step = Setting("step", "token")
    key = Setting("to", "")
    """The key, as an address names it; empty for the one with most weight."""
    captioner = Setting("inside_captioner", "", param_name="captioner")
    layer = Setting("decoder_layer", 1)
    head = Setting("decoder_head", 1)
    word = Setting("decoder_word", 1)
    sent = Key[tuple[tuple[str, int], Mapping[str, Any]] | None]("inside_sent", None)
    """The layer and the address that the browser has, and the view with which it began."""
    component = Component("inside_head", {})


class Video:
    """The Video page."""

    source = Setting("source", "sample")
    """Which frames are shown: "sample", "own", or none but the camera's: "camera"."""
    uploads = Key[Sequence[UploadedFile]]("clip_upload", ())
    taken = Key[tuple[tuple[str, ...], int] | None]("clip_taken", None)
    """The files that were opened last, by Streamlit's names for them, and every how many frames."""
    own = Key[str | None]("own_clip", None)
    """The key of the clip that somebody uploaded."""
    rejected = Key[str | None]("clip_rejected", None)
    every = Key("clip_every", 1)
    still = Key[UploadedFile | None]("camera_still", None)
    still_taken = Key("still_taken", False)
    frame = Setting("frame", 1)
    map = Setting("map", "layer")
    """"layer", or "rollout": through all layers."""
    asking = Key[int | None]("clip_asking", None)
    """The token of the first layer from which the clip was recorded."""
    stopped = Key("clip_stopped", False)
    component = Component("video", {})


class Attribution:
    """The Attribution page; `MethodSettings` has what each method can be set to."""

    explained = Key[str | None]("explained", None)
    """The captioner that is explained; None: the model of all pages."""
    target = Key[tuple[int, tuple[str, str]] | None]("target", None)
    """A class, and the model and the picture for which it was chosen."""
    likely_class = Key[int | None]("likely_class", None)
    any_class = Key[int | None]("any_class", None)
    word = Key[tuple[int, tuple[str, str]] | None]("word_of", None)
    """A word's place, and the captioner and the picture for which it was chosen."""
    word_choice = Key("word_choice", 0)
    method = Setting("method", "chefer")
    compare = Setting("compare", False)
    row = Component("row", {})
    large = Component("large", {})
    fitting = Key[str | None]("method_fit", None)
    """The method that a page of the model before began with."""
    model_size = Key[tuple[int, int, int, bool, bool, bool] | None]("settings_fit", None)
    """The size of the model that was explained last (`attribution_settings.Size`)."""

    box_on = Key("box_on", False)
    box_across = Key("box_across", (25, 75))
    box_down = Key("box_down", (25, 75))
    box_picture = Key("box_of", "")
    """The picture for which the box was drawn."""

    background = Setting("background", "blurred")
    class_scale = Setting("scale", "probability")
    word_scale = Setting("word_scale", "logarithm")
    measured = Key[tuple[object, ...] | None]("measured", None)
    """The question whose curves somebody asked for."""


class MethodSettings:
    """The settings of the relevance methods.

    A layer is counted from one, and its default may be the model's last one.
    """

    attention_layer = Setting("attention_layer", 1)
    attention_head = Setting("attention_head", "mean")
    rollout_stop = Setting("rollout_stop", 1)
    rollout_start = Setting("rollout_start", 1)
    rollout_fusion = Setting("rollout_fusion", "mean")
    rollout_residual = Setting("rollout_residual", 0.5)
    rollout_discard = Setting("rollout_discard", 0.0)
    rollout_compat = Setting("rollout_compat", False)
    rollout_kept = Setting("rollout_kept", 0.9)
    gradient_rollout_start = Setting("gradient_rollout_start", 1)
    gradient_rollout_residual = Setting("gradient_rollout_residual", 0.5)
    gradient_rollout_compat = Setting("gradient_rollout_compat", False)
    gradient_rollout_kept = Setting("gradient_rollout_kept", 0.9)
    chefer_start = Setting("chefer_start", 1)
    attention_gradcam_layer = Setting("attention_gradcam_layer", 1)
    legrad_start = Setting("legrad_start", 1)
    integrated_gradients_baseline = Setting("integrated_gradients_baseline", "zeroed")
    integrated_gradients_steps = Setting("integrated_gradients_steps", 10)
    random_map_seed = Setting("random_map_seed", 0)


class Positions:
    """The Positions page, tab by tab."""

    tab = Setting("tab", "Does order matter?")
    tab_before = Key[str | None]("tab_before", None)
    """The tab that was open when the page was last drawn."""

    @staticmethod
    def side_by_side(number: int) -> Key[None]:
        """Make the key of the place of two pictures, which a phone shows side by side, too."""
        return Key(f"side_by_side_{number}", None)

    length = Setting("length", 64)
    width = Setting("width", 64)
    base = Setting("base", 10000.0)
    first = Setting("first", 4)
    second = Setting("second", 20)
    position = Setting("position", 31)

    likeness = Setting("likeness", "Cosine")

    turned_width = Setting("turned", 32)
    turned_base = Setting("turn_base", 100.0)

    tiles = Component("tiles", {})

    way = Setting("way", "Shuffle the patches")
    seed = Setting("seed", 1)


class Heads:
    """The Heads page."""

    measure = Setting("measure", "distance")
    scope = Setting("over", "This photo")
    uploads = Key[Sequence[UploadedFile]]("many", ())
    clicks = Key("clicks", 0)
    survey = Setting("survey", "")
    surveyed = Setting("surveyed", "", param_name="of")
    """The head of a survey whose page is shown: layer and head, from one, as in 3.2."""
    ranking = Setting("ranking", "narrow")
    note = Component("heads_note", {})
    survey_file = Key[UploadedFile | None]("survey_file", None)
    survey_folder = Key[Sequence[UploadedFile]]("survey_folder", ())
    survey_photos = Key[Sequence[UploadedFile]]("survey_photos", ())

    @staticmethod
    def dots(clicks: int) -> str:
        """Name the chart anew after each click."""
        return f"dots_{clicks}"

    @staticmethod
    def map_dots(clicks: int) -> str:
        """Name the map of heads likewise."""
        return f"map_dots_{clicks}"

    @staticmethod
    def top_picture(ranking: str, number: int) -> str:
        """Name the button of a top picture."""
        return f"top_{ranking}_{number}"

    @staticmethod
    def found(kind: str, layer: int, head: int) -> str:
        """Name the button of a head that was found."""
        return f"{kind}_{layer}_{head}"


class Features:
    """The Features page, tab by tab."""

    tab = Setting("features_tab", "Alike", param_name="tab")
    part = Setting("part", "tokens")
    layer = Setting("features_layer", 0, param_name="block")
    """A layer, from one; 0: after the last norm, or the last attention."""
    head = Setting("features_head", 0, param_name="part_head")
    """A head, from one; 0: all heads side by side."""
    second = Setting("second_photo", "", param_name="beside")
    """A sample's name, or "own"; empty for none."""
    shown = Setting("features_shown", "Similarity", param_name="show")
    together = Setting("together", False)
    foreground = Setting("foreground", False)
    groups = Setting("groups", 4)
    object_by = Setting("object_by", "TokenCut")
    sent = Key("features_sent", "")
    """What the browser has: the keys of the photos and of their vectors."""
    component = Component("features", {})
    lens = Component("lens", {})


class Compare:
    """The Compare page: A is what all pages show, B is the page's own."""

    method = Setting("a_method", "attention", param_name="a_method")
    token = Setting("a_token", "patch", param_name="a_token")
    """From where A attends: "patch", for the one under the cursor, "mean", or a token's name."""
    code = Setting("a_code", True, param_name="a_code")
    """Whether A has its position code."""
    layer = Key("a_layer", 1)
    head = Key("a_head", "mean")

    b_photo = Setting("b_photo", "")
    """A sample's name, or "own"; empty for A's."""
    b_model = Setting("b_model", "")
    """A model's name; empty for A's."""
    b_epoch = Setting("b_epoch", -1.0)
    b_method = Setting("b_method", "rollout")
    b_layer = Setting("b_layer", 0)
    """A layer, from one; 0: the last."""
    b_head = Setting("b_head", "mean")
    """A head, from one, or how the heads are fused."""
    b_token = Setting("b_token", "patch")
    b_code = Setting("b_code", True)

    closest = Setting("closest_heads", False, param_name="closest")
    """Whether the two heads that agree most are looked for."""
    component = Component("compared", {})
    show_closest = Key("show_closest", False)
    as_b = Key("as_b", False)

    @staticmethod
    def pair(number: int) -> Key[bool]:
        """Make the key of the button of a ready-made pair."""
        return Key(f"pair_{number}", False)


class WhatIf:
    """The What if page."""

    subject = Setting("what_if_of", "model", param_name="of")
    """Whether a model that classifies is changed, or a captioner."""
    captioner = Setting("what_if_captioner", "", param_name="captioner")
    history = Key[Any]("what_if_history", None)
    """The experiments that were made (`what_if_experiment.History`); None before the first."""
    about = Key[Any]("what_if_about", None)
    """What there is to switch off (`what_if_parts.About`); the experiments are about that."""
    stage = Component("what_if", {})
    switches = Component("switches", {})
    spread = Component("spread", {})
    serial = Key("what_if_serial", 0)
    """The number of the browser's last act that was taken over."""
    second = Setting("what_if_second", "none", param_name="other")
    scan_of_heads = Setting("scan_heads", False)
    scan_of_patches = Setting("scan_patches", False)
    note = Component("what_if_note", {})

    @staticmethod
    def idea(number: int) -> str:
        """Name the button of an experiment that is offered."""
        return f"idea_{number}"


class Patches:
    """The Patches page."""

    filters = Setting("filters", "Principal components")
    row = Key("patch_row", 1)
    column = Key("patch_column", 1)
    chosen = Key[tuple[int, tuple[str, int]] | None]("patch", None)
    """A patch, and the model and the token for which it was chosen."""
    clicked = Key[Any]("patch_clicked", None)


class Cost:
    """The Cost page."""

    base = Setting("cost_base", "This model", param_name="base")


class Models:
    """The Models page."""

    not_opened = Key[str | None]("not_opened", None)
    opened_captioner = Key[str | None]("opened_captioner", None)
    """A captioner that was opened last, for the sentence that says where it is."""
    hub_name = Key("hub_name", "")
    hub_random = Key("hub_random", False)
    files = Key[Sequence[UploadedFile]]("own_file", ())
    heads = Key[int | None]("own_heads", None)
    side = Key("own_side", "")
    normalisation = Key("own_norm", "")
    scaling = Key("own_scaling", "")
    activation = Key("own_activation", "")
    pooling = Key("own_pooling", "")
    network = Key("own_network", "")
    row = Key[int | None]("own_row", None)
    twin = Key("twin", False)
    twins = Component("twins", {})
    whole_grid = Key("whole_grid", False)

    @staticmethod
    def recorded_layers(model: str) -> Key[Sequence[int]]:
        """Make the key of the layers to record of one model, from one."""
        return Key(f"layers of {model}", ())


BEGUN_EVERYWHERE: Sequence[Key[Any]] = (Shared.model, Shared.view, Shared.recorded)
BEGUN: Mapping[str, Sequence[Key[Any]]] = {
    "captions.py": (
        *(Captions.linked, Captions.typed, Captions.given, Captions.given_about),
        *(Captions.beam, Captions.view, Captions.sent, Captions.view_captioner, Scene.subject),
    ),
    "attribution.py": (
        *(Attribution.explained, Attribution.target, Attribution.word, Scene.subject),
        *(Attribution.box_on, Attribution.box_picture, Attribution.measured),
        Attribution.model_size,
    ),
    "patches.py": (Patches.chosen,),
    "positions.py": (Positions.tab_before,),
    "what_if.py": (WhatIf.history,),
}
"""What begins from an address besides the settings, on every page and on one."""

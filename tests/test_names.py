"""Names that other programs rely on stay; names that were given up do not come back."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from model import AttentionRecorder, zoo
from model.datasets import samples
from model.rollout import rollout

ROOT = Path(__file__).parents[1]

PUBLISHED = [
    "model.AttentionRecorder",
    "model.zoo",
    "model.zoo.load",
    "model.rollout.rollout",
    "model.vit.build",
    "model.images.open_image",
    "model.recorder.AttentionRecorder",
    "model.intervention.intervene",
]

# A package, and modules that it had; a published path (`model.rollout`) is not among them.
RETIRED_MODULES = {
    "model": """
        agreement arguments attention baselines captioner captions checkpoints codes compat
        components confusion costs decoding early_exit embedding faithfulness generic_relevance
        hub_captioners hubs layout_names layouts localisation look measures mimetic order patches
        positions recording_calls recording_maps recording_tap relevance samples scenes
        soft_attention torchvision_cpu trace trail weights windows word_relevance word_trace
    """,
    "model.training": "caption_data data finish flickr8k packed published split",
    "viz": """
        bars caption_strip captions colors confusion curves explorer faithful heatmap icon
        learning lettering methods overlay patch_pictures payload row scatter sheet tiles
    """,
    "viz.pages": """
        caption_of captioner_choice export link look picture scene session shelf text view
    """,
}
MODULES = {
    f"{package}.{name}" for package, names in RETIRED_MODULES.items() for name in names.split()
}

# Classes and functions whose word meant two things, or nothing to a newcomer.
NAMES = {
    *("Look", "Reading", "Trail", "WritingNet", "attention_gradcam", "look_at", "note_down"),
    *("as_float", "begin_attention", "begin_positions", "points_at_objects", "why_no_rollout"),
    *("readers", "readout", "recall", "recall_place", "teach", "usual_query", "why_not"),
    *("TaughtRun", "crossings", "draw_captions", "exit_gradients", "mean_over_readers", "twin"),
    *("photo_figures", "scenes_figures", "row_times", "with_part", "without_start"),
}

OURS = ("model", "saccade", "viz", "app")
SOURCES = [
    ROOT / "app.py",
    *(
        path
        for folder in ("model", "saccade", "viz", "tests", "benchmarks", "docs")
        for path in (ROOT / folder).rglob("*.py")
    ),
]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_name_imports(name):
    module, _, own = name.rpartition(".")
    assert hasattr(importlib.import_module(module), own)


def test_the_published_example_runs():
    bundle = zoo.load("photos")
    picture = samples.load("coffee")
    assert bundle.net and bundle.classes and bundle.tokens and bundle.card
    with AttentionRecorder(bundle.net) as recorder:
        logits = bundle.net(bundle.prepare(picture))
    assert logits.shape == (1, len(bundle.classes))
    record = recorder.records[-1]
    assert record.name and record.kind and record.nbytes and len(record.shape) == 4
    assert record.weights(heads=None, queries=None).shape == record.shape
    row = rollout(recorder.records, query=0, fusion="mean", residual=0.5, discard=0.0)
    assert row.shape == (1, record.shape[-1])
    assert row.sum().item() == pytest.approx(1, abs=1e-5)
    assert torch.equal(logits, bundle.net(bundle.prepare(picture)))


def test_one_function_has_one_home():
    """A published path leads to the very function, wherever that lives."""
    from model.recording import recorder as recorders
    from model.recording import rollout as rollouts

    assert importlib.import_module("model.recorder").AttentionRecorder is AttentionRecorder
    assert recorders.AttentionRecorder is AttentionRecorder
    assert rollouts.rollout is rollout
    assert inspect.signature(rollout).parameters.keys() >= {"query", "fusion", "residual"}


def defined(nodes: Iterable[ast.AST]) -> set[str]:
    """The names of the classes and functions among some nodes of a file."""
    kinds = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in nodes if isinstance(node, kinds)}


def imported(tree: ast.AST) -> set[str]:
    """Every name that a file imports, in full, and every module on the way to it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return names


def retired_in(name: str, tree: ast.AST) -> set[str]:
    """List the retired names that a module bears, defines or imports."""
    found = {name} | imported(tree)
    ours = {full.rpartition(".")[2] for full in found if full.startswith(OURS)}
    own = defined(ast.walk(tree)) if name.startswith(OURS) else set()
    return (found & MODULES) | ((ours | own) & NAMES)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_was_given_up_does_not_come_back(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    assert not retired_in(name, ast.parse(path.read_text(encoding="utf-8")))


RETIRED_WORDS = {"said", "told", "usual"}
"""Say given, or default."""

SHARED = {
    "main": "what a command runs",
    "page": "what a page runs",
    "pare": "the same step for each format of pictures",
    "stated_size": "the same step for each format of pictures",
    "load": "published: zoo.load and samples.load",
    "names": "published: zoo.names and samples.names",
    "compare": "published: viz.notebook.compare, and the component that shows it",
    "overlay": "the picture, and the component that shows it",
    "sheet": "the picture, and the component that shows it",
    "rollout": "the map, and the component that shows it",
    "Cost": "a result, and what its page keeps in the session",
    "Scene": "a picture, and what its pages keep in the session",
}
"""Public names that stand in several modules, and why."""


def homes() -> dict[str, set[str]]:
    """The modules of `model` and `viz` that define each class and function at their top."""
    found: dict[str, set[str]] = {}
    for path in SOURCES:
        name = str(path.relative_to(ROOT))
        if name.startswith(("model", "saccade", "viz")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for own in defined(tree.body):
                found.setdefault(own, set()).add(name)
    return found


def test_functions_are_named_in_the_words_of_today():
    assert not [own for own in homes() if set(own.lower().split("_")) & RETIRED_WORDS]


def test_a_public_name_stands_for_one_thing():
    shared = {own: places for own, places in homes().items() if len(places) > 1 and own[0] != "_"}
    assert not shared.keys() - SHARED.keys(), shared
    assert not SHARED.keys() - shared.keys(), "stands for one thing by now: take it off the list"


@pytest.mark.parametrize(
    ("name", "code", "retired"),
    [
        ("model.look", "", {"model.look"}),
        ("app", "from model import look", {"model.look"}),
        ("app", "import model.look", {"model.look"}),
        ("app", "from model.look import anything", {"model.look"}),
        ("app", "from model.recording import Trail", {"Trail"}),
        ("tests.test_look", "def readout(page): ...", set()),
        ("app", "class Outer:\n    def recall(self): ...", {"recall"}),
        ("app", "from model.rollout import rollout", set()),
    ],
)
def test_a_retired_name_is_found(name, code, retired):
    assert retired_in(name, ast.parse(code)) == retired

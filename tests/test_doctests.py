"""The examples in docstrings run, and print what they say."""

import doctest
from importlib import import_module

import pytest

MODULES = [
    "model",
    "model.analysis.cost",
    "model.analysis.head_measures",
    "model.analysis.position_codes",
    "model.attribution.block_exits",
    "model.attribution.metrics.agreement",
    "model.attribution.metrics.faithfulness",
    "model.attribution.need",
    "model.attribution.registry",
    "model.attribution.trace",
    "model.attribution.word_trace",
    "model.bundle",
    "model.captioning.caption",
    "model.captioning.course_captioner",
    "model.card",
    "model.datasets.captions",
    "model.datasets.samples",
    "model.datasets.scenes",
    "model.datasets.split",
    "model.features",
    "model.features.class_lens",
    "model.features.components",
    "model.features.cosine",
    "model.features.groups",
    "model.features.head_pairs",
    "model.features.map_distance",
    "model.features.object_mask",
    "model.features.patch_vectors",
    "model.features.token_length",
    "model.home",
    "model.image_layers",
    "model.images.opening",
    "model.intervention.activations",
    "model.intervention.answers",
    "model.intervention.block_chain",
    "model.intervention.context",
    "model.intervention.controls",
    "model.intervention.graph_reader",
    "model.intervention.head_steps",
    "model.intervention.pictures",
    "model.intervention.scans",
    "model.intervention.structure",
    "model.nets.attention",
    "model.nets.fixed_seed",
    "model.nets.patch_embedding",
    "model.nets.vit",
    "model.preprocessing",
    "model.recorded_image",
    "model.recording.record",
    "model.recording.recorder",
    "model.recording.rollout",
    "model.recording.windows",
    "model.snapshots",
    "model.survey.exact_sums",
    "model.survey.head_survey",
    "model.survey.rankings",
    "model.tokens",
    "model.training.recipe",
    "model.zoo.catalogue",
    "model.zoo.checkpoints",
    "model.zoo.networks_in_file",
    "model.zoo.uploads",
    "saccade",
    "viz.notebook",
    "viz.notebook.showing",
    "viz.pages.shared.figures",
    "viz.pages.what_if_experiment",
    "viz.pages.what_if_words",
    "viz.server.budget",
    "viz.server.class_mode",
    "viz.server.headers",
    "viz.server.queue",
    "viz.server.results",
    "viz.server.script_gate",
    "viz.standalone",
]
"""Modules with examples, in alphabetical order."""


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name):
    found = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0, f"{name} has no example: take it off the list, or write one"
    assert found.failed == 0


def test_the_list_is_in_order():
    assert sorted(set(MODULES)) == MODULES

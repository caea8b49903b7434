"""A clip's maps are those of its frames, one by one."""

import numpy as np
import pytest

from model import zoo
from model.datasets import samples
from model.recorded_image import record_image
from model.recording.rollout import rollout
from model.video.pan import pan
from model.video.recording import record_clip, spread_of_map


def test_each_frame_has_the_maps_of_the_picture_by_itself():
    bundle = zoo.load("cs231n-cifar10")
    clip = pan([samples.load("chelsea"), samples.load("coffee")], frames=3, side=64)
    frames = list(record_clip(bundle, clip, query=5))
    assert len(frames) == 3
    for image, frame in zip(clip.frames, frames, strict=True):
        recorded = record_image(bundle, image)
        maps = recorded.maps(0, 5)
        assert np.array_equal(np.stack(frame.maps), maps)
        assert np.allclose(frame.map_of(2, "max"), maps[2].max(0))
        assert np.allclose(frame.rollout.ravel(), rollout(recorded.records, query=5)[0])
        assert frame.answer.argmax() == bundle.classes.index(recorded.guesses[0][0])
    assert np.array_equal(frames[1].halved().maps[3], frames[1].maps[3].astype(np.float16))


def test_the_spread_of_a_map_lies_between_one_patch_and_all():
    assert spread_of_map(np.eye(4)[:1]) == 0
    assert spread_of_map(np.full((4, 4), 0.03)) == pytest.approx(np.log(16))

"""The Positions page on small models of timm and transformers, built here with random weights."""

from pathlib import Path
from uuid import uuid4

import pytest
import torch
from streamlit.testing.v1 import AppTest

from model import zoo
from model.bundle import Bundle
from model.nets import torchvision_cpu
from model.preprocessing import Resize
from model.tokens import TokenLayout
from model.zoo.hubs.hugging_face_classifier import HubClassifier
from tests.viz.export.test_programs import run_again
from tests.viz.pages.shown import notes
from viz.pages.shared import open_models, saving

torchvision_cpu.ensure_operators()
timm = pytest.importorskip("timm", reason="timm is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

pytestmark = pytest.mark.hubs
APP = str(Path(__file__).parents[3] / "viz/pages/navigation.py")
DINO = {"patch_size": 14, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def open_tab(tab: str, net: torch.nn.Module, tokens: TokenLayout, **words: str) -> AppTest:
    """The tab, on a model that this server has open."""
    half = (0.5,) * 3
    name = f"hf/made-up/{uuid4().hex}"
    resize = Resize(tokens.image_size)
    open_models._shelf[name] = Bundle(name, net.eval(), tokens, half, half, resize)
    app = AppTest.from_file(APP, default_timeout=120)
    app.query_params.update({"tab": tab, "model": name, **words})
    app.switch_page("positions.py").run()
    assert not app.exception
    assert app.session_state["model"] == name
    return app


def texts(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.info, *app.warning]
    return " ".join([*(part.value for part in parts), *notes(app)])


def dinov2() -> tuple[torch.nn.Module, TokenLayout]:
    torch.manual_seed(0)
    net = transformers.Dinov2Model(transformers.Dinov2Config(image_size=56, **DINO))
    return HubClassifier(net, True, {}), TokenLayout((2, 2), ("cls",), (14, 14))


def eva() -> tuple[torch.nn.Module, TokenLayout]:
    """A model that both adds a table and turns its queries and keys."""
    torch.manual_seed(0)
    net = timm.models.eva.Eva(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=3,
        use_rot_pos_emb=True,
    )  # fmt: skip
    for parameter in net.parameters():
        if parameter.ndim > 1:  # random weights of the usual size hardly look at their input
            torch.nn.init.normal_(parameter, std=0.3)
    return net, TokenLayout((4, 4), ("cls",), (8, 8))


def test_a_table_of_another_grid_is_shown_and_said_to_be_stretched():
    app = open_tab("This model's code", *dinov2())
    assert "keeps codes for 4 × 4 patches" in texts(app)
    assert "no position code" not in texts(app)


@pytest.mark.parametrize("way", ["Take the code away", "Shift the code"])
def test_a_table_of_another_grid_can_be_taken_away_and_shifted(way):
    app = open_tab("Does order matter?", *dinov2(), way=way)
    with_it, without = (metric.value for metric in app.metric)
    assert without == "below 0.0001" and float(with_it) > 1e-4


def test_what_is_left_without_the_added_code_is_said():
    app = open_tab("Does order matter?", *eva())
    assert "turns its queries and keys by their place" in texts(app)
    assert "the same for every order" not in texts(app)
    assert float(app.metric[1].value) > 1e-3


def test_the_angles_of_dinov3_are_its_own_and_are_saved(monkeypatch):
    torch.manual_seed(0)
    config = transformers.DINOv3ViTConfig(image_size=56, num_register_tokens=0, **DINO)
    net = HubClassifier(transformers.DINOv3ViTModel(config), True, {})
    app = open_tab("Rotation", net, TokenLayout((4, 4), ("cls",), (14, 14)))
    assert "The angles are this model's own" in texts(app)
    kept = []
    monkeypatch.setattr(saving, "_show_saved", kept.append)
    app.button(key="save").click().run()
    monkeypatch.setattr(zoo, "load", open_models._shelf.__getitem__)
    *_, score, angles = kept.pop().exports
    assert run_again(score)["maps"].shape == (1, 4, 4)
    assert run_again(angles)["values"].shape[0] == 16
    assert "find_position_code" in angles.program and "Base" not in angles.account.facts

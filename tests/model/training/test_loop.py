import dataclasses
import json
import math
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from model.captioning.base import CaptionerConfig
from model.captioning.build import build_captioner as build_captioner
from model.datasets.pictures import Split
from model.errors import TrainingError
from model.nets.vit import build
from model.preprocessing import normalise, resize_batch
from model.training import classification, distillation, loop, optimisers, recipe
from model.training.recipe import Augment, Data, Optimiser, Recipe, Schedule

TINY = {
    "img_size": 8,
    "patch_size": 4,
    "num_classes": 2,
    "dim": 16,
    "depth": 1,
    "heads": 2,
    "mlp_dim": 16,
    "embed": "stem",
    "stem": (4, 8),
    "dropout": 0.1,
}
RECIPE = Recipe(
    name="tiny",
    title="Tiny",
    data=Data("none", "none", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    model={"preset": "vit", **TINY},
    epochs=4,
    batch=8,
    optimiser=Optimiser("adamw", lr=1e-2, weight_decay=0.05, clip=1.0),
    schedule=Schedule("cosine", warmup=0.1),
    augment=Augment(crop=1, flip=True, colour=0.1, erase=0.2, mixup=0.2, cutmix=0.5),
    label_smoothing=0.1,
    ema=0.9,
)


def data(count: int = 44, seed: int = 1) -> Split:
    """Dark pictures and bright ones."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=random)
    noise = torch.randint(0, 128, (count, 3, 8, 8), generator=random)
    return Split((noise + 127 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels, ("a", "b"))


def run(r=RECIPE, state=None, resume=False):
    torch.manual_seed(r.seed)
    net = build("vit", **{k: v for k, v in r.model.items() if k != "preset"})
    begun = classification.ClassifierRun(net, data(), data(20, 2), r, "cpu")
    return loop.train(begun, state, resume)


def test_a_run_says_what_is_learned_and_what_is_measured():
    class Incomplete(loop.TrainingRun):
        def measure(self):
            return {}

    net = build("vit", **TINY)
    with pytest.raises(TypeError, match="learn_epoch"):
        Incomplete(net, data(), data(20, 2), RECIPE, "cpu", net.config)


def test_a_run_of_another_kind_needs_no_more_than_its_contract(tmp_path):
    class Shrinking(loop.TrainingRun):
        """Learns that all weights are small."""

        def learn_epoch(self):
            for _ in range(self.steps):
                loss = sum(p.square().mean() for p in self.net.parameters())
                self.take_step(loss)
            return loop.EpochResult(loss.item(), 1.0, len(self.data))

        def measure(self):
            return {"test_accuracy": 0.5}

    def begin(epochs: int) -> loop.TrainingRun:
        torch.manual_seed(0)
        net = build("vit", **TINY)
        recipe = dataclasses.replace(RECIPE, epochs=epochs)
        return Shrinking(net, data(), data(20, 2), recipe, "cpu", net.config)

    whole, curve = loop.train(begin(2))
    loop.train(begin(1), tmp_path / "state")
    resumed, rows = loop.train(begin(2), tmp_path / "state", resume=True)
    assert [row["loss"] for row in curve] == pytest.approx([row["loss"] for row in rows], rel=0.1)
    assert curve[1]["loss"] < curve[0]["loss"] and curve[1]["test_accuracy"] == 0.5
    assert set(whole.state_dict()) == set(resumed.state_dict())


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    a, b = a.state_dict(), b.state_dict()
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("step", [3, 5, 12, 19])  # five steps an epoch, 20 in all
def test_killed_and_resumed_ends_as_if_never_killed(tmp_path, monkeypatch, step):
    whole, curve = run()
    state = tmp_path / "state.pt"

    steps, plain = 0, loop.TrainingRun.take_step

    def step_until_killed(self, loss):
        nonlocal steps
        if steps == step:
            raise Killed
        steps += 1
        plain(self, loss)

    with monkeypatch.context() as patch:
        patch.setattr(loop.TrainingRun, "take_step", step_until_killed)
        with pytest.raises(Killed):
            run(state=state)
    assert state.exists() == (step >= 5)  # at most one epoch is lost

    resumed, resumed_curve = run(state=state, resume=True)
    assert same(whole, resumed)
    timeless = [{k: v for k, v in row.items() if "second" not in k} for row in curve]
    assert timeless == [
        {k: v for k, v in row.items() if "second" not in k} for row in resumed_curve
    ]


def test_a_resumed_run_may_change_its_length(tmp_path):
    state = tmp_path / "state.pt"
    short = dataclasses.replace(RECIPE, epochs=2)
    run(dataclasses.replace(RECIPE, epochs=1), state)
    _, curve = run(short, state, resume=True)
    assert [row["epochs"] for row in curve] == [1, 2]
    assert curve[-1]["lr"] == 0
    with pytest.raises(TrainingError, match="not below those done"):
        run(dataclasses.replace(RECIPE, epochs=1), state, resume=True)


def test_a_state_from_before_a_recipe_could_say_more_is_gone_on_with(tmp_path):
    state = tmp_path / "state.pt"
    run(dataclasses.replace(RECIPE, epochs=1), state)
    saved = torch.load(state, weights_only=True)
    begun = json.loads(saved["recipe"])
    del begun["bfloat16"], begun["augment"]["plain"]
    torch.save(saved | {"recipe": json.dumps(begun)}, state)
    _, curve = run(dataclasses.replace(RECIPE, epochs=2), state, resume=True)
    assert len(curve) == 2
    last = dataclasses.replace(RECIPE.augment, plain=0.5)
    plain = dataclasses.replace(RECIPE, epochs=3, augment=last)
    with pytest.raises(TrainingError, match="begun with another recipe"):
        run(plain, state, resume=True)


def test_killed_while_saving_leaves_the_state_before(tmp_path):
    file = tmp_path / "state"
    loop.replace_file(file, lambda unfinished: unfinished.write_bytes(b"whole"))

    def half(unfinished):
        unfinished.write_bytes(b"ha")
        raise Killed

    with pytest.raises(Killed):
        loop.replace_file(file, half)
    assert file.read_bytes() == b"whole"


def test_the_seed_decides():
    first, _ = run()
    again, _ = run()
    other, _ = run(dataclasses.replace(RECIPE, seed=1))
    assert same(first, again)
    assert not same(first, other)


def test_it_learns_and_the_curve_says_so():
    r = dataclasses.replace(RECIPE, epochs=8, augment=Augment(), test_every=4)
    net, curve = run(r)
    assert curve[-1]["test_accuracy"] >= 0.9
    assert [("test_accuracy" in row) for row in curve] == [False] * 3 + [True] + [False] * 3 + [
        True
    ]
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert not net.training


def test_a_state_of_another_recipe_or_other_data_or_damaged_is_refused(tmp_path, monkeypatch):
    state = tmp_path / "state.pt"
    run(dataclasses.replace(RECIPE, epochs=1), state)
    with pytest.raises(TrainingError, match="another recipe"):
        run(dataclasses.replace(RECIPE, batch=4), state, resume=True)
    with monkeypatch.context() as patch:
        fewer = data().first(30)
        patch.setitem(globals(), "data", lambda *of: fewer)
        with pytest.raises(TrainingError, match="with 44 training pictures, these are 30"):
            run(state=state, resume=True)
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(TrainingError, match="cannot be read"):
        run(state=state, resume=True)


def test_a_loss_that_explodes_is_a_sentence():
    wild = dataclasses.replace(RECIPE, optimiser=Optimiser("sgd", lr=1e30))
    with pytest.raises(TrainingError, match="Lower the learning rate"):
        run(wild)


def test_schedule_warms_up_and_ends_at_zero():
    factor = optimisers.make_schedule(Schedule("cosine", warmup=0.1), 100)
    values = [factor(step) for step in range(101)]
    assert values[:10] == sorted(values[:10])
    assert values[10] == 1
    assert values[10:] == sorted(values[10:], reverse=True)
    assert values[100] == 0
    assert math.isclose(values[55], 0.5)
    assert optimisers.make_schedule(Schedule("constant"), 100)(99) == 1


def test_with_more_epochs_the_rate_is_at_once_that_of_the_longer_plan(tmp_path):
    state = tmp_path / "state.pt"
    run(dataclasses.replace(RECIPE, epochs=2), state)
    longer = dataclasses.replace(RECIPE, epochs=4)
    net = build("vit", **{k: v for k, v in RECIPE.model.items() if k != "preset"})
    resumed = classification.ClassifierRun(net, data(), data(20, 2), longer, "cpu")
    resumed.restore(state)
    factor = optimisers.make_schedule(longer.schedule, 4 * resumed.steps)(2 * resumed.steps)
    rates = {group["lr"] for group in resumed.optimiser.param_groups}
    assert rates == {RECIPE.optimiser.lr * factor} and factor > 0.3


def test_bfloat16_computes_in_it_and_learns_the_same():
    seen = set()

    def watch(module, inputs, output):
        seen.add(output.dtype)

    losses = {}
    for half in (False, True):
        r = dataclasses.replace(RECIPE, bfloat16=half, epochs=2)
        torch.manual_seed(0)
        net = build("vit", **{k: v for k, v in r.model.items() if k != "preset"})
        net.head.register_forward_hook(watch)
        trained, curve = loop.train(classification.ClassifierRun(net, data(), data(20, 2), r))
        losses[half] = [row["loss"] for row in curve]
        assert all(p.dtype == torch.float32 for p in trained.parameters())
    assert seen == {torch.float32, torch.bfloat16}
    assert losses[True] == pytest.approx(losses[False], rel=0.05)


def test_the_average_follows_the_formula():
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    averaged = optimisers.Average(net, 0.6)
    expected = None
    for n in range(8):
        net(torch.randn(4, 3))  # moves the statistics of BatchNorm
        with torch.no_grad():
            net[0].weight.normal_()
        averaged.update_parameters(net)
        values = torch.cat((net[0].weight.flatten(), net[1].running_mean)).detach().double()
        decay = min(0.6, (1 + n) / (10 + n))
        expected = values if n == 0 else decay * expected + (1 - decay) * values
    got = averaged.module
    got = torch.cat((got[0].weight.flatten(), got[1].running_mean)).double()
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=0)
    assert averaged.module[1].num_batches_tracked == 8


def test_decay_spares_biases_norms_and_tokens():
    net = build("vit", **TINY)
    decayed, rest = optimisers.make_optimiser(net, Optimiser(weight_decay=0.1)).param_groups
    assert (decayed["weight_decay"], rest["weight_decay"]) == (0.1, 0)
    spared = {id(p) for p in rest["params"]}
    for name, parameter in net.named_parameters():
        keeps = name.endswith("bias") or "norm" in name or name.startswith(("cls", "positions"))
        assert (id(parameter) in spared) == (keeps or parameter.ndim == 1), name
    captioner = build_captioner(CaptionerConfig(TINY | {"num_classes": 0}))
    decayed, rest = optimisers.make_optimiser(captioner, Optimiser(weight_decay=0.1)).param_groups
    spared = {id(p) for p in rest["params"]}
    assert id(captioner.encoder.cls_token) in spared
    assert id(captioner.encoder.positions.code) in spared
    reference = recipe.load_recipe("cs231n-cifar10").optimiser
    assert len(optimisers.make_optimiser(net, reference).param_groups) == 1


def test_grey_small_pictures_become_what_the_net_wants():
    net = build("vit", **TINY)
    grey = torch.full((1, 1, 4, 4), 51, dtype=torch.uint8)
    images = resize_batch(grey, net.config)
    torch.testing.assert_close(images, torch.full((1, 3, 8, 8), 0.2))


def test_data_that_does_not_fit_is_a_sentence():
    config = build("vit", **{**TINY, "num_classes": 5}).config
    with pytest.raises(TrainingError, match=r"--set model\.num_classes=2"):
        classification.check_data(config, data(), RECIPE)


def test_the_last_epochs_see_pictures_as_they_are():
    recipe = dataclasses.replace(RECIPE, augment=dataclasses.replace(RECIPE.augment, plain=0.25))
    net = build("vit", **TINY)
    pictures = data()
    begun = classification.ClassifierRun(net, pictures, data(20, 2), recipe, "cpu")
    shown = normalise(pictures.images.float() / 255, recipe.data.mean, recipe.data.std)
    windows = [
        F.pad(side, [1] * 4, mode="reflect").unfold(2, 8, 1).unfold(3, 8, 1).flatten(2, 3)
        for side in (shown, shown.flip(-1))
    ]
    all_shifts = torch.cat(windows, 2).transpose(1, 2)  # (44, 18, 3, 8, 8)
    for begun.epoch in range(recipe.epochs):
        images, targets = begun.vary(pictures.images, pictures.labels)
        as_they_are = (all_shifts - images[:, None]).abs().amax((2, 3, 4)).amin(1) < 1e-5
        if begun.epoch == 3:
            assert as_they_are.all() and torch.equal(targets, pictures.labels)
        else:
            assert not as_they_are.all() and targets.shape == (44, 2)


def test_the_targets_are_the_mean_of_what_the_teachers_answer():
    r = dataclasses.replace(RECIPE, augment=Augment(flip=True))
    teachers = [build("vit", **TINY).train() for _ in range(2)]
    net, pictures = build("vit", **TINY), data()
    begun = distillation.DistillationRun(net, pictures, data(20, 2), r, "cpu", teachers)
    images, targets = begun.vary(pictures.images, pictures.labels)
    with torch.no_grad():
        first, second = (teacher.eval()(images).double().softmax(1) for teacher in teachers)
    torch.testing.assert_close(targets.double(), (first + second) / 2, atol=1e-6, rtol=0)
    torch.testing.assert_close(targets.sum(1), torch.ones(44))


def test_a_taught_net_comes_to_answer_as_its_teacher():
    """The labels are of no use: every picture has the same."""
    pictures = dataclasses.replace(data(), labels=torch.zeros(44, dtype=torch.int64))
    teacher, _ = run()
    r = dataclasses.replace(RECIPE, epochs=12, label_smoothing=0.0, augment=Augment())
    torch.manual_seed(3)
    parts = (build("vit", **TINY), pictures, data(20, 2), r, "cpu")
    taught, _ = loop.train(distillation.DistillationRun(*parts, [teacher]))
    shown = normalise(data(40, 5).images.float() / 255, r.data.mean, r.data.std)
    with torch.no_grad():
        agree = (taught(shown).argmax(1) == teacher(shown).argmax(1)).float().mean()
    assert agree > 0.8 and 0 < teacher(shown).argmax(1).float().mean() < 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")
def test_a_gpu_learns_the_same(tmp_path):
    """From labels and from a teacher, a state in between; the net comes back to the CPU."""
    teacher, _ = run()
    taught = partial(distillation.DistillationRun, teachers=[teacher])
    for kind in (classification.ClassifierRun, taught):
        nets = []
        for epochs in (4, 8):
            torch.manual_seed(0)
            recipe = dataclasses.replace(RECIPE, epochs=epochs)
            parts = (build("vit", **TINY), data(), data(20, 2), recipe, "cuda")
            net, curve = loop.train(kind(*parts), tmp_path / "state", epochs == 8)
            nets.append(net)
            assert next(net.parameters()).device.type == "cpu"
        assert len(curve) == 8 and curve[-1]["test_accuracy"] > 0.8
        assert not same(*nets)
        (tmp_path / "state").unlink()

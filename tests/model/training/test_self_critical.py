import dataclasses
from collections import Counter

import pytest
import torch

from model.datasets.captions import CaptionedPhotos, DrawnScenes
from model.datasets.vocabulary import END, PAD, SPECIAL, START, UNKNOWN
from model.errors import RecipeError, TrainingError
from model.nets import vit
from model.training import caption_runs, captioning, recipe, self_critical
from model.zoo import checkpoints

TEXTS = {0: "a dark picture of the night", 255: "a bright picture of the day"}
ENCODER = {"img_size": 8, "patch_size": 4, "dim": 16, "depth": 1, "heads": 2, "mlp_dim": 16}
DECODER = {"dim": 16, "layers": 1, "heads": 2, "mlp_dim": 16, "dropout": 0.0, "max_words": 8}


def photos(count: int = 8) -> CaptionedPhotos:
    """Dark ones and bright ones, each with five captions, two of them alike."""
    light = [255 * (i % 2) for i in range(count)]
    images = torch.tensor(light, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8)
    others = ("a photo", "it is a picture", "the picture")
    return CaptionedPhotos(images.contiguous(), [[TEXTS[v], TEXTS[v], *others] for v in light])


def recipe_of(**changes) -> recipe.CaptionRecipe:
    table = {
        "name": "rewarded",
        "title": "Rewarded",
        "data": recipe.Data("none", "none", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        "encoder": ENCODER,
        "decoder": DECODER,
        "epochs": 3,
        "batch": 4,
        "drawn": 4,
        "start": "words",
        "ema": 0.5,
        "optimiser": recipe.Optimiser("adamw", lr=1e-2),
    }
    return recipe.CaptionRecipe(**(table | changes))


@pytest.fixture
def folder(tmp_path):
    """Where the captioner lies that has not learnt much yet."""
    torch.manual_seed(0)
    words = recipe_of(drawn=0, start="")
    net = captioning.build_for_recipe(words, photos(), tmp_path)
    checkpoints.save_checkpoint(
        net, tmp_path / "words.safetensors", captioning.captioner_card(net, "words", words, [], "")
    )
    return tmp_path


def run(folder, r=None, state=None, resume=False):
    r = r or recipe_of()
    torch.manual_seed(1)
    net = captioning.build_for_recipe(r, photos(), folder)
    return caption_runs.train_captioner(net, photos(), photos(4), r, "cpu", state, resume)


def test_captions_come_nearer_to_what_people_wrote(folder):
    start, _ = checkpoints.load_checkpoint(folder / "words.safetensors")
    net, curve = run(folder, recipe_of(epochs=40))
    assert curve[-1]["reward"] > 3 * curve[0]["reward"] > 0
    for name, value in net.encoder.state_dict().items():
        assert torch.equal(value, start.encoder.state_dict()[name])


def test_killed_and_resumed_ends_as_if_never_killed(folder, tmp_path, monkeypatch):
    whole, curve = run(folder, state=tmp_path / "a")
    learn, steps = self_critical.SelfCriticalRun.learn_batch, []

    def learn_until_killed(self, chosen):
        steps.append(1)
        if len(steps) == 4:
            raise KeyboardInterrupt
        return learn(self, chosen)

    with monkeypatch.context() as patch:
        patch.setattr(self_critical.SelfCriticalRun, "learn_batch", learn_until_killed)
        with pytest.raises(KeyboardInterrupt):
            run(folder, state=tmp_path / "b")
    again, resumed = run(folder, state=tmp_path / "b", resume=True)
    assert [row["reward"] for row in curve] == [row["reward"] for row in resumed]
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_caption_is_compared_with_the_others_of_its_photo():
    worth = torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0])
    expected = [1 - 4, 2 - 3.5, 6 - 1.5, 0 - 1.5, 0 - 1.5, 3 - 0]
    assert torch.allclose(self_critical.compute_advantages(worth, 3), torch.tensor(expected))


def test_the_step_is_that_of_the_likelihood_of_each_caption(folder):
    """Against REINFORCE's formula, a caption at a time."""
    r = recipe_of()
    net = captioning.build_for_recipe(r, photos(), folder).double()
    run = self_critical.SelfCriticalRun(net.float(), photos(), photos(), r, "cpu")
    net.double().eval()
    captions, worth = [(5, 6, END), (4, END), (7, 5, 6, 4, END)], torch.tensor([1.0, -0.5, 2.0])
    memory = torch.randn(1, 4, 16, dtype=torch.float64)
    rows = torch.zeros(3, dtype=torch.long)
    run.reward_loss(net.begin(memory).select(rows), captions, worth.double()).backward()
    found = net.head.weight.grad.clone()
    net.zero_grad()
    total = 0.0
    for caption, value in zip(captions, worth, strict=True):
        logits = net.teacher_force(memory, torch.tensor([[START, *caption[:-1]]]))[0]
        allowed = [i for i in range(logits.shape[1]) if i not in (PAD, START, UNKNOWN)]
        likely = logits[:, allowed].log_softmax(-1)
        total = total - value * sum(
            likely[i, allowed.index(word)] for i, word in enumerate(caption)
        )
    (total / sum(map(len, captions))).backward()
    torch.testing.assert_close(found, net.head.weight.grad)


def test_words_are_drawn_as_often_as_they_are_likely(folder):
    net, _ = checkpoints.load_checkpoint(folder / "words.safetensors")
    memory = torch.randn(2, 4, 16)
    torch.manual_seed(3)
    drawn = self_critical.sample_captions(net, memory, torch.ones(4000, dtype=torch.long), 8)
    assert all(1 <= len(c) <= 9 and not {PAD, START, UNKNOWN} & set(c) for c in drawn)
    assert all(END not in caption[:-1] for caption in drawn)
    logits = net.teacher_force(memory[1:], torch.tensor([[START]]))[0, 0].detach()
    logits[[PAD, START, UNKNOWN]] = -torch.inf
    counts = Counter(caption[0] for caption in drawn)
    for word, share in enumerate(logits.softmax(-1).tolist()):
        assert counts[word] / 4000 == pytest.approx(share, abs=0.04)


def test_what_cannot_be_gone_on_from_is_a_sentence(folder, tmp_path):
    with pytest.raises(RecipeError, match="train words first"):
        captioning.build_for_recipe(recipe_of(), photos(), tmp_path / "elsewhere")
    wider = recipe_of(decoder=DECODER | {"dim": 32})
    with pytest.raises(RecipeError, match="not the captioner"):
        captioning.build_for_recipe(wider, photos(), folder)
    net = vit.build("vit", **ENCODER, num_classes=2)
    card = {"task": "classify", "config": dataclasses.asdict(net.config)}
    checkpoints.save_checkpoint(net, folder / "words.safetensors", card)
    with pytest.raises(RecipeError, match="not the captioner"):
        captioning.build_for_recipe(recipe_of(), photos(), folder)
    with pytest.raises(RecipeError, match="at least 2"):
        recipe.load_recipe("flickr8k-captioner", ["drawn=1"])


def test_the_end_counts_as_a_word():
    cider = self_critical.make_reward(photos(), (*SPECIAL, *photos().words()))
    number = {word: i + len(SPECIAL) for i, word in enumerate(photos().words())}
    whole = [number[word] for word in TEXTS[0].split()]
    assert cider.score(0, (*whole, END)) > cider.score(0, whole)


def test_captions_are_compared_with_what_people_wrote_of_photos(folder):
    net = captioning.build_for_recipe(recipe_of(), photos(), folder)
    scenes = DrawnScenes(4)
    with pytest.raises(TrainingError, match="needs captioned photos"):
        caption_runs.make_caption_run(net, scenes, scenes, recipe_of())

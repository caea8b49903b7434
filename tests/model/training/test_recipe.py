import pytest
import torch

from model.datasets.split import Split
from model.errors import RecipeError
from model.nets.vit import build
from model.training import classification, loop, recipe


@pytest.mark.parametrize("name", recipe.recipe_names("classify"))
def test_shipped_recipes_make_a_model(name):
    r = recipe.load_recipe(name)
    net = build(r.model["preset"], **{k: v for k, v in r.model.items() if k != "preset"})
    assert r.name == name
    assert len(r.data.mean) == len(r.data.std) == net.config.in_channels
    assert r.weak_at
    assert r.data.licence


@pytest.mark.parametrize("name", recipe.recipe_names("classify"))
def test_shipped_recipes_take_a_step(name):
    r = recipe.load_recipe(name, ["epochs=1", "batch=2"])
    torch.manual_seed(0)
    net = build(r.model["preset"], **{k: v for k, v in r.model.items() if k != "preset"})
    classes = tuple(map(str, range(net.config.num_classes)))
    images = torch.randint(0, 256, (2, 3, *net.tokens.image_size), dtype=torch.uint8)
    noise = Split(images, torch.tensor([0, 1]), classes)
    classification.check_data(net.config, noise, r)
    before = net.head.weight.clone()
    trained, curve = loop.train(classification.ClassifierRun(net, noise, noise, r))
    assert len(curve) == 1
    assert not torch.equal(trained.head.weight, before)


def test_the_reference_is_the_assignments():
    r = recipe.load_recipe("cs231n-cifar10")
    assert (r.optimiser.name, r.optimiser.lr, r.optimiser.weight_decay) == ("adam", 6e-4, 1e-4)
    assert (r.epochs, r.batch, r.model) == (2, 64, {"preset": "cs231n"})


def test_changes_are_toml_values():
    r = recipe.load_recipe(
        "cifar10", ["epochs=3", "optimiser.lr=1e-2", "augment.flip=false", "schedule.name=constant"]
    )
    assert (r.epochs, r.optimiser.lr, r.augment.flip) == (3, 0.01, False)
    assert r.schedule.name == "constant"


def test_a_recipe_from_a_file(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'title = "Mine"\nepochs = 1\nbatch = 2\n[model]\npreset = "vit"\n'
        '[data]\nname = "x"\nlicence = "y"\nmean = [0.5]\nstd = [0.5]\n'
    )
    assert recipe.load_recipe(str(file)).name == "mine"


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("nothing", [], r'no recipe "nothing".*cifar10'),
        ("cifar10", ["epoch=3"], "has epoch, which is unknown"),
        ("cifar10", ["optimiser.rate=3"], r"\[optimiser\].*has rate, which is unknown"),
        ("cifar10", ["optimiser.name=lion"], "Known: adam, adamw, muon, sgd"),
        ("cifar10", ["epochs"], "--set optimiser.lr="),
        ("cifar10", ["epochs.more=1"], "--set optimiser.lr="),
        ("cifar10", ["augment=1"], "should be a table"),
        ("cifar10", ["epochs=0"], "at least 1"),
        ("cifar10", ["epochs=abc"], "epochs = 'abc'; it should be a whole number"),
        ("cifar10", ["batch=64.0"], "should be a whole number"),
        ("cifar10", ["optimiser.lr=.001"], "lr = '.001'; it should be a number"),
        ("cifar10", ["augment.flip=False"], "flip = 'False'; it should be true or false"),
        ("cifar10", ["optimiser.betas=0.9"], r"a list such as \[0\.9"),
        ("cifar10", ["model=1"], "should be a table"),
        ("scenes-captioner", ["decoder=1"], "should be a table"),
    ],
)
def test_mistakes_are_sentences(name, changes, says):
    with pytest.raises(RecipeError, match=says):
        recipe.load_recipe(name, changes)


def test_a_file_that_is_no_recipe(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text("title = ")
    with pytest.raises(RecipeError, match="not valid TOML"):
        recipe.load_recipe(str(file))
    file.write_text('title = "x"')
    with pytest.raises(RecipeError, match="lacks data"):
        recipe.load_recipe(str(file))

"""The command: `python -m model.training RECIPE --data DIR --out FILE [--resume]`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import DataError, TrainingError
from model.evaluate.arguments import count, device
from model.training import recipe as recipes
from model.training.run_files import RunFiles

if TYPE_CHECKING:
    from model.card import Card


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return _pack(arguments[1:]) if arguments[:1] == ["pack"] else _train(arguments)
    except (ValueError, OSError) as error:  # DataError, RecipeError, TrainingError, ...
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        training = arguments[:1] != ["pack"]
        again = "Give the same command with --resume to go on." if training else "Pack it again."
        print(f"Stopped. {again}", file=sys.stderr)
        return 130


def _train(arguments: list[str]) -> int:
    options = _train_parser().parse_args(arguments)
    recipe = recipes.load_recipe(options.recipe, options.set)
    files = RunFiles(options.out.with_suffix(".safetensors"))

    import torch

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    with files.held(options.resume):
        torch.manual_seed(recipe.seed)
        torch.backends.cudnn.deterministic = True
        if isinstance(recipe, recipes.CaptionRecipe):
            card = _train_captioner(options, recipe, device, files)
        else:
            card = _train_classifier(options, recipe, device, files)
        files.state.unlink(missing_ok=True)
    summary = {"name": card.name, "epochs": card.epochs, "parameters": card.parameters}
    print(json.dumps(summary | card.metrics | {"file": str(files.out)}))
    return 0


def _train_classifier(
    options: argparse.Namespace, recipe: recipes.Recipe, device: str, files: RunFiles
) -> Card:
    from model import snapshots
    from model.datasets import pictures
    from model.nets.vit import build
    from model.training import ancestors, classification, distillation, loop, shipping

    folder = files.out.parent
    if files.out.stem in ancestors.ancestor_names(recipe):
        raise TrainingError(
            f"The recipe {recipe.name} needs {files.out.name} itself, so it cannot write there. "
            "Give another --out in the same folder."
        )
    overrides = {key: value for key, value in recipe.model.items() if key != "preset"}
    net = build(recipe.model["preset"], **overrides)
    ancestors.load_start(net, recipe, folder)
    side = min(net.tokens.image_size)
    if options.data is None:
        raise DataError("Give the data set's folder with --data.")
    train = pictures.read_split(options.data, "train", side, options.limit)
    test = pictures.read_split(options.data, "test", side, options.limit)
    test = test.with_classes(train.classes)
    classification.check_data(net.config, train, recipe)
    run: classification.ClassifierRun
    if recipe.teachers:
        teachers = distillation.load_teachers(net, recipe, train.classes, folder)
        run = distillation.DistillationRun(net, train, test, recipe, device, teachers)
    else:
        run = classification.ClassifierRun(net, train, test, recipe, device)
    recorder = None
    if options.snapshots:
        moments = snapshots.course_moments(recipe.epochs)
        file = snapshots.snapshots_file(files.out)
        recorder = snapshots.SnapshotRecorder(run.shown, file, moments)
    trained, curve = loop.train(run, files.state, options.resume, files.log, recorder)
    command = _command(options, files.out)
    card = shipping.ship_classifier(trained, files.out, recipe, train, test, curve, command, device)
    if recorder is not None:
        recorder.finish(card)
    return card


def _train_captioner(
    options: argparse.Namespace, recipe: recipes.CaptionRecipe, device: str, files: RunFiles
) -> Card:
    from model.training import caption_runs, captioning

    if options.snapshots:
        raise TrainingError("Snapshots are kept of classifiers. Leave --snapshots out.")
    folder = files.out.parent
    train, test = captioning.read_caption_data(recipe, options.data, options.limit)
    if recipe.start and not recipe.drawn and not captioning.find_start(recipe, folder):
        print(
            f"There is no {recipe.start}.safetensors in {folder}: the encoder begins with "
            "random weights, and learns from the first epoch on. Train it there first for better "
            "captions.",
            file=sys.stderr,
        )
        recipe = dataclasses.replace(recipe, start="", frozen=0)
    net = captioning.build_for_recipe(recipe, train, folder)
    trained, curve = caption_runs.train_captioner(
        net, train, test, recipe, device, files.state, options.resume, files.log
    )
    command = _command(options, files.out)
    return captioning.ship_captioner(trained, files.out, recipe, test, curve, command, device)


def _pack(arguments: list[str]) -> int:
    options = _pack_parser().parse_args(arguments)
    from model.datasets import captions, flickr8k, pictures

    if (options.source / flickr8k.CAPTIONS).is_file():
        captions.pack_captions(options.source, options.target)
    else:
        pictures.pack_pictures(options.source, options.target, options.size, options.seed)
    files = {f.name: f.stat().st_size for f in sorted(options.target.glob("*.npz"))}
    print(json.dumps({"packed": str(options.target), "bytes": files}))
    return 0


def _train_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m model.training",
        description="Train a checkpoint. Prints one JSON object last, with its figures.",
        epilog="python -m model.training pack FROM TO makes the packed form of a data set.",
    )
    parser.add_argument(
        "recipe", help=f"one of {', '.join(recipes.recipe_names())}, or a .toml file"
    )
    parser.add_argument("--data", type=Path, help="folder of the data set; none for drawn scenes")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe"
    )
    parser.add_argument("--limit", type=count, help="use only the first so many pictures")
    parser.add_argument("--device", type=device, help="cpu or cuda; cuda where there is one")
    parser.add_argument(
        "--snapshots",
        action="store_true",
        help="keep the weights after 0, 1/4, 1, 2, 4, ... epochs, in the folder snapshots beside",
    )
    return parser


def _pack_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.training pack")
    parser.add_argument("source", type=Path, help="the data set as its publisher gives it")
    parser.add_argument("target", type=Path, help="folder for the packed files")
    parser.add_argument("--size", type=count, help="side in pixels, for one-folder-a-class data")
    parser.add_argument("--seed", type=int, default=0, help="of the shuffled order")
    return parser


def _command(options: argparse.Namespace, out: Path) -> str:
    """Write the command that makes this file again, without this machine's folders."""
    words = ["python", "-m", "model.training", Path(options.recipe).name]
    words += ["--data", f"data/{options.data.resolve().name}"] if options.data else []
    words += ["--out", f"checkpoints/{out.name}"]
    for change in options.set:
        words += ["--set", change]
    if options.limit:
        words += ["--limit", str(options.limit)]
    if options.snapshots:
        words += ["--snapshots"]
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(main())

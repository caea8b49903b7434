"""The command: `python -m model.training RECIPE --data DIR --out FILE [--resume]`."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import sys
from functools import partial
from pathlib import Path

from model.errors import DataError, TrainingError
from model.evaluate.arguments import count, device
from model.training import recipe as recipes


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
    out = options.out.with_suffix(".safetensors")

    import torch

    from model.datasets import pictures
    from model.nets.vit import build
    from model.training import distillation, finish, loop

    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    state = out.with_suffix(".state.pt")
    if state.exists() and not options.resume:
        raise TrainingError(
            f"{state} is an unfinished run. Add --resume to go on with it, or delete it."
        )
    if options.resume and not state.exists():
        print(f"There is no {state} to go on with: it begins anew.", file=sys.stderr)
    if out.exists():
        print(f"{out} is there already: the end of this run replaces it.", file=sys.stderr)
    out.parent.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(recipe.seed)
    torch.backends.cudnn.deterministic = True
    if isinstance(recipe, recipes.CaptionRecipe):
        return _train_captioner(options, recipe, device, out, state)
    overrides = {key: value for key, value in recipe.model.items() if key != "preset"}
    if out.stem in finish.parents(recipe):
        raise TrainingError(
            f"The recipe {recipe.name} needs {out.name} itself, so it cannot write there. Give "
            "another --out in the same folder."
        )
    net = build(recipe.model["preset"], **overrides)
    finish.go_on_from(net, recipe, out.parent)
    side = min(net.tokens.image_size)
    if options.data is None:
        raise DataError("Give the data set's folder with --data.")
    train = pictures.read_split(options.data, "train", side, options.limit)
    test = pictures.read_split(options.data, "test", side, options.limit).with_classes(
        train.classes
    )
    loop.check_data(net.config, train, test, recipe)
    log = out.with_suffix(".log.jsonl")
    kind = None
    if recipe.teachers:
        teachers = distillation.teachers(net, recipe, train.classes, out.parent)
        kind = partial(distillation.TaughtRun, teachers=teachers)
    trained, curve = loop.train_classifier(
        net, train, test, recipe, device, state, options.resume, log, kind
    )

    command = _command(options, out)
    card = finish.ship_classifier(trained, out, recipe, train, test, curve, command, device)
    state.unlink(missing_ok=True)
    summary = {key: card[key] for key in ("name", "epochs", "parameters")}
    print(json.dumps(summary | card["metrics"] | {"file": str(out)}))
    return 0


def _train_captioner(options, recipe: recipes.CaptionRecipe, device: str, out: Path, state: Path):
    from model.training import caption_runs, captioning

    train, test = captioning.read_caption_data(recipe, options.data, options.limit)
    known = captioning.encoder_to_start_from(recipe, out.parent)
    if recipe.start and not recipe.drawn and not known:
        print(
            f"There is no {recipe.start}.safetensors in {out.parent}: the encoder begins with "
            "random weights, and learns from the first epoch on. Train it there first for better "
            "captions.",
            file=sys.stderr,
        )
        recipe = dataclasses.replace(recipe, start="", frozen=0)
    net = captioning.build_for_recipe(recipe, train, out.parent)
    log = out.with_suffix(".log.jsonl")
    trained, curve = caption_runs.train_captioner(
        net, train, test, recipe, device, state, options.resume, log
    )
    card = captioning.ship_captioner(
        trained, out, recipe, test, curve, _command(options, out), device
    )
    state.unlink(missing_ok=True)
    summary = {key: card[key] for key in ("name", "epochs", "parameters")}
    print(json.dumps(summary | card["metrics"] | {"file": str(out)}))
    return 0


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
    return parser


def _pack_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.training pack")
    parser.add_argument("source", type=Path, help="the data set as its publisher gives it")
    parser.add_argument("target", type=Path, help="folder for the packed files")
    parser.add_argument("--size", type=count, help="side in pixels, for one-folder-a-class data")
    parser.add_argument("--seed", type=int, default=0, help="of the shuffled order")
    return parser


def _command(options: argparse.Namespace, out: Path) -> str:
    """What to type to make this file again, without this machine's folders."""
    words = ["python", "-m", "model.training", Path(options.recipe).name]
    words += ["--data", f"data/{options.data.resolve().name}"] if options.data else []
    words += ["--out", f"checkpoints/{out.name}"]
    for change in options.set:
        words += ["--set", change]
    if options.limit:
        words += ["--limit", str(options.limit)]
    return shlex.join(words)


if __name__ == "__main__":
    sys.exit(main())

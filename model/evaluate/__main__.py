"""The command: `python -m model.evaluate KIND NAME --data DIR`; --help lists the kinds.

`python -m model.evaluate check --data DIR` measures everything that is shipped again, and
`python -m model.evaluate merge FILE.jsonl... --out FILE.jsonl` merges what --shard made.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from model.errors import NothingRecorded
from model.evaluate.arguments import count, device


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        found = options.measure(options)
    except (ValueError, OSError, NothingRecorded) as error:  # CheckpointError, DataError, ...
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. attribution and needed go on with the same command.", file=sys.stderr)
        return 130
    print(json.dumps(found))
    return 1 if found.get("differences") else 0


def _classify(options: argparse.Namespace) -> dict[str, Any]:
    from model.evaluate import classify, confusion
    from model.nets.vit import VisionTransformer
    from model.zoo import checkpoints

    file = checkpoints.find_checkpoint(options.name)
    net, card = checkpoints.load_checkpoint(file)
    if not isinstance(net, VisionTransformer):
        raise ValueError(f"{options.name} does not classify; its task is {card.task}.")
    figures, counts = classify.measure_classifier(
        net, card, options.data, options.limit, options.device
    )
    if options.write and options.limit is None:
        packed = confusion.pack_confusion(counts.numpy())
        card = card.changed(metrics=card.metrics | figures, confusion=packed)
        checkpoints.save_checkpoint(net, file, card)
    return {"name": card.name or file.stem} | figures


def _objects(options: argparse.Namespace) -> dict[str, Any]:
    from model import zoo
    from model.evaluate import object_masks

    bundle = zoo.load(options.name)
    return {"name": Path(bundle.name).stem} | object_masks.measure_masks(
        bundle, options.data, options.limit
    )


def _merge(options: argparse.Namespace) -> dict[str, Any]:
    from model.evaluate import attribution, needed
    from model.evaluate.photo_measure import merge_lines

    state = merge_lines(options.files, options.out)
    lines = state.first(1 + max(state.lines, default=0))
    if state.fingerprint.measures[0] == needed.KIND:
        return state.head | needed.average(lines)
    return attribution.write_summary(state.head, lines, options.out)


def _check(options: argparse.Namespace) -> dict[str, Any]:
    from model.evaluate import check
    from model.zoo import checkpoints

    shipped = sorted(checkpoints.DIRECTORY.glob("*.safetensors"))
    files = [checkpoints.find_checkpoint(name) for name in options.names] or shipped
    return check.check_checkpoints(files, options.data, options.device)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.evaluate", description=__doc__)
    kinds = parser.add_subparsers(required=True, metavar="KIND")
    classify = kinds.add_parser("classify", help="accuracy, calibration, pointing")
    classify.set_defaults(measure=_classify)
    classify.add_argument("name", help="a shipped checkpoint, or a .safetensors file")
    classify.add_argument("--data", type=Path, required=True, help="folder of the data set")
    classify.add_argument("--limit", type=count, help="only the first pictures; not on the card")
    classify.add_argument("--device", type=device, default="cpu", help="cpu or cuda")
    classify.add_argument(
        "--no-write", dest="write", action="store_false", help="leave the card as it is"
    )
    _add_attribution(kinds.add_parser("attribution", help="every relevance method's scores"))
    _add_needed(kinds.add_parser("needed", help="which heads and patches the answers need"))
    merge = kinds.add_parser("merge", help="merge the files of attribution or needed, of --shard")
    merge.set_defaults(measure=_merge)
    merge.add_argument("files", type=Path, nargs="+", metavar="FILE", help="the .jsonl of a part")
    merge.add_argument("--out", type=Path, required=True, help="the .jsonl of the whole")
    _add_caption(kinds.add_parser("caption", help="captions right, pointing of their words"))
    _add_objects(kinds.add_parser("objects", help="masks found without labels, IoU with boxes"))
    check = kinds.add_parser("check", help="compare every card's figures with its file")
    check.set_defaults(measure=_check)
    check.add_argument("names", nargs="*", metavar="NAME", help="all that are shipped, if none")
    check.add_argument(
        "--data", type=Path, required=True, help="folder with cifar10/, tiny_imagenet/, ..."
    )
    check.add_argument("--device", type=device, default="cpu", help="cpu or cuda")
    return parser


def _add_objects(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(measure=_objects)
    parser.add_argument("name", help="a model by its name, or a file of weights")
    parser.add_argument("--data", type=Path, required=True, help="folder of Tiny ImageNet")
    parser.add_argument("--limit", type=count, help="only the first pictures")


def _add_attribution(parser: argparse.ArgumentParser) -> None:
    from model.evaluate import attribution

    attribution.add_attribution_arguments(parser)


def _add_needed(parser: argparse.ArgumentParser) -> None:
    from model.evaluate import needed

    needed.add_needed_arguments(parser)


def _add_caption(parser: argparse.ArgumentParser) -> None:
    from model.evaluate import caption

    caption.add_caption_arguments(parser)


if __name__ == "__main__":
    sys.exit(main())

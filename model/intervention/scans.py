"""Try every head, every patch, or every token of every layer, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.errors import InterventionRefused
from model.intervention.answers import AnswerMeasure, Effects, class_answer, gather_effects
from model.intervention.block_chain import BlockChain
from model.intervention.context import intervene, patch_layout
from model.intervention.mode import AttentionChanger, Changes, OutputChange
from model.intervention.outputs import Kept
from model.intervention.pictures import fill_of
from model.recording.recorder import AttentionRecorder
from model.tokens import TokenLayout

Report = Callable[[int, int], object]
"""Told after each batch how many of how many are done; what it raises ends the scan."""
Run = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class HeadScan:
    """What each head does by itself: `effects` hold (layers, heads) each."""

    layers: list[str]
    heads: list[int]
    """Number of heads of each layer; what lies beyond is NaN."""
    effects: Effects

    def ranked(self, measure: str = "log_odds") -> list[tuple[int, int]]:
        """List (layer, head), first the ones without which the measure falls most."""
        effect = self.effects.effect(measure)
        places = [(layer, h) for layer, count in enumerate(self.heads) for h in range(count)]
        return sorted(places, key=lambda place: effect[place].item())


def scan_heads(
    net: nn.Module,
    images: Tensor,
    target: int | None = None,
    *,
    run: Run | None = None,
    answer: AnswerMeasure | None = None,
    batch_size: int = 16,
    report: Report | None = None,
) -> HeadScan:
    """Switch off every head by itself, and measure the answer.

    Where the blocks of a net run one after another, what lies before the changed layer is computed
    once: the scan costs about half of as many forward passes as there are heads.

        >>> from model.intervention import scan_heads
        >>> from model.vit import build
        >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3, num_classes=5).eval()
        >>> scan = scan_heads(net, torch.randn(1, 3, 32, 32))
        >>> scan.effects.effect("log_odds").shape  # layers, heads
        torch.Size([2, 3])

    Args:
        net: a net whose attention can be recorded.
        images: one prepared image, (1, C, H, W).
        target: the class to measure; None for the one that the net answers.
        run: what to run instead of `net(images)`, for a batch of images.
        answer: what to measure instead of a class.
        batch_size: how many changes run at once; 1 for a net that lays images and heads into one
            dimension.
        report: told of the progress.

    Raises:
        InterventionRefused: the net has no classes and no answer is given, or its heads cannot be
            told apart.
        NothingRecorded: the net has no attention.
    """
    with torch.no_grad():
        chain = None if run else _chain(net, images)
        ran = chain.net if chain else net
        with AttentionRecorder(ran) as recorder:
            plain = chain.keep(images)[1] if chain else (run or net)(images)
        layers = {record.name: record.shape[1] for record in recorder.records}
        del recorder
        answer = answer or class_answer(plain[0], target)
        total, outputs = sum(layers.values()), []
        for name, heads in layers.items():
            for keep in (~torch.eye(heads, dtype=torch.bool)).split(batch_size):
                changes = Changes(
                    outputs=[OutputChange(name, tuple(range(heads)), Kept(keep.to(images.device)))]
                )
                with AttentionChanger(ran, changes):
                    if chain:
                        start = chain.blocks.index(chain.block_of[name])
                        tokens = chain.tokens[start].expand(len(keep), -1, -1)
                        output = chain.run_from(start, tokens)
                    else:
                        output = (run or net)(images.expand(len(keep), -1, -1, -1))
                outputs.append(output)
                if report:
                    report(sum(map(len, outputs)), total)
    effects = gather_effects(answer, plain, outputs)
    return HeadScan(list(layers), list(layers.values()), _by_layer(effects, list(layers.values())))


def scan_patches(
    net: nn.Module,
    images: Tensor,
    target: int | None = None,
    *,
    hide: str | Tensor = "mean",
    tokens: TokenLayout | None = None,
    run: Run | None = None,
    answer: AnswerMeasure | None = None,
    batch_size: int = 16,
    report: Report | None = None,
) -> Effects:
    """Hide every patch by itself, and measure the answer (occlusion).

        >>> from model.intervention import scan_patches
        >>> from model.vit import build
        >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3, num_classes=5).eval()
        >>> scan_patches(net, torch.randn(1, 3, 32, 32)).effect("probability").shape
        torch.Size([2, 2])

    Args:
        net: any net.
        images: one prepared image, (1, C, H, W).
        target: the class to measure; None for the one that the net answers.
        hide: "mean", "blur", "remove", or a second prepared image, as in `intervene`.
        tokens: layout of the net's tokens; not needed for our own nets.
        run: what to run instead of `net(images)`, for a batch of images.
        answer: what to measure instead of a class.
        batch_size: how many changes run at once.
        report: told of the progress.

    Returns:
        Effects of shape (rows, columns).

    Raises:
        InterventionRefused: the net has no classes and no answer is given, or tokens cannot be
            taken out of its sequence.
    """
    layout = tokens or patch_layout(net)
    with torch.no_grad():
        plain = (run or net)(images)
        answer = answer or class_answer(plain[0], target)
        batches = range(layout.patches)
        parts = [batches[i : i + batch_size] for i in range(0, layout.patches, batch_size)]
        if isinstance(hide, str) and hide == "remove":
            hidden = _removed(net, images, layout, parts, run)
        else:
            hidden = _hidden(net, images, layout, parts, run, fill_of(images, hide, layout))
        outputs = []
        for output in hidden:
            outputs.append(output)
            if report:
                report(sum(map(len, outputs)), layout.patches)
    effects = gather_effects(answer, plain, outputs)
    return _shaped(effects, lambda values: values.unflatten(0, layout.grid))


def scan_tokens(
    net: nn.Module,
    images: Tensor,
    others: Tensor,
    answer: AnswerMeasure,
    *,
    layers: Sequence[int] | None = None,
    batch_size: int = 16,
    report: Report | None = None,
) -> Effects:
    """Take every token of every layer by itself from another photo (activation patching).

    With y the log-odds of the first photo's class against the second's, the share of the way from
    the first answer to the second is (y_changed - y_first) / (y_second - y_first).

    Args:
        net: a net whose blocks run one after another.
        images: one prepared image, (1, C, H, W).
        others: the other one.
        answer: what to measure, for example a `ClassAnswer` of the two photos' classes.
        layers: the layers to try, by the place of their block, from zero; None for all.
        batch_size: how many changes run at once.
        report: told of the progress.

    Returns:
        Effects of shape (layers, tokens), of the tokens that leave each layer's block.

    Raises:
        InterventionRefused: the net is no chain of blocks.
    """
    chain = BlockChain(net, images)
    first, second = chain.tokens[1:], chain.keep(others)[0][1:]
    count, outputs = first[0].shape[1], []
    tried = range(len(first)) if layers is None else layers
    for layer in tried:
        own, other = first[layer], second[layer]
        for chosen in torch.eye(count, dtype=torch.bool, device=images.device).split(batch_size):
            mixed = torch.where(chosen[:, :, None], other, own)
            outputs.append(chain.run_from(layer + 1, mixed))
            if report:
                report(sum(map(len, outputs)), len(tried) * count)
    effects = gather_effects(answer, chain.output, outputs)
    return _shaped(effects, lambda values: values.unflatten(0, (len(tried), count)))


def _chain(net: nn.Module, images: Tensor) -> BlockChain | None:
    try:
        return BlockChain(net, images)
    except InterventionRefused:
        return None


def _hidden(
    net: nn.Module,
    images: Tensor,
    layout: TokenLayout,
    parts: Sequence[Sequence[int]],
    run: Run | None,
    fill: Tensor,
) -> Iterator[Tensor]:
    numbers = torch.arange(layout.patches, device=images.device).reshape(layout.grid)
    patch_of = layout.as_pixels(numbers + 1, *images.shape[-2:])  # 0 where no patch lies
    for part in parts:
        chosen = torch.tensor(part, device=images.device)[:, None, None, None] + 1
        yield (run or net)(torch.where(patch_of == chosen, fill, images))


def _removed(
    net: nn.Module,
    images: Tensor,
    layout: TokenLayout,
    parts: Sequence[Sequence[int]],
    run: Run | None,
) -> Iterator[Tensor]:
    chain = None if run else _chain(net, images)
    for part in parts:
        if chain is None or chain.tokens[0].shape[1] != layout.tokens:
            for patch in part:
                with intervene(net, hide_patches=[patch], hide="remove", tokens=layout):
                    yield (run or net)(images)
            continue
        gone = torch.tensor(part, device=images.device) + len(layout.prefix)
        kept = torch.arange(layout.tokens, device=images.device) != gone[:, None]
        places = kept.nonzero()[:, 1].reshape(len(part), -1)
        yield chain.run_from(0, chain.tokens[0][0, places])


def _by_layer(effects: Effects, heads: Sequence[int]) -> Effects:
    """(all heads,) -> (layers, heads), with NaN (or class -1) where a layer has fewer."""

    def shape(values: Tensor) -> Tensor:
        empty = float("nan") if values.is_floating_point() else -1
        rows = [
            torch.cat((row, row.new_full((max(heads) - len(row),), empty)))
            for row in values.split(list(heads))
        ]
        return torch.stack(rows)

    return _shaped(effects, shape)


def _shaped(effects: Effects, shape: Callable[[Tensor], Tensor]) -> Effects:
    changed = {name: shape(values) for name, values in effects.changed.items()}
    return Effects(effects.plain, changed, shape(effects.likeliest))

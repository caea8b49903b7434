"""Run a net with something switched off, hidden, or taken from another run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from model.captioning.base import CaptioningModel, CaptioningNet
from model.errors import InterventionRefused
from model.intervention import outputs, scores, structure
from model.intervention.activations import Activations
from model.intervention.hooks import ThreadHooks
from model.intervention.mode import (
    AttentionChanger,
    Changes,
    Layer,
    OutputChange,
    ProjectionChange,
    ScoreChange,
)
from model.intervention.pictures import check_patches, exchange_patches, hide_patches
from model.nets.vit import VisionTransformer
from model.tokens import TokenLayout

Where = Layer | tuple[Layer, int]
"""A layer, or one head of it: 3, "blocks.3.attention", (3, 0)."""

SUBLAYERS = ("attention", "mlp", "projection")


class Intervention:
    """A context manager that changes what a net computes in this thread; see `intervene`."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self.changes = Changes()
        self.images: list[Callable[[Tensor], Tensor]] = []  # changes of prepared images
        self.tokens: list[tuple[str, Callable[[Tensor], Tensor]]] = []  # of what blocks return
        self.removed: Callable[[Tensor], Tensor] | None = None  # before the first block
        self._stack: ExitStack | None = None
        self._pending: set[int] = set()

    def __enter__(self) -> Self:
        self._pending = set()
        with ExitStack() as stack:
            hooks = ThreadHooks()
            stack.callback(hooks.remove)
            if self.images:
                hooks.before(module_given_images(self.net), self._once(self._change_images), 4)
            if self.removed is not None:
                first = structure.block_of(self.net, structure.attention_names(self.net)[0])
                hooks.before(self.net.get_submodule(first), self._once(self.removed), 3)
            for block, change in self.tokens:
                hooks.after(self.net.get_submodule(block), self._once(change))
            self._changer = None
            if self.changes.all():
                self._changer = stack.enter_context(AttentionChanger(self.net, self.changes))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._stack is not None, "__enter__ has run"
        self._stack.__exit__(kind, error, trace)
        if kind is not None:
            return
        if self._changer is not None:
            self._changer.check()
        if self._pending:
            raise InterventionRefused(
                f"This {type(self.net).__name__} did not run as a whole: call it inside the with "
                "block, in the thread that opened it, and call the net rather than a method of it."
            )

    def _change_images(self, images: Tensor) -> Tensor:
        for change in self.images:
            images = change(images)
        return images

    def _once(self, change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        """Note that a change was made at least once."""
        key = id(change)
        self._pending.add(key)

        def changed(given: Tensor) -> Tensor:
            self._pending.discard(key)
            with torch._C.DisableTorchFunction():
                return change(given)

        return changed


def intervene(
    net: nn.Module,
    *,
    heads_off: Mapping[Layer, Sequence[int]] | None = None,
    replace_by: outputs.HeadMeans | None = None,
    maps: Mapping[Where, str] | None = None,
    only: Mapping[Where, Sequence[int]] | None = None,
    never: Mapping[Where, Sequence[int]] | None = None,
    scale: Mapping[Where, float] | None = None,
    hide_patches: Sequence[int] = (),
    hide: str | Tensor = "mean",
    exchange: Sequence[tuple[int, int]] = (),
    source: Activations | None = None,
    heads_from: Mapping[Layer, Sequence[int]] | None = None,
    tokens_from: Mapping[Layer, Sequence[int] | None] | None = None,
    skip: Mapping[Layer, str] | None = None,
    tokens: TokenLayout | None = None,
) -> Intervention:
    """Change what a net computes inside a `with` block, in the thread that opens it.

        >>> import torch
        >>> from model import AttentionRecorder
        >>> from model.intervention import intervene
        >>> from model.vit import build
        >>> net = build("vit", img_size=32, dim=48, depth=2, heads=3, num_classes=5).eval()
        >>> x = torch.randn(1, 3, 32, 32)
        >>> with intervene(net, heads_off={1: [0, 2]}, hide_patches=[3]), AttentionRecorder(
        ...     net
        ... ) as recorder:
        ...     logits = net(x)
        >>> torch.equal(logits, net(x))
        False
        >>> with intervene(net):  # nothing is changed
        ...     torch.equal(net(x), net(x))
        True

    Kinds may be combined, and interventions nested. The net is as it was after the block, also
    after an error, and other threads may run it meanwhile. A recorder records what the changed
    net does, whichever block is the inner one. Layers and heads are counted from zero as the
    recorder counts them, or layers are given by the recorder's names; patches are counted row by
    row from zero, without the tokens before them, and tokens with them.

    With O_h the output of head h of H, A = softmax(S) its map, S = Q Kᵀ · scale + bias, and
    W_O [O_1 ... O_H] + b what the attention module returns:

    Args:
        net: any net whose attention can be recorded, also a captioner: its encoder's layers come
            first, then self- and cross-attention of each layer of the decoder.
        heads_off: heads by layer. O_h becomes 0, which subtracts W_O^(h) O_h; with all heads off,
            the module returns b.
        replace_by: what O_h becomes instead of 0: the head's mean output over some pictures, as
            `head_means` makes it.
        maps: for a layer, or a head (layer, head): "uniform" (A_ij = 1/N), "identity" (A = I) or
            "heads_mean" (A = mean of the layer's maps).
        only: tokens that queries may attend to: S_ij = -inf for every other token j.
        never: tokens that no query attends to: S_ij = -inf for each of them. The rest of a row
            shares its attention.
        scale: a factor c of the scores: A = softmax(c S). √d takes the division by √d away.
        hide_patches: patches to hide in every image.
        hide: how. "mean": the image's mean colour; "blur": the image, blurred by a Gaussian of one
            patch; prepared images (1 or B, C, H, W): their patches; "remove": the pixels stay, and
            the token is taken out of the sequence before the first block.
        exchange: pairs of patches whose pixels change places.
        source: a second run, for the two that follow (`keep_activations`).
        heads_from: heads by layer. O_h becomes the head's output in the second run.
        tokens_from: tokens by layer, None for all. What the layer's block returns for them becomes
            what it returned in the second run (activation patching).
        skip: for a layer, "attention" or "mlp": the sublayer adds nothing to its residual; or
            "projection": the output projection becomes the identity.
        tokens: layout of the net's tokens, such as `bundle.tokens`; not needed for our own nets.

    Returns:
        The context manager. Leaving its block raises InterventionRefused if a change was not made,
        because no such layer ran.

    Raises:
        InterventionRefused: at once, in the forward pass or on leaving the block, where the change
            makes no sense for this net; the message says why.
    """
    made = Intervention(net)
    rule: outputs.Rule = outputs.zeros if replace_by is None else replace_by
    for layer, heads in (heads_off or {}).items():
        made.changes.outputs.append(OutputChange(layer, tuple(heads), rule))
    for place, kind in (maps or {}).items():
        made.changes.scores.append(_score_change(place, scores.map_rule(kind)))
    for place, kept in (only or {}).items():
        knocked_out = scores.KnockedOut(tuple(kept), only=True)
        made.changes.scores.append(_score_change(place, knocked_out, of_tokens=True))
    for place, lost in (never or {}).items():
        knocked_out = scores.KnockedOut(tuple(lost))
        made.changes.scores.append(_score_change(place, knocked_out, of_tokens=True))
    for place, factor in (scale or {}).items():
        made.changes.scores.append(_score_change(place, scores.Scaled(factor)))
    for layer, sublayer in (skip or {}).items():
        made.changes.projections.append(_projection_change(net, layer, sublayer))
    _add_run(made, source, heads_from or {}, tokens_from or {})
    _add_pictures(made, hide_patches, hide, exchange, tokens)
    if made.removed is not None and made.tokens:
        raise InterventionRefused(
            "Tokens of another run are put at the same places, and patches that are taken out "
            "leave fewer places: hide the patches instead, by 'mean' or 'blur'."
        )
    return made


def _score_change(place: Where, rule: scores.Rule, of_tokens: bool = False) -> ScoreChange:
    layer, heads = (place[0], (place[1],)) if isinstance(place, tuple) else (place, None)
    return ScoreChange(layer, heads, rule, of_tokens)


def _projection_change(net: nn.Module, layer: Layer, sublayer: str) -> ProjectionChange:
    if sublayer not in SUBLAYERS:
        raise InterventionRefused(
            f"There is no sublayer {sublayer!r}: choose {', '.join(SUBLAYERS)}."
        )
    name = find_layer(net, layer)
    find = structure.mlp_projection if sublayer == "mlp" else structure.attention_projection
    return ProjectionChange(layer, name, find(net, name), identity=sublayer == "projection")


def _add_run(
    made: Intervention,
    source: Activations | None,
    heads_from: Mapping[Layer, Sequence[int]],
    tokens_from: Mapping[Layer, Sequence[int] | None],
) -> None:
    if not (heads_from or tokens_from):
        return
    if source is None:
        raise InterventionRefused(
            "Heads and tokens are taken from a second run: give it as source=keep_activations(...)."
        )
    rule = outputs.FromRun(source.heads)
    for layer, heads in heads_from.items():
        made.changes.outputs.append(OutputChange(layer, tuple(heads), rule))
    for layer, chosen in tokens_from.items():
        block = structure.block_of(made.net, find_layer(made.net, layer))
        if block not in source.tokens:
            raise InterventionRefused(f"The second run has no tokens of {block}.")
        made.tokens.append((block, _PatchedTokens(source.tokens[block], chosen)))


def _add_pictures(
    made: Intervention,
    patches: Sequence[int],
    hide: str | Tensor,
    exchange: Sequence[tuple[int, int]],
    tokens: TokenLayout | None,
) -> None:
    if not (patches or exchange):
        return
    layout = tokens or patch_layout(made.net)
    if exchange:
        check_patches([patch for pair in exchange for patch in pair], layout)
        made.images.append(lambda images: exchange_patches(images, exchange, layout))
    if not patches:
        return
    check_patches(patches, layout)
    if isinstance(hide, str) and hide == "remove":
        made.removed = _Removed(patches, layout)
    else:
        made.images.append(lambda images: _hide(images, patches, layout, hide))


_hide = hide_patches  # `intervene` has an argument of that name


class _PatchedTokens:
    """Put the tokens (1 or B, N, D) of another run in place of chosen ones."""

    def __init__(self, other: Tensor, chosen: Sequence[int] | None) -> None:
        self.other, self.chosen = other, chosen

    def __call__(self, tokens: Tensor) -> Tensor:
        if tokens.shape[1:] != self.other.shape[1:]:
            raise InterventionRefused(
                f"The other run has tokens {tuple(self.other.shape[1:])}, and this one "
                f"{tuple(tokens.shape[1:])}."
            )
        other = self.other.to(tokens).expand_as(tokens)
        if self.chosen is None:
            return other.clone()
        if outside := [token for token in self.chosen if not 0 <= token < tokens.shape[1]]:
            raise InterventionRefused(
                f"There is no token {outside[0]}: they run from 0 to {tokens.shape[1] - 1}."
            )
        changed = tokens.clone()
        changed[:, list(self.chosen)] = other[:, list(self.chosen)]
        return changed


class _Removed:
    """Take the tokens of patches out of a sequence (B, N, D)."""

    def __init__(self, patches: Sequence[int], layout: TokenLayout) -> None:
        gone = {len(layout.prefix) + patch for patch in patches}
        self.tokens = layout.tokens
        self.kept = [token for token in range(layout.tokens) if token not in gone]
        if not self.kept:
            raise InterventionRefused("Every token would be taken out: leave one patch at least.")

    def __call__(self, tokens: Tensor) -> Tensor:
        if tokens.shape[1] != self.tokens:
            raise InterventionRefused(
                f"Patches are taken out of a sequence of {self.tokens} tokens, and this net's "
                f"first block is given {tuple(tokens.shape)}: hide them by 'mean' or 'blur'."
            )
        return tokens[:, self.kept]


def find_layer(net: nn.Module, layer: Layer) -> str:
    """Find the name of a layer's attention module from the structure of a net.

    Raises InterventionRefused where there is none.
    """
    names = structure.attention_names(net)
    if isinstance(layer, str):
        found = [name for name in names if name == layer or name.startswith(layer + ".")]
        found = found or [name for name in names if layer.startswith(name + ".")]
    else:
        found = names[layer : layer + 1] if layer >= 0 else []
    if not found:
        raise InterventionRefused(
            f"There is no layer {layer}. The layers that attend, counted from 0: "
            f"{', '.join(names[:16]) or 'none'}{' ...' if len(names) > 16 else ''}."
        )
    return found[0]


def module_given_images(net: nn.Module) -> nn.Module:
    """Find the module that is called with the images, for nets whose methods are called too."""
    if isinstance(net, CaptioningNet):
        return net.encoder.embed
    if isinstance(net, VisionTransformer):
        return net.embed
    encoder = getattr(net, "encoder", None)
    return encoder if isinstance(net, CaptioningModel) and encoder is not None else net


def patch_layout(net: nn.Module) -> TokenLayout:
    """Find the layout of the patches in the tokens of a net's blocks."""
    if isinstance(net, CaptioningNet):
        return net.encoder.tokens
    found = getattr(net, "tokens", None)
    if not isinstance(found, TokenLayout):
        raise InterventionRefused(
            f"A {type(net).__name__} does not say where its patches are: give tokens=, such as "
            "bundle.tokens."
        )
    return found

"""Judge what the recorder made of one model."""

from __future__ import annotations

import copy
import re
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from model.errors import NothingRecorded
from model.recording.record import AttentionRecord
from model.recording.recorder import AttentionRecorder
from tests.sweep.acting_maps import ActingMaps, Use
from tests.sweep.subject import Subject, tensors_of

EXACT, LABELLED, REFUSED = "exact", "labelled", "refused"
WRONG, SILENT, CRASH = "wrong", "silent", "crash"
SKIPPED, NO_SOFTMAX = "not run", "no softmax"
CLOSE = 3e-5


@dataclass
class Outcome:
    """What came of one model."""

    library: str
    name: str
    verdict: str
    reason: str = ""
    records: int = 0
    alone: bool = False
    """Whether one image alone was recorded, too, and agreed on every axis."""
    seconds: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The outcome as JSON knows it."""
        return asdict(self)


class Judgement(NamedTuple):
    """What came of a model: the verdict, the reason, the number of records, and `Outcome.alone`."""

    verdict: str
    reason: str = ""
    records: int = 0
    alone: bool = False


def judge(subject: Subject) -> Judgement:
    """Run a model in several ways."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # the recorder does not take it either
    try:
        with torch.no_grad():
            return _judge(subject)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _judge(subject: Subject) -> Judgement:
    net = subject.net.eval()
    plain = _run(subject)
    recorder, refusal = _record(subject)
    named = refusal or recorder.not_recorded or ""
    if "flex_attention" in named:  # one kernel, into which nothing sees from below
        return Judgement(REFUSED, named, len(recorder.records))
    with ActingMaps(net) as truth:
        recorder, refusal = _record(subject)
    uses = [use for use in truth.uses if use.is_map_of_tokens]
    if refusal is not None:
        if "did not run" in refusal or "outside this" in refusal:
            return Judgement(WRONG, refusal)
        if not truth.softmaxes:
            return Judgement(NO_SOFTMAX)
        return Judgement(REFUSED if uses else LABELLED, refusal)
    faults = _bits(plain, subject)
    if not (faults or subject.nested):
        faults = _compare(recorder, uses, truth.uses)
    count = len(recorder.records)
    if faults:
        return Judgement(*faults, count)
    faults = _axes(recorder.records, subject) or _own_maps(recorder.records, subject)
    if faults:
        return Judgement(*faults, count)
    named = recorder.not_recorded or ""
    missed = _missed(recorder, uses)
    return Judgement(REFUSED if missed else EXACT, named, count, alone=True)


def _run(subject: Subject) -> list[Tensor]:
    torch.manual_seed(0)
    return tensors_of(subject.run())


def _record(subject: Subject) -> tuple[AttentionRecorder, str | None]:
    torch.manual_seed(0)
    recorder = AttentionRecorder(subject.net)
    try:
        with recorder:
            subject.run()
    except NothingRecorded as error:
        return recorder, str(error)
    return recorder, None


def _bits(plain: list[Tensor], subject: Subject) -> tuple[str, str] | None:
    """The output must be the same to the bit, without the mode below."""
    torch.manual_seed(0)
    with AttentionRecorder(subject.net):
        recorded = tensors_of(subject.run())
    same = len(plain) == len(recorded) and all(
        torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(plain, recorded, strict=True)
    )
    return None if same else (WRONG, "the output differs from the plain run")


def _compare(
    recorder: AttentionRecorder, uses: list[Use], all_uses: list[Use]
) -> tuple[str, str] | None:
    left = list(uses)
    wrong = []
    for record in recorder.records:
        maps = record.weights()
        if record.shape[-1] == 1:
            continue  # one key alone gets everything, whoever asks
        matches = _matches(maps, left)
        if matches:
            left = [use for use in left if not any(use is match for match in matches)]
            continue
        other = next((u for u in all_uses if _is_same(maps, u.weights)), None)
        if other is not None and not other.is_map_of_tokens:
            why = f"weighs {other.over}s for {other.asks}s and is recorded"
        elif other is not None:
            why = "is recorded twice"
        else:
            shapes = {tuple(use.weights.shape) for use in left}
            near = _nearest(maps, left)
            why = f"multiplies no values as recorded, {record.shape}; {near or sorted(shapes)[:3]}"
        wrong.append(f"{record.name} {why}")
    if wrong:
        return WRONG, f"{len(wrong)} of {len(recorder.records)} records: {wrong[0]}"
    unseen = [use for use in left if not _is_named(use.module, recorder.not_recorded)]
    if unseen:
        names = list(dict.fromkeys(f"{u.module} {tuple(u.weights.shape)}" for u in unseen))
        return SILENT, f"{len(unseen)} maps neither recorded nor named: {', '.join(names[:3])}"
    return None


def _matches(maps: Tensor, uses: list[Use]) -> list[Use]:
    """Find the use that a record holds, or one for each head, which a module may compute alone."""
    for use in uses:
        if _is_same(maps, use.weights):
            return [use]
    found: list[Use] = []
    for head in maps.split(1, dim=1):
        rest = (use for use in uses if not any(use is other for other in found))
        found += [use for use in rest if _is_same(head, use.weights)][:1]
    return found if len(found) == maps.shape[1] else []


def _missed(recorder: AttentionRecorder, uses: list[Use]) -> list[Use]:
    left = list(uses)
    for record in recorder.records:
        matches = _matches(record.weights(), left)
        left = [use for use in left if not any(use is match for match in matches)]
    return left


def _is_named(module: str, sentence: str | None) -> bool:
    if not sentence:
        return False
    return (
        "more" in sentence
        or not module
        or re.search(rf"\b{re.escape(module)}\b", sentence) is not None
    )


def _is_same(maps: Tensor, weights: Tensor) -> bool:
    """Whether (B, H, Q, K) holds the same matrices as (n, Q, K), in whatever order."""
    if maps.numel() != weights.numel() or maps.shape[-1] != weights.shape[-1]:
        return False
    if maps.shape[-2:] == weights.shape[-2:]:
        one, two = maps.flatten(0, 1).flatten(1), weights.flatten(1)
    else:  # a product with values that several heads share takes their queries together
        one, two = maps.flatten(0, 2), weights.flatten(0, 1)
    one, two = one.double(), two.double()
    if one.shape == two.shape and torch.allclose(one, two, rtol=0, atol=CLOSE):
        return True
    along = torch.randn(one.shape[1], generator=torch.Generator().manual_seed(1)).double()
    one, two = one[(one @ along).argsort()], two[(two @ along).argsort()]
    return torch.allclose(one, two, rtol=0, atol=CLOSE)


def _nearest(maps: Tensor, uses: list[Use]) -> str:
    for use in uses:
        if use.weights.numel() == maps.numel():
            off = (maps.flatten() - use.weights.flatten()).abs().max()
            return f"off by {off:.2g} from {tuple(use.weights.shape)}"
    return ""


def _axes(records: list[AttentionRecord], subject: Subject) -> tuple[str, str] | None:
    """One image alone must give the records of the first of two."""
    torch.manual_seed(0)
    with AttentionRecorder(subject.net) as recorder:
        subject.first().run()
    alone = recorder.records
    if subject.packed:
        return _first_of_packed(alone, records) or _heads(records, subject.net)
    if [r.name for r in alone] != [r.name for r in records]:
        return WRONG, f"one image gives {len(alone)} records, two give {len(records)}"
    for one, two in zip(alone, records, strict=True):
        if one.shape[1] != two.shape[1] or two.shape[0] not in (one.shape[0], 2 * one.shape[0]):
            return WRONG, f"{one.name}: {one.shape} for one image, {two.shape} for two"
        if one.shape[1:] != two.shape[1:]:
            continue  # a model that chooses tokens chooses as many as the other image needs
        off = (two.weights()[: one.shape[0]] - one.weights()).abs().max()
        if off > 1e-3 and not _has_rows(two.weights(), one.weights()):
            return WRONG, f"{one.name}: the first image's map differs by {off:.2g} beside another"
    return _heads(records, subject.net)


def _has_rows(two: Tensor, one: Tensor) -> bool:
    """Whether the crops or windows of an image lie among those of two, in the model's own order."""
    if len(one) == 1:
        return False
    return all((two - crop).abs().flatten(1).amax(1).min() < 1e-3 for crop in one)


def _first_of_packed(
    alone: list[AttentionRecord], records: list[AttentionRecord]
) -> tuple[str, str] | None:
    """The maps of one image alone must lie in those of two that stand in one sequence."""
    for one in alone:
        queries, keys = one.shape[-2:]
        beside = [r for r in records if r.name == one.name and r.shape[1] == one.shape[1]]
        if not beside:
            return WRONG, f"{one.name}: {one.shape} for one image, nothing like it for two"
        blocks = (r.weights()[: one.shape[0], :, :queries, :keys] for r in beside)
        near = [(b - one.weights()).abs().max() < 1e-3 for b in blocks if b.shape == one.shape]
        if near and not any(near):
            return WRONG, f"{one.name}: the first image's map differs beside another"
    return None


def _heads(records: list[AttentionRecord], net: nn.Module) -> tuple[str, str] | None:
    """The heads must be as many as the module declares."""
    modules = dict(net.named_modules())
    for record in records:
        module = modules[record.name]
        for attribute in ("num_heads", "num_attention_heads", "heads", "n_heads"):
            declared = getattr(module, attribute, None)
            if isinstance(declared, int) and declared != record.shape[1]:
                return WRONG, f"{record.name} has {declared} heads, the record {record.shape}"
    return None


def _own_maps(records: list[AttentionRecord], subject: Subject) -> tuple[str, str] | None:
    """The maps that the library itself returns must be among the records."""
    if subject.eager is None:
        return None
    try:
        own = subject.eager(subject)
    except Exception:  # many classes have none
        return None
    for index, theirs in enumerate(own):
        alike = [r for r in records if r.shape == tuple(theirs.shape)]
        if alike and not any((r.weights() - theirs).abs().max() < 1e-3 for r in alike):
            maps = [r.weights() for r in alike]
            if any(_is_same(m, theirs.flatten(0, 1)) for m in maps):
                return WRONG, f"the library's map {index} is recorded with other axes"
    return None


def copy_of(net: nn.Module) -> nn.Module:
    """Copy a net, so that its settings can be changed."""
    return copy.deepcopy(net)

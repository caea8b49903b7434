import torch
from hypothesis import given
from hypothesis import strategies as st

from model.captioning.step_history import StepHistory

ROWS = st.lists(st.integers(0, 99), min_size=1, max_size=4)


@given(st.lists(st.tuples(ROWS, st.integers(1, 3), st.booleans()), min_size=1, max_size=6))
def test_gathers_what_copying_at_every_step_would_have_kept(steps):
    history, copies, batch = StepHistory(), None, 2
    for number, (wanted, words, selects) in enumerate(steps):
        if copies is not None and selects:
            rows = torch.tensor([row % batch for row in wanted])
            history, copies, batch = history.select(rows), [c[rows] for c in copies], len(rows)
        new = [torch.randn(batch, 3, words, 2) + number, torch.randn(batch, words, 5)]
        copies = [torch.cat(c, -2) for c in zip(copies, new, strict=True)] if copies else new
        history = history.append(*new)
    rows = torch.tensor([batch - 1, 0])
    for kept, copied in zip(history.select(rows).gather(), copies, strict=True):
        assert torch.equal(kept, copied[rows])
    for kept, copied in zip(history.gather(), copies, strict=True):
        assert torch.equal(kept, copied)

"""A few of the files that `python -m tests.fuzz` makes by the thousand."""

import json
import random
from contextlib import suppress

import pytest

from tests.fuzz import cards, hostile_weights, large_files, weights
from tests.fuzz.__main__ import KINDS, _forget_peak, _peak, fuzz, main


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.filterwarnings("ignore")
def test_a_small_run_finds_nothing_but_opened_and_refused(kind):
    count = 40 if kind == "folders" else 150  # a folder takes a tenth of a second
    totals = fuzz(kind, count=count, seed=0, largest=50_000)
    assert totals.ends["other"] == 0
    assert totals.ends["opened"] and totals.ends["refused"]


@pytest.mark.parametrize("kind", hostile_weights.KINDS)
def test_no_small_file_of_weights_takes_much_memory(kind):
    data = hostile_weights.KINDS[kind](300_000)
    before = _forget_peak()
    with suppress(weights.REFUSED):
        weights.open_case(data)
    assert _peak() - before < 200 * 1024


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_seed_makes_the_same_file_again(kind):
    for seed in range(30):
        files = [KINDS[kind].make_case(random.Random(seed), 5_000) for _ in range(2)]
        assert files[0] == files[1]


def test_the_command_counts_what_misbehaves(monkeypatch, capsys):
    def fail(data):
        raise OverflowError("a number of a file")

    monkeypatch.setattr(KINDS["pictures"], "open_case", fail)
    assert main(["--count", "3", "--seed", "5", "pictures"]) == 1
    printed = capsys.readouterr()
    assert "3 other" in printed.out and "seeds 5 to 7" in printed.out
    assert "seed 6" in printed.err


@pytest.mark.parametrize("change", [{"max_words": 10**9}, {"layers": 10**9}, {"encoder": 7}])
def test_a_captioner_s_card_drives_nothing_before_its_numbers_are_bounded(change):
    card = json.loads(cards.checkpoints()["caption"][1])
    card["config"] |= change
    before = _forget_peak()
    with pytest.raises(cards.REFUSED):
        cards.open_case(json.dumps(card).encode())
    assert _peak() - before < 50 * 1024


@pytest.mark.slow
@pytest.mark.parametrize("dtype", large_files.DTYPES)
@pytest.mark.parametrize("kind", large_files.WRITERS)
def test_a_large_honest_model_takes_little_beside_itself(kind, dtype):
    if kind == "folder":
        pytest.importorskip("transformers")
    assert large_files.measure(kind, dtype)["beside"] <= 600e6

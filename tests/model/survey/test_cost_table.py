"""The cost of a survey, as docs/survey.md tells it."""

import re
from pathlib import Path

import pytest

from benchmarks.survey import IMAGENET, cost_table

PAGE = (Path(__file__).parents[3] / "docs/survey.md").read_text(encoding="utf-8")


def test_the_page_shows_what_its_command_prints():
    rate, efficiency, price = map(float, re.search(r"cost_table\((.*?)\)", PAGE)[1].split(","))
    assert cost_table(rate, efficiency, price) in PAGE


def test_hours_and_price_are_what_one_works_out_by_hand():
    *_, name, cores, hours, price, _ = re.split(r"\s*\|\s*", cost_table(2, 0.5, 0.1).split("\n")[4])
    assert (name, int(cores)) == ("a node", 32)
    by_hand = IMAGENET / (32 * 2 * 0.5) / 3600
    assert float(hours) == pytest.approx(by_hand, abs=0.05)
    assert float(price) == pytest.approx(by_hand * 32 * 0.1, abs=0.5)

"""The glossary: whole, in single sentences, and every way in it leads somewhere."""

import re
from urllib.parse import parse_qsl

import pytest
from pydantic import ValidationError

from model import zoo
from tests.viz.lessons.test_shipped_lessons import LIBRARY, PAGES, known_names
from viz.glossary.marking import mark_terms
from viz.glossary.term import Chapter, Term, glossary, read_glossary
from viz.pages.shared.captions_written import scene_of

TERMS = [term for chapter in glossary() for term in chapter.term]
ASKED_FOR = (
    *("patch", "token", "CLS", "query", "key", "value", "head", "layer", "logits", "softmax"),
    *("residual", "attention map", "rollout", "entropy", "position code", "embedding", "mask"),
    *("cross-attention", "projection", "norm", "register", "MLP"),
)


def test_every_term_that_the_pages_lean_on_is_there_once():
    names = [form.lower() for term in TERMS for form in term.forms]
    assert len(names) == len(set(names)), "a word with two meanings"
    assert {name.lower() for name in ASKED_FOR} <= set(names)


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_term_is_one_sentence_and_its_ways_lead_somewhere(term):
    assert not re.search(r"[.!?] ", term.sentence)
    page, _, query = term.open.partition("?")
    assert page in PAGES and {name for name, _ in parse_qsl(query)} <= known_names()
    assert not term.lesson or term.lesson in LIBRARY.lessons


def test_a_beam_ends_with_another_caption_where_the_glossary_says_so():
    term = next(each for each in TERMS if each.name == "beam")
    params = dict(parse_qsl(term.open.partition("?")[2]))
    bundle = zoo.load(params["captioner"])
    image = scene_of(int(params["scene"])).image
    greedy, best = (bundle.caption(image, beams=count) for count in (1, int(params["beams"])))
    assert greedy.words != best.words


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ('sentence = "no capital, no full stop"', "sentence"),
        ('sentence = "A sentence that is long enough."\nopen = "a page"', "open"),
        ('sentence = "A sentence that is long enough."\nopen = "explore"\nseen = 1', "seen"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, entry, why):
    (tmp_path / "a.toml").write_text(f'title = "A"\n[[term]]\nname = "a"\nwhere = "b"\n{entry}')
    with pytest.raises(ValidationError, match=why):
        read_glossary(tmp_path)


# -- in a text ----------------------------------------------------------------------------------

HEAD = Term(
    name="head", also=("heads",), sentence="One of several attentions.", where="x", open="explore"
)
CROSS = HEAD.model_copy(update={"name": "cross-attention", "also": ("cross attention",)})
SMALL = HEAD.model_copy(update={"name": "attention", "also": ()})
CHAPTERS = (Chapter(title="A", term=(HEAD, CROSS, SMALL)),)


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("Heads differ, and a head is one.", ["Heads"]),
        ("A headline is none.", []),
        ("Its cross-attention is attention.", ["cross-attention", "attention"]),
        ("A **head** has a name.", ["head"]),
        ("A *mean head distance* and `head` stay, a head does not.", ["head"]),
        ("In *one head only*.", []),
    ],
)
def test_the_first_mention_of_each_term_is_marked(text, marked):
    parts = mark_terms(text, CHAPTERS)
    assert [part[0] for part in parts if not isinstance(part, str)] == marked
    whole = "".join(part if isinstance(part, str) else part[0] for part in parts)
    assert whole == (text.replace("**", "") if "**" in text else text)

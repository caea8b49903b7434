"""Lessons from files: what they hold, and in which line a mistake stands."""

from html.parser import HTMLParser

import pytest

from viz.lessons.library import open_library, teacher_folder
from viz.lessons.reading import LessonRefused, read_folder, read_lesson
from viz.lessons.sheet import write_sheet

PAGES = {"explore", "models"}
QUESTION = """
[[quiz]]
question = "What is 1 + 1?"
[[quiz.answers]]
text = "2"
right = true
reason = "Two ones."
[[quiz.answers]]
text = "11"
reason = "These are digits."
"""
LESSON = f"""title = "A lesson"
question = "What?"
minutes = 3

[[step]]
title = "First"
text = "Look at **this**."
open = "explore?photo=coffee&head=1"
do = "Choose another head."
done = ["head changed"]
then = "It is another map."

[[step]]
title = "Second"
text = "And now?"
then = "So it is."
[step.guess]
question = "How many?"
options = ["one", "two"]
right = 2
{3 * QUESTION}"""


@pytest.fixture
def write(tmp_path):
    def write_(text=LESSON, name="01-one.toml"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write_


def test_a_lesson_is_read(write):
    lesson = read_lesson(write(), PAGES)
    assert (lesson.name, lesson.minutes, lesson.places) == ("one", 3, 3)
    first, second = lesson.step
    assert (first.page, first.query) == ("explore", "photo=coffee&head=1")
    assert second.guess is not None and second.guess.right == 2 and second.page == ""
    assert [answer.right for answer in lesson.quiz[0].answers] == [True, False]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("minutes = 3", "minutes = 0", 3, "minutes: Input should be greater"),
        ("minutes = 3", "minutes =", 3, "This is no TOML"),
        ('title = "Second"', "title = 2", 14, "step.2.title: Input should be a valid string"),
        ('title = "Second"', 'title = "Second"\nthem = "x"', 15, "step.2.them: Extra inputs"),
        ("right = 2", "right = 3", 17, "right is 3, but there are 2 options"),
        ('"head changed"', '"head is 3"', 10, "'head is 3' is no condition"),
        (
            'open = "explore?',
            'open = "nowhere?',
            8,
            "There is no page 'nowhere'; there are",
        ),
        ('then = "It is another map."\n', "", 5, "then is missing"),
        ("right = true", "right = false", 22, "0 answers are right"),
        ('title = "A lesson"', 'name = "x"\ntitle = "A lesson"', 1, "name comes from the file"),
    ],
)
def test_a_mistake_is_a_sentence_with_its_line(write, old, new, line, words):
    with pytest.raises(LessonRefused) as refused:
        read_lesson(write(LESSON.replace(old, new, 1)), PAGES)
    mistake = refused.value.mistakes[0]
    assert words in mistake.sentence
    assert mistake.line == line and str(mistake).startswith(f"01-one.toml, line {line}: ")


def test_too_few_questions_and_files_that_are_no_text(write, tmp_path):
    with pytest.raises(LessonRefused, match="a lesson ends with 3 to 5 questions; quiz has 2"):
        read_lesson(write(LESSON.replace(QUESTION, "", 1)), PAGES)
    (tmp_path / "02-two.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(LessonRefused, match="cannot be read"):
        read_lesson(tmp_path / "02-two.toml", PAGES)
    with pytest.raises(LessonRefused, match="too large"):
        read_lesson(write("#" * 300_000), PAGES)


def test_a_folder_keeps_what_is_right(write, tmp_path):
    write(name="02-right.toml")
    write("title =", name="01-wrong.toml")
    write(name="03-right.toml")
    lessons, mistakes = read_folder(tmp_path, PAGES)
    assert list(lessons) == ["right"]
    assert [each.file for each in mistakes] == ["01-wrong.toml", "03-right.toml"]
    assert "no such folder" in str(read_folder(tmp_path / "none", PAGES)[1][0])
    (tmp_path / "empty").mkdir()
    assert "ends in .toml" in str(read_folder(tmp_path / "empty", PAGES)[1][0])


def test_a_teachers_lesson_takes_the_place_of_a_shipped_one(write, tmp_path):
    write(name="01-patches.toml")
    write(name="02-my-own.toml")
    library = open_library(tmp_path, PAGES)
    assert library.lessons["patches"].title == "A lesson"
    assert list(library.lessons)[-1] == "my-own"
    assert teacher_folder([], {"SACCADE_LESSONS": "there"}).name == "there"
    assert teacher_folder([], {}) is None


class _Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def test_the_sheet_asks_first_and_answers_on_a_page_of_its_own(write):
    hostile = LESSON.replace("Look at **this**.", "Look.").replace(
        "Choose another head.", "Choose <script>alert(1)</script> **it**."
    )
    sheet = write_sheet(read_lesson(write(hostile), PAGES))
    page = _Text()
    page.feed(sheet)
    assert "script" not in page.tags and "b" in page.tags
    text = "".join(page.text)
    assert "Choose <script>alert(1)</script> it." in text
    asked, answered = text.split("Answers: A lesson")
    assert "What is 1 + 1?" in asked and "Two ones." not in asked and "Two ones." in answered

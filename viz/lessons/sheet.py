"""Write a lesson as a sheet of paper for the class: one HTML file, made for printing."""

import re
from collections.abc import Sequence
from html import escape
from string import Template

from viz.lessons.lesson import Lesson, LessonStep, QuizQuestion

_PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>$title</title>
<style>
  @page { margin: 18mm; }
  body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; font: 11pt/1.45 sans-serif; }
  body { color: #111; background: #fff; }
  h1 { font-size: 20pt; margin: 0; }
  h2 { font-size: 13pt; margin: 1.4em 0 0.3em; }
  li { margin-bottom: 0.9em; break-inside: avoid; }
  ul.choices { list-style: none; padding: 0; margin: 0.3em 0; }
  ul.choices li { margin: 0 0 0.15em; }
  ul.choices li::before { content: "☐ "; }
  .line { border-bottom: 1px solid #999; height: 1.9em; }
  .answers { break-before: page; }
  .who { display: flex; gap: 2rem; margin: 0.8em 0; }
  .who span { flex: 1; border-bottom: 1px solid #999; padding-top: 1em; }
</style>
</head>
<body>
<h1>$title</h1>
<p>$question</p>
<div class="who"><span>Name</span><span>Date</span></div>
<h2>On the screen</h2>
<p>Open Saccade, choose Lessons, and then “$title”.</p>
<ol>$steps</ol>
<h2>Questions</h2>
<ol>$questions</ol>
<section class="answers">
<h2>Answers: $title</h2>
<ol>$explanations</ol>
<ol>$answers</ol>
</section>
</body>
</html>
"""
)
_BOLD, _ITALIC, _CODE = (
    (re.compile(r"\*\*([^*]+)\*\*"), r"<b>\1</b>"),
    (re.compile(r"\*([^*\s][^*]*)\*"), r"<i>\1</i>"),
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
)


def write_sheet(lesson: Lesson) -> str:
    """Write the sheet of a lesson: what to do, the questions, and on a page apart the answers."""
    asked = [step for step in lesson.step if step.do or step.guess]
    return _PAGE.substitute(
        title=_marked(lesson.title),
        question=_marked(lesson.question),
        steps="".join(map(_step, asked)),
        questions="".join(map(_question, lesson.quiz)),
        explanations="".join(f"<li>{_marked(step.then)}</li>" for step in asked),
        answers="".join(map(_answer, lesson.quiz)),
    )


def _step(step: LessonStep) -> str:
    parts = [f"<li><b>{_marked(step.title)}.</b> {_marked(step.do)}"]
    if step.guess:
        parts += [f"<div>{_marked(step.guess.question)}</div>", _choices(step.guess.options)]
    return "".join([*parts, '<div class="line"></div></li>'])


def _question(question: QuizQuestion) -> str:
    choices = _choices([answer.text for answer in question.answers])
    return f"<li>{_marked(question.question)}{choices}</li>"


def _answer(question: QuizQuestion) -> str:
    right = next(answer for answer in question.answers if answer.right)
    return f"<li><b>{_marked(right.text)}</b> {_marked(right.reason)}</li>"


def _choices(options: Sequence[str]) -> str:
    return f'<ul class="choices">{"".join(f"<li>{_marked(each)}</li>" for each in options)}</ul>'


def _marked(text: str) -> str:
    """Escape a text, and set its **bold**, *italic* and `code`."""
    text = escape(text)
    for pattern, element in (_BOLD, _ITALIC, _CODE):
        text = pattern.sub(element, text)
    return text

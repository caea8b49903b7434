"""A lesson: its steps, its quiz, and what its teacher should know.

A lesson is plain data, so a teacher can write one: see ``docs/lessons.md``. A step opens a view
of a page by its address, asks for something to do or to guess, and then explains.
"""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Short = Annotated[str, Field(min_length=1, max_length=120)]
Sentences = Annotated[str, Field(min_length=1, max_length=520)]
Kind = Literal["lesson", "tour"]

CONDITION = re.compile(r"^(?P<name>[a-z_]+)(?:(?P<sign>!?=)(?P<value>.*)| (?P<changed>changed))$")
"""``head=4``, ``from!=cls`` or ``head changed``, about the entries of the address."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Guess(_Part):
    """Something to guess before the explanation is shown; `right` counts the options from one."""

    question: Short
    options: tuple[Short, ...] = Field(min_length=2, max_length=5)
    right: int = Field(ge=1)

    @model_validator(mode="after")
    def _right_is_an_option(self) -> "Guess":
        if self.right > len(self.options):
            raise ValueError(f"right is {self.right}, but there are {len(self.options)} options")
        return self


class LessonStep(_Part):
    """A view of a page, and what to do or to guess there.

    Attributes:
        text: a sentence or two, shown first.
        open: the page and the view, ``"explore?photo=coffee&head=3"``; empty: what is shown stays.
        do: what to do, in one sentence.
        done: conditions on the address that say when it was done; all must hold.
        then: the explanation, shown after it was done or guessed.
    """

    title: Short
    text: Sentences
    open: str = ""
    do: str = Field(default="", max_length=240)
    done: tuple[str, ...] = ()
    guess: Guess | None = None
    then: str = Field(default="", max_length=720)

    @field_validator("done")
    @classmethod
    def _are_conditions(cls, done: tuple[str, ...]) -> tuple[str, ...]:
        for condition in done:
            if not CONDITION.match(condition):
                raise ValueError(
                    f"{condition!r} is no condition; write head=4, from!=cls or head changed"
                )
        return done

    @model_validator(mode="after")
    def _belongs_together(self) -> "LessonStep":
        if self.done and not self.do:
            raise ValueError("done says when something was done, but do does not say what")
        if (self.do or self.guess) and not self.then:
            raise ValueError("then is missing: explain what was done or guessed")
        return self

    @property
    def page(self) -> str:
        """The page that the step opens, as an address names it; empty: it opens none."""
        return self.open.partition("?")[0]

    @property
    def query(self) -> str:
        """The entries of the address that the step opens."""
        return self.open.partition("?")[2]


class QuizAnswer(_Part):
    """One answer of a question, and why it is right or wrong."""

    text: Short
    reason: Sentences
    right: bool = False


class QuizQuestion(_Part):
    """A question of the quiz; one of its answers is right."""

    question: Sentences
    answers: tuple[QuizAnswer, ...] = Field(min_length=2, max_length=5)

    @model_validator(mode="after")
    def _one_is_right(self) -> "QuizQuestion":
        right = sum(answer.right for answer in self.answers)
        if right != 1:
            raise ValueError(f"{right} answers are right; mark one with right = true")
        return self


class Teacher(_Part):
    """Notes for the teacher: what to show, and what students usually get wrong."""

    show: tuple[Sentences, ...] = Field(min_length=1)
    misconceptions: tuple[Sentences, ...] = ()


class Lesson(_Part):
    """A lesson.

    Attributes:
        name: as an address names it: the file's name without number and ending.
        question: what somebody can answer afterwards.
        minutes: how long it takes in class.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")
    title: Short
    question: Short
    minutes: int = Field(ge=1, le=60)
    kind: Kind = "lesson"
    step: tuple[LessonStep, ...] = Field(min_length=1, max_length=12)
    quiz: tuple[QuizQuestion, ...] = Field(default=(), max_length=5)
    teacher: Teacher | None = None

    @model_validator(mode="after")
    def _has_a_quiz(self) -> "Lesson":
        if self.kind == "lesson" and len(self.quiz) < 3:
            raise ValueError(f"a lesson ends with 3 to 5 questions; quiz has {len(self.quiz)}")
        return self

    @property
    def places(self) -> int:
        """How many places there are to go to: the steps, and the quiz where there is one."""
        return len(self.step) + bool(self.quiz)

    @property
    def asked(self) -> int:
        """How much is asked: the steps with something to guess or to do, and the questions.

        What is to be done counts where the lesson notices that it was done.
        """
        return sum(bool(step.guess or step.done) for step in self.step) + len(self.quiz)

"""Questions to the reader, with an answer that was run for every option, the wrong ones too.

    /// question | Predict: what is the sum of three tenths?
    Text, and blocks that the options need.

    //// option | Exactly one
    A text, and at least one block with exec="on" that shows something.
    ////
    //// right | Less than one
    ..
    ////
    ///

Each option is a native `details`. It needs no script, opens with the keyboard without choosing on
the way as radio buttons do, tells a screen reader whether it is open, is found by the search of the
browser, and can be printed open. Options are not exclusive: to compare a wrong answer with the
right one is half of the use, and nothing above the reader's finger ever folds away.
"""

from __future__ import annotations

from typing import Any, ClassVar
from xml.etree.ElementTree import Element, SubElement

from _kit.page import page_of
from _kit.slashes import (
    STASHED,
    Declared,
    Outline,
    Slashes,
    SlashesExtension,
)

WORDS = "Predict", "Check yourself"  # what may stand before the question


class Question(Slashes):
    """A question with its options."""

    NAME = "question"

    @staticmethod
    def check(outline: Outline, block: Declared) -> None:
        """Raise a PageError for too few options, none or two right ones, or text behind them."""
        right = [option for option in block.inner if option.name == "right"]
        if len(block.inner) < 2:  # noqa: PLR2004 (one option leaves no choice)
            what = f"a question must have two options or more; it has {len(block.inner)}."
            raise outline.error(block, what, "Write //// option | and the answer.")
        if len(right) != 1:
            what = f"a question must have one right option; it has {len(right)}."
            remedy = "Write //// right | for the right one, and //// option | for the others."
            raise outline.error(right[-1] if right else block, what, remedy)
        behind = [*block.prose, *(fence.line for fence in block.fences)]
        if late := [line for line in behind if line > block.inner[0].line]:
            what = f"what stands behind an option would give the answer away; got line {late[0]}."
            remedy = "Put it before the first option, into one, or behind the question."
            raise outline.error(block, what, remedy)

    def build(self, parent: Element) -> Element:
        """Return the element that the options go into, and note the question."""
        page, block = page_of(self.md), self.declared
        note = {"line": block.line, "title": self.argument, "options": len(block.inner)}
        page.record.setdefault("questions", []).append(note)
        word, _, title = self.argument.partition(": ")
        kind, title = (word, title) if word in WORDS else ("Question", self.argument)
        return self.headed(parent, kind, "pick one, all were run.", title)


class Option(Slashes):
    """An answer that can be chosen, and what the run says to it."""

    NAME = "option"
    INSIDE = "question"
    VERDICT = "Not this."

    @staticmethod
    def check(outline: Outline, block: Declared) -> None:
        """Raise a PageError for an option that runs nothing."""
        if not any(fence.executes == "on" for fence in block.fences):
            remedy = 'Put a ```python exec="on" into it that shows what this answer would need.'
            raise outline.error(block, "an option must run a block; it runs none.", remedy)

    def build(self, parent: Element) -> Element:
        """Return the element of the option, closed."""
        details = SubElement(parent, "details", {"class": "option"})
        SubElement(details, "summary").text = self.argument
        SubElement(details, "div", {"class": f"answer {self.NAME}"})
        return details

    def on_add(self, element: Element) -> Element:
        """Return where what the option holds goes to."""
        return element[1]

    def finish(self, element: Element) -> None:
        """Put the verdict before the text.

        Raises:
            PageError: If no run shows anything.
        """
        if not any('<div class="run">' in html for html in self.stashed(element)):
            what = "an option must show a result; its blocks show none."
            remedy = 'Print something, or take out source="none" and assert in sight.'
            raise self.error(what, remedy)
        answer = element[1]
        if answer[0].tag != "p" or STASHED.search(answer[0].text or ""):
            answer.insert(0, Element("p"))
        text, verdict = answer[0], Element("strong", {"class": "verdict"})
        verdict.text, verdict.tail, text.text = self.VERDICT, f" {text.text or ''}", None
        text.insert(0, verdict)


class Right(Option):
    """The right one of the options. Until it is chosen it looks like the others."""

    NAME = "right"
    VERDICT = "Right."


class QuestionExtension(SlashesExtension):
    """Makes questions known."""

    KINDS: ClassVar[list[type[Slashes]]] = [Question, Option, Right]


def makeExtension(**kwargs: Any) -> QuestionExtension:  # noqa: N802 (Python-Markdown's name)
    """Return the extension, for Python-Markdown."""
    return QuestionExtension(**kwargs)

"""The parts of a page that explains something: why each is there, and what is said without it.

tests/site/test_anatomy.py looks for them in the built pages, and a page of the site shows them.
"""

from __future__ import annotations

from dataclasses import dataclass

WORDS = 900, 1600  # of a page, from the least to the most
SENTENCE = 15  # words, of the median sentence at the most
BELITTLING = "simply", "obviously", "trivially", "of course", "needless to say"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a page."""

    must: str  # what must hold
    remedy: str

    def says(self, page: str, found: str) -> str:
        """Return what is said of a page without it.

        Args:
            page: The page below docs/, without its ending.
            found: What was found instead.
        """
        return f"docs/{page}.md:1: {self.must}; {found}. To do: {self.remedy}"


PARTS = {
    "title": Part(
        "the title must be the question that brings the reader here",
        "Write it as a question, with its mark.",
    ),
    "answer": Part(
        "the first paragraph must be the answer, all of it in bold",
        "Put the answer below the title, between ** and **.",
    ),
    "checked": Part(
        "the answer must hold a claim",
        'Write **[The answer.]{claim="name-of-the-page"}** and a check with that id.',
    ),
    "goals": Part(
        "a page must say what its reader will be able to do",
        "Write *You will be able to* and a list below the answer.",
    ),
    "needs": Part(
        "a page must say what it builds on",
        "Write *Needs:* and a link to each page that the reader should know.",
    ),
    "prediction": Part(
        "the first question must be a prediction",
        "Write /// question | Predict: What is …? above the first section.",
    ),
    "questions": Part(
        "two questions or more must let readers check themselves",
        "Write /// question | Check yourself: … at the end of a section.",
    ),
    "figure": Part(
        "a page must have a figure",
        'Write a block with result="figure" and an id, or a slider.',
    ),
    "exercise": Part(
        "a page must have an exercise",
        "Write /// exercise | … with a starter, a check and a solution.",
    ),
    "turn": Part(
        "a section must be called “Your turn”",
        "Write ## Your turn { #your-turn } above the exercise.",
    ),
    "sure": Part(
        "a section must be called “How sure is this?”",
        "Write ## How sure is this? { #sure } and a table of claims and how we know.",
    ),
    "short": Part(
        "a section must be called “In short”",
        "Write ## In short { #in-short } and two to four lines to remember.",
    ),
    "length": Part(
        f"a page must have {WORDS[0]} to {WORDS[1]} words",
        "Leave out what another page says, or make two pages; or say more.",
    ),
    "sentences": Part(
        f"the median sentence must have at most {SENTENCE} words",
        "Cut the long ones in two.",
    ),
    "belittling": Part(
        "no word may talk down to the reader",
        "Leave the word out; the sentence says the same.",
    ),
    "example": Part(
        "a page must keep nothing of the example that it was made of",
        "Write your own words there, or take them out.",
    ),
    "next": Part(
        "the last paragraph must lead to the page that comes next in the menu",
        "Write Next: and a link to that page.",
    ),
}

"""Style sheets as a list of rules: read, reduced to what a site uses, and written again.

A theme brings styles for everything that any site might show. A rule stays here if each class that
it asks for is known, an attribute's value is one that occurs, and a custom property is one that is
read somewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    r"(?P<comment>/\*.*?\*/)|(?P<string>\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*')"
    r"|(?P<url>url\([^\"')]*\))|(?P<escape>\\.)|(?P<space>\s+)|(?P<mark>[{};,()])|(?P<other>.)",
    re.DOTALL,
)
_CLASS = re.compile(r"\.((?:[\w-]|\\.)+)")
_ATTRIBUTE = re.compile(r"\[([\w-]+)=[\"']?([^\"'\]]*)[\"']?\]")
_ANY_ATTRIBUTE = re.compile(r"\[[^\]]*\]")
_ELEMENT = re.compile(r"(?:^|[\s>+~])([a-z][a-z0-9-]*)")
_FUNCTION = re.compile(r":[\w-]+\([^()]*\)")
_READ = re.compile(r"var\(\s*(--[\w-]+)")
_GROUPS = ("@media", "@supports")


@dataclass(frozen=True)
class Rule:
    """A selector or at-rule, and what stands in its braces."""

    head: str
    body: str | list[Rule]

    def __str__(self) -> str:
        """Return the rule as CSS."""
        body = self.body if isinstance(self.body, str) else "".join(map(str, self.body))
        return f"{self.head}{{{body}}}"


def read(text: str) -> list[Rule]:
    """Read a style sheet; comments and statements without braces (`@charset`) are left out.

    Args:
        text: The style sheet.
    """
    rules, start, depth, opened = [], 0, 0, 0
    tight = "".join(_tight(text))
    for found in _TOKEN.finditer(tight):
        mark = found["mark"]
        if mark == "{":
            depth += 1
            opened = found.start() if depth == 1 else opened
        elif mark == "}":
            depth -= 1
            if depth == 0:
                head, body = tight[start:opened].strip(), tight[opened + 1 : found.start()].strip()
                rules.append(Rule(head, read(body) if head.startswith(_GROUPS) else body))
                start = found.end()
        elif mark == ";" and depth == 0:
            start = found.end()
    return rules


def _tight(text: str) -> Iterator[str]:
    """Yield the parts of a style sheet without comments and with single spaces."""
    for found in _TOKEN.finditer(text):
        if found["space"]:
            yield " "
        elif not found["comment"]:
            yield found[0]


def split(text: str, mark: str) -> list[str]:
    """Split selectors at their commas, or declarations at their semicolons.

    Args:
        text: A list of selectors, or the inside of a rule.
        mark: What to split at; not where it stands in brackets, strings or addresses.
    """
    parts, depth = [""], 0
    for found in _TOKEN.finditer(text):
        depth += (found[0] == "(") - (found[0] == ")")
        if found["mark"] == mark and depth == 0:
            parts.append("")
        else:
            parts[-1] += found[0]
    return [part.strip() for part in parts if part.strip()]


def reduce(rules: list[Rule], needs: Callable[[str], bool]) -> Iterator[Rule]:
    """Yield the rules that a site needs.

    Args:
        rules: Rules.
        needs: Whether a selector can match anything in the site.
    """
    for rule in rules:
        if not isinstance(rule.body, str):
            if body := list(reduce(rule.body, needs)):
                yield Rule(rule.head, body)
        elif rule.head.startswith("@"):
            yield rule
        elif selectors := [one for one in split(rule.head, ",") if needs(one)]:
            yield Rule(",".join(selectors), rule.body)


def without_unread(rules: list[Rule], elsewhere: str) -> list[Rule]:
    """Return the rules without custom properties that nothing reads.

    Args:
        rules: Rules.
        elsewhere: Scripts and pages, which may read some.
    """
    text = "".join(map(str, rules))
    known = set(_READ.findall(text)) | set(re.findall(r"--[\w-]+", elsewhere))

    def keep(rule: Rule) -> Rule:
        if not isinstance(rule.body, str):
            return Rule(rule.head, [kept for each in rule.body if (kept := keep(each)).body])
        declarations = split(rule.body, ";") if "--" in rule.body else [rule.body]
        stays = [d for d in declarations if d[:2] != "--" or d.split(":")[0].strip() in known]
        return Rule(rule.head, ";".join(stays))

    return [kept for rule in rules if (kept := keep(rule)).body]


def asks_for(selector: str) -> tuple[set[str], set[str], set[tuple[str, str]]]:
    """Return the elements, classes and attributes without which a selector matches nothing.

    Args:
        selector: One selector. What stands in `:not(..)`, `:is(..)` and the like is no condition.
    """
    while (shorter := _FUNCTION.sub("", selector)) != selector:
        selector = shorter
    names = _ANY_ATTRIBUTE.sub("", selector)
    classes = {name.replace("\\", "") for name in _CLASS.findall(names)}
    return set(_ELEMENT.findall(names)), classes, set(_ATTRIBUTE.findall(selector))

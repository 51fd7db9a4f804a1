"""Questions and exercises: every option and every starter was run, and no slip is published."""

import contextlib
import io
import json
import shutil

import matplotlib.pyplot as plt
import pytest
from bs4 import BeautifulSoup
from building import ROOT, Site, convert

from _kit.page import declared_blocks

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


def browser(test):
    """Mark a test that needs Chromium."""
    skip = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
    return pytest.mark.browser(skip(test))


PAGES = [
    path.relative_to(ROOT / "docs").as_posix()
    for path in sorted((ROOT / "docs").rglob("*.md"))
    if "/// exercise" in path.read_text(encoding="utf-8")
]

QUESTION = """# Page

/// question | Predict: what is $x^2$ for `x = 3`?
It is a *number*.

//// option | 6
Doubled.

```python exec="on"
print(3 + 3)
```
////
//// right | 9
```python exec="on"
x = 3
print(x * x)
```

Squared.
////
//// option | An error
It takes *more*:

```python exec="on" raises="TypeError"
"3" ** 2
```
////
///

After.
"""

EXERCISE = """# Page

```python exec="on"
import numpy as np

numbers = np.arange(3.0)
rng = np.random.default_rng(0)
def total():
    return sum(numbers)
```

/// exercise | Write `double`.
Without a loop.

```python exec="starter"
numbers = None
def double(x):
    ...  # your code
```

Any array will do.

```python exec="check"
draw = rng.normal()
assert double(np.ones(2)) is not None
```

```python exec="solution"
def double(x):
    return 2 * x
print("doubled")
```

It is *multiplied*.

```python exec="on"
print(double(21))
```
///

```python exec="on"
print(total(), draw == np.random.default_rng(0).normal())
```
"""

# what the author did: the page; what to replace in it, by what; place; what it says; what it advises
SLIPS = {
    "no right option": (
        QUESTION, "//// right", "//// option", "docs/index.md:3: question: ",
        "a question must have one right option; it has 0.", "Write //// right |",
    ),
    "two right options": (
        QUESTION, "//// option | An", "//// right | An", "docs/index.md:21: right: ",
        "a question must have one right option; it has 2.", "//// option | for the others.",
    ),
    "one option": (
        '/// question | Which?\n//// right | A\n```python exec="on"\nprint(1)\n```\n////\n///\n',
        "", "", "docs/index.md:1: question: ",
        "a question must have two options or more; it has 1.", "Write //// option |",
    ),
    "an option that runs nothing": (
        QUESTION, 'exec="on"\nprint(3 + 3)', 'exec="off"\nprint(3 + 3)', "docs/index.md:6: option: ",
        "an option must run a block; it runs none.", 'exec="on"',
    ),
    "an option that only says so": (
        QUESTION, 'exec="on"\nprint(3 + 3)', "title='exec=\"on\"' exec=\"off\"\nprint(3 + 3)",
        "docs/index.md:6: option: ", "an option must run a block; it runs none.", 'exec="on"',
    ),
    "an option that shows no result": (
        QUESTION, "print(3 + 3)", "six = 3 + 3", "docs/index.md:6: option: ",
        "an option must show a result; its blocks show none.", "Print something",
    ),
    "a question without its title": (
        QUESTION, "/// question | Predict: what is $x^2$ for `x = 3`?", "/// question",
        "docs/index.md:3: question: ", "the block must have a title.", "/// question |",
    ),
    "text behind the options": (
        QUESTION, "////\n///\n", "////\nIt was B.\n///\n", "docs/index.md:3: question: ",
        "what stands behind an option would give the answer away; got line 28.", "Put it before",
    ),
    "an option outside a question": (
        QUESTION, "/// question | Predict", "Text", "docs/index.md:6: option: ",
        "the block must stand in a block 'question'; it stands in none.", "Put it into one.",
    ),
    "an option that is not ended": (
        QUESTION, "```\n////\n//// right", "```\n//// right", "docs/index.md:12: right: ",
        "it stands in the option of line 6.", "End the option of line 6 before, with ////.",
    ),
    "a question in a question": (
        "/// question | Which?\n//// question | Which?\n////\n///\n", "", "", "docs/index.md:2: question",
        "the block must not stand in another block; it stands in the question of line 1.", "End",
    ),
    "too few slashes": (
        QUESTION, "//// right", "/// right", "docs/index.md:13: right: ",
        "a block in a block must have more slashes; the question of line 3 has 3.", "Write //// right",
    ),
    "a question that is never ended": (
        QUESTION, "////\n///\n", "////\n", "docs/index.md:3: question: ",
        "the block is never ended.", "Write /// behind it.",
    ),
    "an end of nothing": (
        "Text.\n\n///\n", "", "", "docs/index.md:3: ",
        "a line of slashes must open a block or end the one that is open; got '///'.", "Write ///",
    ),
    "an end with other slashes": (
        QUESTION, "////\n///\n", "/////\n///\n", "docs/index.md:27: ",
        "or end the one that is open; got '/////'.", "end it with ////",
    ),
    "a misspelt block": (
        QUESTION, "/// question", "/// qestion", "docs/index.md:3: qestion: ",
        "there is no block 'qestion'.", "Did you mean 'question'?",
    ),
    "a capital": (
        QUESTION, "/// question", "/// Question", "docs/index.md:3: Question: ",
        "there is no block 'Question'.", "Did you mean 'question'?",
    ),
    "two slashes": (
        "// question | Which?\n", "", "", "docs/index.md:1: ",
        "a line of slashes must open a block or end the one that is open; got '// question | Which?'.",
        "Write /// at the margin",
    ),
    "an indented question": (
        "- item\n\n    /// question | Which?\n", "", "", "docs/index.md:3: ",
        "a line of slashes must open a block", "Write /// at the margin",
    ),
    "a question behind a bullet": (
        "- /// question | Which?\n\nText.\n", "", "", "docs/index.md: ",
        "Markdown does not read the lines of slashes as they stand there.", "Let no list",
    ),
    "an option of pymdownx": (
        QUESTION, "`x = 3`?\n", "`x = 3`?\n    nosuch: true\n", "docs/index.md:3: question: ",
        "Markdown does not read the lines of slashes as they stand there.", "nor options follow it",
    ),
    "a question in a comment": (
        f"<!--\n\n{QUESTION}\n-->\n", "", "", "docs/index.md:5: question: ",
        "Markdown does not read the lines of slashes as they stand there.", "HTML",
    ),
    "a slip in an option": (
        QUESTION, "print(3 + 3)", "assert 3 + 3 == 9", 'docs/index.md:9: block 1 (```python exec="on")',
        "line 10 raised AssertionError\n    assert 3 + 3 == 9", "Find out which is wrong",
    ),
    "an option in a printed page": (
        '```python exec="on" result="markdown"\nprint("/// question | Which?")\n```\n', "", "",
        "(text that is not a page):1: question: ", "the block is never ended.", "Write ///",
    ),
    "no starter": (
        EXERCISE, 'exec="starter"', 'exec="off"', "docs/index.md:12: exercise: ",
        "an exercise must have one block starter; it has off, check, solution, on.", 'Write one ```python exec="starter".',
    ),
    "no check": (
        EXERCISE, 'exec="check"', 'exec="on"', "docs/index.md:12: exercise: ",
        "an exercise must have one block check; it has starter, on, solution, on.", 'Write one ```python exec="check".',
    ),
    "no solution": (
        EXERCISE, 'exec="solution"', 'exec="on"', "docs/index.md:12: exercise: ",
        "an exercise must have one block solution; it has starter, check, on, on.", 'Write one ```python exec="solution".',
    ),
    "two starters": (
        EXERCISE, 'python exec="on"\nprint(double(21))', 'python exec="starter"\nx = 1',
        "docs/index.md:12: exercise: ", "an exercise must have one block starter; it has starter, check, solution, starter.", "Write one",
    ),
    "parts in disorder": (
        EXERCISE, "Any array will do.", '```python exec="on"\nprint(1)\n```', "docs/index.md:12: exercise: ",
        "the blocks must follow as starter, check, solution; got starter, on, check, solution, on.",
        "Put them into this order",
    ),
    "parts without an empty line between": (
        EXERCISE, "not None\n```\n\n", "not None\n```\n", "docs/index.md:12: exercise: ",
        "a fence in the block must stand apart; one has text or a fence beside it.",
        "Put an empty line before and behind each fence.",
    ),
    "the check of a claim in an exercise": (
        '[One.]{claim="one"}\n' + EXERCISE, "is not None", "is not None  # claim one: it is",
        "docs/index.md:24: block 3 (", "a block of an exercise cannot hold the check of a claim",
        'Put the check into a block with exec="on".',
    ),
    "a misspelt part": (
        EXERCISE, 'exec="starter"', 'exec="strater"', "docs/index.md:12: exercise: ",
        "must have one block starter; it has strater, check, solution, on.", "Write one",
    ),
    "a part outside an exercise": (
        'Text.\n\n```python exec="solution"\nx = 1\n```\n', "", "", "docs/index.md:3: block 1 (",
        'a block with exec="solution" must stand in an exercise.', "Put /// exercise |",
    ),
    "a starter that passes": (
        EXERCISE, "    ...  # your code", "    return 0", "docs/index.md:15: block 2 (",
        "the starter passes the check of line 23: nothing is left to do.", "Leave more to the reader",
    ),
    "a starter with a misspelt name": (
        EXERCISE, "numbers = None", "nubmers.sum()", "docs/index.md:15: block 2 (",
        "the starter must fail because it is not complete, but\n", "Let it fail with an assertion",
    ),
    "a starter that Python cannot read": (
        EXERCISE, "    ...  # your code", "    return = 1", "docs/index.md:15: block 2 (",
        "Python cannot read line 18: invalid syntax.", "Let it fail with an assertion",
    ),
    "a starter with other arguments": (
        EXERCISE, "def double(x):\n    ...", "def double():\n    ...", "docs/index.md:15: block 2 (",
        "raised TypeError: double() takes 0 positional arguments but 1 was given",
        "Let it fail with an assertion",
    ),
    "a starter that warns": (
        EXERCISE, "    ...  # your code", "    return np.log(0 * x)", "docs/index.md:15: block 2 (",
        "RuntimeWarning: divide by zero", "Let it fail with an assertion",
    ),
    "a starter that exits": (
        EXERCISE, "    ...  # your code", "    raise SystemExit(0)", "docs/index.md:15: block 2 (",
        "raised SystemExit: 0", "Let it fail with an assertion",
    ),
    "a solution that fails": (
        EXERCISE, "return 2 * x", "return None", "docs/index.md:28: block 4 (",
        "the solution must pass the check of line 23, but\n"
        'docs/index.md:23: block 3 (```python exec="check"): line 25 raised AssertionError\n'
        "    assert double(np.ones(2)) is not None", "Find out which is wrong, the solution or its check.",
    ),
    "a solution that fails a comparison": (
        EXERCISE, "double(np.ones(2)) is not None", "double(3) == 7", "docs/index.md:28: block 4 (",
        "line 25 raised AssertionError: observed 6, required = 7\n    assert double(3) == 7",
        "Find out which is wrong, the solution or its check.",
    ),
    "a solution that cannot run": (
        EXERCISE, 'print("doubled")', "1 / 0", "docs/index.md:28: block 4 (",
        "line 31 raised ZeroDivisionError", "Mend the code",
    ),
    "a check in another language": (
        '```bash exec="check"\necho\n```\n', "", "", "docs/index.md:1: block 1 (",
        "only Python in a page can run.", 'Take out exec="check".',
    ),
    "a misspelt box": (
        'Text.\n\n!!! warnng "Mind"\n\n    Text.\n', "", "", "docs/index.md:3: ",
        "there is no box 'warnng'.", "Did you mean 'warning'?",
    ),
    "a misspelt folded box in a list": (
        '- item\n\n    ???+ succes "Mind"\n\n        Text.\n', "", "", "docs/index.md:3: ",
        "there is no box 'succes'.", "Did you mean 'success'?",
    ),
    "a box whose title is not closed": (
        '??? note "Mind\n\n    Text.\n', "", "", "docs/index.md:1: ",
        "a box must begin with its marks, a kind and a title; got '??? note \"Mind'.", "Write !!! or ???",
    ),
    "a box with two marks": (
        '!! note "Mind"\n\n    Text.\n', "", "", "docs/index.md:1: ",
        "a box must begin with its marks, a kind and a title; got '!! note \"Mind\"'.", "Write !!! or ???",
    ),
    "a box of two kinds": (
        '!!! note inline "Mind"\n\n    Text.\n', "", "", "docs/index.md:1: ",
        "a box must begin with its marks, a kind and a title", "Write !!! or ???",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Return what each slip is told, from one process that converts all the pages."""
    site = Site(tmp_path_factory.mktemp("slips"))
    for number, (page, old, new, *_) in enumerate(SLIPS.values()):
        assert page.count(old) == 1 or not old
        site.write(page.replace(old, new) if old else page, f"{number}.md")
    names = [f"docs/{number}.md" for number in range(len(SLIPS))]
    return dict(zip(SLIPS, convert(site, *names), strict=True))


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_is_told_with_its_place_and_what_to_do(told, slip):
    """A slip of an author is an error that says where, what, and what to write instead."""
    where, what, remedy = SLIPS[slip][3:]
    found, _, to_do = told[slip].partition("\n  To do: ")
    assert where.replace("index", str(list(SLIPS).index(slip))) in found
    assert what.replace("index", str(list(SLIPS).index(slip))) in found
    assert remedy in to_do


@pytest.mark.parametrize("slip", ["no right option", "no solution", "a misspelt box"])
def test_such_a_slip_ends_the_build(site, slip):
    """The error reaches the builder in the mode that swallows most."""
    page, old, new, *_, what, remedy = SLIPS[slip]
    site.write(page.replace(old, new))
    said = site.refusal()
    assert what in said
    assert remedy in said


@pytest.fixture
def question(site):
    """Return the question of a built page."""
    site.write(QUESTION)
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    return BeautifulSoup(site.html(), "html.parser").select_one(".question")


def test_every_option_has_its_verdict_and_its_run(question):
    """The options stand in the order of the source, each with a verdict, a text and a result."""
    assert question.select_one(".ask").get_text() == "what is x2 for x = 3?"
    assert question.select_one(".ask math")
    assert question.select_one(".kind").get_text() == "Predict: pick one, all were run."
    options = question.select("details.option")
    assert [option.summary.get_text() for option in options] == ["6", "9", "An error"]
    verdicts = [option.select_one(".answer > p:first-child .verdict") for option in options]
    assert [verdict.get_text() for verdict in verdicts] == ["Not this.", "Right.", "Not this."]
    assert verdicts[0].parent.get_text() == "Not this. Doubled."
    assert verdicts[2].parent.em.get_text() == "more"
    results = [option.select_one(".run .output").get_text().strip() for option in options]
    assert results[:2] == ["6", "9"]
    assert results[2].startswith("TypeError")


def test_nothing_tells_the_right_option_before_it_is_chosen(question):
    """Closed options are alike but for their words; the verdicts are inside."""
    options = question.select("details.option")
    assert not [option for option in options if option.has_attr("open")]
    assert len({str(option.attrs) + str(option.summary.attrs) for option in options}) == 1
    assert not any(option.summary.select(".verdict") for option in options)


def test_a_question_is_a_group_with_a_name(question):
    """A screen reader reads the question as the name of the group of its options."""
    assert question["role"] == "group"
    assert question.find(id=question["aria-labelledby"]) == question.select_one(".ask")


def test_lists_boxes_and_tables_stand_in_an_option(site):
    """What else Markdown has stays in its option, and the option ends where it says."""
    inside = '- one\n- two\n\n!!! note "N"\n\n    ```python exec="on"\n    print(5)\n    ```\n\n> quoted\n'
    site.write(
        QUESTION.replace("Doubled.\n", inside).replace(
            "It takes *more*:\n", "| a |\n|---|\n| b |\n"
        )
    )
    assert site.build("--strict").returncode == 0
    options = BeautifulSoup(site.html(), "html.parser").select(".question > details.option")
    assert len(options) == 3
    assert options[0].select_one("li").get_text() == "one"
    assert options[0].select_one(".admonition .output").get_text().strip() == "5"
    assert options[0].select_one("blockquote").get_text().strip() == "quoted"
    assert options[2].select_one("td").get_text() == "b"


@pytest.fixture
def exercise(site):
    """Return the article of a built page with an exercise."""
    site.write(EXERCISE)
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    return BeautifulSoup(site.html(), "html.parser").article


def test_an_exercise_shows_starter_and_check_and_folds_the_solution_away(exercise):
    """All from the solution on is folded away, with what solution and check print."""
    box = exercise.select_one(".exercise")
    assert box.select_one(".ask").get_text() == "Write double."
    assert "your code" in box.select_one(":scope > .starter .highlight").get_text()
    assert "is not None" in box.select_one(":scope > .check .highlight").get_text()
    ran = box.select_one(":scope > .check .ran").get_text()
    assert ran == "Both were run: the starter fails with AssertionError, the solution passes."
    solution = box.select_one(":scope > details.solution")
    assert not solution.has_attr("open")
    assert solution == box.find_all(recursive=False)[-1]
    assert "2 * x" in solution.get_text()
    assert "It is multiplied." in solution.get_text()
    assert [output.get_text().strip() for output in solution.select(".output")] == ["doubled", "42"]
    assert "Any array will do." in [p.get_text() for p in box.find_all("p", recursive=False)]


def test_a_starter_leaves_nothing_behind(exercise):
    """Neither names nor drawn numbers of the starter's run reach the page; the solution's do."""
    assert exercise.select(".output")[-1].get_text().strip() == "3.0 True"


def test_a_starter_does_not_change_arrays_of_the_page(site):
    """What a starter writes into an array is undone, also where a function of the page reads it."""
    site.write(EXERCISE.replace("numbers = None", "numbers += 100.0\nassert total() > 300"))
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    html = BeautifulSoup(site.html(), "html.parser")
    assert html.select(".output")[-1].get_text().strip() == "3.0 True"


@pytest.mark.parametrize(
    ("body", "failure"),
    [
        ("raise NotImplementedError", "NotImplementedError"),
        ("return None + x", "TypeError"),
        ("return (...).shape", "AttributeError"),
    ],
)
def test_a_starter_may_fail_in_any_way_that_waits_for_code(site, body, failure):
    """A function without a body, an ellipsis and NotImplementedError are starters."""
    site.write(EXERCISE.replace("...  # your code", body))
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    assert f"the starter fails with <code>{failure}</code>" in site.html()


def test_slashes_in_code_are_code(site):
    """Lines of slashes in a fence, and slashes inside a sentence, mean nothing."""
    site.write(
        "```text\n/// question | Which?\n!!! warnng\n```\n\nOne // two /// three !!! four.\n"
    )
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr


def test_questions_and_exercises_are_in_the_record(site):
    """The page leaves behind its questions, its exercises, and how their starters failed."""
    site.write(QUESTION + EXERCISE.replace("# Page\n", ""))
    (html,) = convert(site, "docs/index.md")
    record = json.loads(BeautifulSoup(html, "html.parser").select(".page-record")[-1].text)
    title = "Predict: what is $x^2$ for `x = 3`?"
    assert record["questions"] == [{"line": 3, "title": title, "options": 3}]
    assert record["exercises"] == [{"line": 44, "starter": "AssertionError"}]
    blocks = {block["line"]: block["error"] for block in record["blocks"]}
    assert len(blocks) == 9  # five to be run, of them one error, and three of the exercise
    assert [error for error in blocks.values() if error][1:] == ["AssertionError"]


@pytest.fixture
def visit(site, chromium):
    """Return a function that opens a page with a question and an exercise, as a browser has it."""
    site.write(QUESTION + EXERCISE.replace("# Page\n", ""))
    assert site.build("--strict").returncode == 0
    contexts = []

    def open_page(**options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.goto(f"file://{site.folder}/site/index.html")
        return page

    yield open_page
    for context in contexts:
        context.close()


@browser
@pytest.mark.parametrize("script", [True, False])
def test_an_answer_is_picked_with_the_keyboard_alone(visit, script):
    """Tab leads from option to option without picking, Enter picks; no script is needed."""
    page = visit(java_script_enabled=script)
    options = page.locator("details.option")
    focused = options.locator("summary:focus-visible")
    options.first.locator("summary").focus()
    page.keyboard.press("Tab")
    assert focused.inner_text() == "9"
    assert page.locator(".verdict:visible").count() == 0
    page.keyboard.press("Enter")
    assert page.locator(".verdict:visible").all_inner_texts() == ["Right."]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert page.locator(".verdict:visible").all_inner_texts() == ["Not this.", "Right."]


@browser
def test_closed_options_look_alike(visit):
    """But for letter and words, the summary of each option is drawn alike."""
    look = """summaries => summaries.map(s => ["", "::before"].map(p => {
      const style = getComputedStyle(s, p);
      return [...style].filter(k => !/content|size|width|height|origin|block|top|bottom/.test(k))
        .map(k => k + style.getPropertyValue(k)).join();
    }).join())"""
    looks = visit().locator("details.option > summary").evaluate_all(look)
    assert len(looks) == 3
    assert len(set(looks)) == 1


@browser
def test_all_answers_are_printed(visit):
    """On paper every option and solution is readable, whether it was opened or not."""
    page = visit(java_script_enabled=False)  # the theme's script would open some as well
    heights = "details => details.map(d => d.lastElementChild.getBoundingClientRect().height)"
    closed = page.locator("details:is(.option, .solution)")
    on_screen = closed.evaluate_all("details => details.map(d => d.getBoundingClientRect().height)")
    page.emulate_media(media="print")
    on_paper = closed.evaluate_all("details => details.map(d => d.getBoundingClientRect().height)")
    assert len(on_paper) == 4
    assert all(paper > screen + 50 for paper, screen in zip(on_paper, on_screen, strict=True))
    assert min(closed.evaluate_all(heights)) > 15


@pytest.mark.about  # the build has run them as well
@pytest.mark.parametrize("name", PAGES)
def test_starters_fail_and_solutions_pass_outside_the_site_too(name, monkeypatch):
    """In the plain order of a page, each starter fails its check and each solution passes it."""
    monkeypatch.setattr(plt, "show", None)
    source, names, part = (ROOT / "docs" / name).read_text(encoding="utf-8"), {"__name__": name}, {}
    for block in declared_blocks(source.split("\n"), 1):
        kind = block.executes
        part[kind] = block.code
        if kind == "check":
            with pytest.raises((AssertionError, NotImplementedError, TypeError, ValueError)):
                run(part["starter"] + "\n" + part["check"], dict(names))
        elif kind == "solution":
            run(part["solution"] + "\n" + part["check"], names)
        elif kind == "on":
            with contextlib.suppress(Exception):  # as declared; the build sees to that
                run(part["on"], names)
    plt.close("all")


def run(code, names):
    """Execute code without showing what it prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, names)

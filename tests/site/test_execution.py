"""A page that would lie is not published: every slip of an author ends the build."""

import os
import re
import shutil

import pytest
from building import ROOT, one_processor

FLAGS = [
    ("--no-strict",),
    ("--no-strict", "--quiet"),
    ("--strict",),
    ("--strict", "--quiet"),
]

# what the author did; the page; where the message points; what it says; what it advises
SLIPS = {
    "a false assertion": (
        '# Page\n\nText.\n\n```python exec="on"\nx = 1\nassert x == 2\n```\n',
        'docs/index.md:5: block 1 (```python exec="on")',
        "line 7 raised AssertionError\n    assert x == 2",
        "Find out which is wrong, the page or the code that it describes.",
    ),
    "an exception": (
        "```python exec=\"on\"\nprint('before')\n1 / 0\n```\n",
        "docs/index.md:1: block 1 (",
        "line 3 raised ZeroDivisionError: division by zero\n    1 / 0\n  It had printed:\n    before",
        'Mend the code, or declare the error with raises="ZeroDivisionError".',
    ),
    "an exit with success": (
        '```python exec="on"\nimport sys\nsys.exit(0)\n```\n',
        "docs/index.md:1: block 1 (",
        "line 3 raised SystemExit: 0",
        "Take out the exit: a page cannot end the build.",
    ),
    "a floating-point warning": (
        '```python exec="on"\nimport numpy as np\nnp.float64(1.0) / np.float64(0.0)\n```\n',
        "docs/index.md:1: block 1 (",
        "line 3 raised RuntimeWarning: divide by zero",
        "Mend what causes the warning; in pages warnings are errors.",
    ),
    "a deprecation": (
        '```python exec="on"\nimport warnings\nwarnings.warn("old", DeprecationWarning)\n```\n',
        "docs/index.md:1: block 1 (",
        "line 3 raised DeprecationWarning: old",
        "Mend what causes the warning; in pages warnings are errors.",
    ),
    "a warning of Python's own reading": (
        '```python exec="on"\nassert (1 > 2, "never")\n```\n',
        "docs/index.md:1: block 1 (",
        "Python cannot read line 2: assertion is always true, perhaps remove parentheses?.",
        "Mend the line.",
    ),
    "options in single quotes": (
        "```python exec='on'\nprint(1)\n```\n",
        "docs/index.md:1: block 1 (",
        "options stand in double quotes.",
        'Write name="value".',
    ),
    "a misspelt language": (
        '```pyhton exec="on"\nprint(1)\n```\n',
        'docs/index.md:1: block 1 (```pyhton exec="on")',
        "there is no language 'pyhton'.",
        "Did you mean 'python'?",
    ),
    "a misspelt option": (
        '```python exec="on" sesion="s"\nprint(1)\n```\n',
        "docs/index.md:1: block 1 (",
        "an executed block has no option 'sesion'.",
        "Choose one of exec, hl_lines, id, linenums, raises, result, source, title.",
    ),
    "a misspelt option of a block that is only shown": (
        '```text titel="s"\nabc\n```\n',
        "docs/index.md:1: block 1 (",
        "a block that is only shown has no option 'titel'.",
        "Did you mean 'title'?",
    ),
    "a misspelt value": (
        '```python exec="on" source="aboev"\nprint(1)\n```\n',
        "docs/index.md:1: block 1 (",
        "source cannot be 'aboev'.",
        "Did you mean 'above'?",
    ),
    "an option of another tool": (
        '```python exec="on" width="abc"\nprint(1)\n```\n',
        "docs/index.md:1: block 1 (",
        "an executed block has no option 'width'.",
        "Choose one of ",
    ),
    "a misspelt exec": (
        '```python exce="on"\nprint(1)\n```\n',
        "docs/index.md:1: block 1 (",
        "a block that is only shown has no option 'exce'.",
        "Did you mean 'exec'?",
    ),
    "no word about exec": (
        "```python\nprint(1)\n```\n",
        "docs/index.md:1: block 1 (```python)",
        "a block of Python must say whether it runs.",
        'Write exec="on" or exec="off" behind python.',
    ),
    "a quote that is not closed": (
        '```python exec="on" title="abc\nprint(1)\n```\n\nText.\n\n```text\nabc\n```\n',
        'docs/index.md:1: block 1 (```python exec="on" title="abc)',
        "every fence must be read as one; Markdown read this one as something else.",
        "close every quote",
    ),
    "a fence that is not closed": (
        'Text.\n\n```python exec="on"\nprint(1)\n',
        "docs/index.md:3: block 1 (",
        "the fence is never closed.",
        "Close it: ``` on a line of its own.",
    ),
    "a fence that is not closed, where it stands in a list": (
        '- item\n\n    ```python exec="on"\n    print(1)\n    ````\n\nText.\n',
        "docs/index.md:3: block 1 (",
        "the fence is never closed.",
        "Close it in line 5 with ```, as it is opened.",
    ),
    "a fence that takes in the next, and a check with it": (
        '[It is so.]{claim="so"}\n\n```python exec="on"\nx = 1\n\n```python exec="on"\n'
        "assert x == 1  # claim so\n```\n",
        "docs/index.md:3: block 1 (",
        "the fence also takes in the one of line 6.",
        "Close it: ``` on a line of its own above line 6.",
    ),
    "a fence that is closed with more backticks, and takes in a part of an exercise": (
        '/// exercise | Do.\n```python exec="starter"\nx = None\n````\n\n```python exec="check"\n'
        'assert x\n```\n\n```python exec="solution"\nx = 1\n```\n///\n',
        "docs/index.md:2: block 1 (",
        "the fence also takes in the one of line 6.",
        "Close it in line 4 with ```, as it is opened.",
    ),
    "a fence that shows another and has no more backticks": (
        "```markdown\n```text\na\n```\n```\n",
        "docs/index.md:1: block 1 (",
        "the fence also takes in the one of line 2.",
        "A fence that shows another needs more backticks than that.",
    ),
    "a fence with attributes in braces": (
        '``` { .python exec="on" .cls }\nprint(1)\n```\n\n```python { exec="on" nosuch="1" }\n1\n```\n',
        "docs/index.md:5: block 2 (",
        "an executed block has no option 'nosuch'.",
        "Choose one of ",
    ),
    "a block of another language that wants to run": (
        '```bash exec="on"\necho 1\n```\n',
        "docs/index.md:1: block 1 (",
        "only Python in a page can run.",
        'Take out exec="on".',
    ),
    "Python that cannot be read": (
        'Text.\n\n```python exec="on"\nx = 1\ny = = 2\n```\n',
        "docs/index.md:3: block 1 (",
        "Python cannot read line 5: invalid syntax.",
        "Mend the line.",
    ),
    "Python that cannot be read, and holds the check of a claim": (
        '[Yes.]{claim="one"}\n\n```python exec="on"\nassert 1 < 2  # claim one\ny = = 2\n```\n',
        "docs/index.md:3: block 1 (",
        "Python cannot read line 5: invalid syntax.",
        "Mend the line.",
    ),
    "an empty block": (
        '```python exec="on"\n# nothing\n```\n',
        "docs/index.md:1: block 1 (",
        "the block has no statement.",
        "Write one, or take it out.",
    ),
    "a declared error that does not happen": (
        '```python exec="on" raises="ValueError"\nint(\'1\')\n```\n',
        "docs/index.md:1: block 1 (",
        "the block must raise ValueError, as it declares; it raised nothing.",
        'Mend the code, or take out raises="ValueError".',
    ),
    "another error than the declared one": (
        '```python exec="on" raises="ValueError"\n[][0]\n```\n',
        "docs/index.md:1: block 1 (",
        "the block must raise ValueError, as it declares, but\nline 2 raised IndexError",
        'Mend the code, or declare the error with raises="IndexError".',
    ),
    "a declared error with code behind it that does not run": (
        "```python exec=\"on\" raises=\"ValueError\"\nint('a')\nprint('never')\n```\n",
        "docs/index.md:1: block 1 (",
        "a declared error must come from the last statement of its block, but\nline 2 raised",
        "Mend the code",
    ),
    "Markdown that was not printed": (
        '```python exec="on" result="markdown"\nx = 1\n```\n',
        "docs/index.md:1: block 1 (",
        'a block with result="markdown" must print some Markdown and raise nothing.',
        'Print it, or take out result="markdown".',
    ),
    "a block that prints a block that wants to run": (
        '```python exec="on" result="markdown"\n'
        "print('`' * 3 + 'python exec=\"on\"\\nprint(1)\\n' + '`' * 3)\n```\n",
        "block 1 (",
        "only Python in a page can run.",
        'Take out exec="on".',
    ),
    "lines to highlight that are none": (
        '```python exec="on" hl_lines="1,2"\nassert 0\n```\n',
        "docs/index.md:1: block 1 (",
        "the block cannot be shown: AttributeError(",
        "Mend its options, or what it leaves.",
    ),
    "Python by another name": (
        "```py\nprint(1)\n```\n",
        "docs/index.md:1: block 1 (```py)",
        "Python is written python, not py.",
        "Write python.",
    ),
    "no language": (
        "Text.\n\n```\nabc\n```\n",
        "docs/index.md:3: block 1 (```)",
        "a fence needs a language.",
        "Write text.",
    ),
    "an option that stands twice": (
        '```python exec="on" exec="off"\nassert 0\n```\n',
        "docs/index.md:1: block 1 (",
        "the option 'exec' stands twice.",
        "Take one of them out.",
    ),
    "an empty option": (
        '```python exec="on" raises=""\nint(\'a\')\n```\n',
        "docs/index.md:1: block 1 (",
        "an option cannot be empty.",
        "Give it a value, or take it out.",
    ),
    "a declared error with code behind it on its line": (
        "```python exec=\"on\" raises=\"ValueError\"\nint('a'); print('never')\n```\n",
        "docs/index.md:1: block 1 (",
        "a declared error must come from a statement on a line of its own.",
        "Begin a new line for the last statement.",
    ),
    "a hard exit": (
        '```python exec="on"\nimport os\nos._exit(0)\n```\n',
        "docs/index.md:1: block 1 (",
        "line 3 raised SystemExit: 0",
        "Take out the exit: a page cannot end the build.",
    ),
    "an error in a thread": (
        '```python exec="on"\nimport threading\n'
        "t = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()\n```\n",
        "docs/index.md:1: block 1 (",
        "raised ZeroDivisionError: division by zero",
        "Mend the code",
    ),
    "a file that is left open": (
        '```python exec="on"\nf = open("mkdocs.yml")\ndel f\n```\n',
        "docs/index.md:1: block 1 (",
        "ResourceWarning: unclosed file",
        "Mend what causes the warning; in pages warnings are errors.",
    ),
    "a function of NumPy that is replaced": (
        '```python exec="on"\nimport numpy as np\nnp.mean = lambda *_: 42.0\n```\n',
        "docs/index.md:1: block 1 (",
        "the block left changed: numpy.mean",
        "Put it back in the same block: other pages share it.",
    ),
    "a function of NumPy that is replaced before a declared error": (
        '```python exec="on" raises="ValueError"\nimport numpy as np\nnp.mean = None\n'
        "int('a')\n```\n",
        "docs/index.md:1: block 1 (",
        "the block left changed: numpy.mean",
        "Put it back in the same block: other pages share it.",
    ),
    "an error in a thread before a declared one": (
        '```python exec="on" raises="ValueError"\nimport threading\n'
        "t = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()\nint('a')\n```\n",
        "docs/index.md:1: block 1 (",
        "raised ZeroDivisionError: division by zero",
        "Mend the code",
    ),
    "another working folder": (
        '```python exec="on"\nimport os\nos.chdir("/")\n```\n',
        "docs/index.md:1: block 1 (",
        "the block left changed: the working folder",
        "Put it back in the same block: other pages share it.",
    ),
    "an annotation that names nothing": (
        '```python exec="on"\ndef f(x: NoSuchName): ...\n```\n',
        "docs/index.md:1: block 1 (",
        "line 2 raised NameError",
        "Mend the code",
    ),
    "a link in Markdown that a block prints": (
        '```python exec="on" result="markdown"\nprint("[x](other.md)")\n```\n',
        "docs/index.md:1: block 1 (",
        "Markdown that a block makes cannot link to a page; it links to 'other.md'.",
        "Put the link into the text of the page.",
    ),
    "a block that prints Python without a word about exec": (
        '```python exec="on" result="markdown"\n'
        "print('`' * 3 + 'python\\nprint(1)\\n' + '`' * 3)\n```\n",
        "block 1 (",
        "a block of Python must say whether it runs.",
        'Write exec="on" or exec="off" behind python.',
    ),
    "a name of another page": (
        '```python exec="on"\nprint(from_the_other_page)\n```\n',
        "docs/index.md:1: block 1 (",
        "line 2 raised NameError",
        "Mend the code",
    ),
    "a slip below front matter, inside a list": (
        '---\ntitle: T\n---\n\n# T\n\n- item\n\n    ```python exec="on"\n    x = 1\n    assert x > 1\n    ```\n',
        'docs/index.md:9: block 1 (```python exec="on")',
        "line 11 raised AssertionError\n    assert x > 1",
        "Find out which is wrong",
    ),
}


# every slip in the mode that swallows most, and one slip of each way to fail in all modes
CASES = [(slip, FLAGS[1]) for slip in SLIPS] + [
    (slip, flags)
    for slip in ("a false assertion", "an exit with success", "a misspelt option", "no language")
    for flags in (FLAGS[0], *FLAGS[2:])
]


@pytest.mark.parametrize(("slip", "flags"), CASES)
def test_a_slip_ends_the_build_and_the_message_says_where_what_and_what_to_do(site, slip, flags):
    """A slip of an author ends the build in every mode, and is told with its place and remedy."""
    page, where, what, remedy = SLIPS[slip]
    site.write('# First\n\n```python exec="on"\nfrom_the_other_page = 1\n```\n', "a.md")
    site.write(page)
    built = site.build(*flags)
    assert built.returncode == 1, built.stderr
    found, _, to_do = built.stderr.partition("\n  To do: ")
    assert where in found
    assert what in found
    assert remedy in to_do
    assert "Traceback" not in built.stderr


@pytest.mark.parametrize(
    ("slip", "told"),
    {
        "def": "SyntaxError in refbn/moments.py:1: invalid syntax",
        "meen": "NameError in refbn/moments.py:1: name 'meen' is not defined",
        "import numpie": "ModuleNotFoundError in refbn/moments.py:1: No module named 'numpie'",
        "int('a')": "ValueError in refbn/moments.py:1: invalid literal",
    }.items(),
)
def test_a_package_that_cannot_be_imported_is_to_be_mended_not_declared(site, slip, told):
    """The message says where in the package; no page can help it, so none is to declare it."""
    (site.folder / "refbn").unlink()
    shutil.copytree(ROOT / "refbn", site.folder / "refbn")
    (site.folder / "refbn/moments.py").write_text(slip, encoding="utf-8")
    site.write('# Page\n\n```python exec="on"\nimport refbn\n```\n')
    found, _, to_do = site.refusal().partition("\n  To do: ")
    assert f'docs/index.md:3: block 1 (```python exec="on"): line 4 raised {told}' in found
    assert found.endswith("\n    import refbn")
    assert to_do.startswith("Mend refbn/moments.py:1: as it is, no page can import the package.\n")


def test_a_page_without_slips_is_built_in_every_mode(site):
    """The four modes that end at a slip all finish without one."""
    site.write('# Page\n\n```python exec="on"\nprint(1)\n```\n')
    for flags in FLAGS:
        built = site.build(*flags)
        assert built.returncode == 0, built.stderr


def test_everything_that_is_printed_lands_in_the_page(site):
    """Separators, standard error and what imported functions print are shown, in their order."""
    site.write(
        '```python exec="on"\nimport sys, this_prints\n'
        "print('a', 'b', sep='-')\nprint('to stderr', file=sys.stderr)\n"
        "this_prints.hello()\nsys.stdout.write('written')\n```\n"
    )
    (site.folder / "this_prints.py").write_text("def hello():\n    print('<imported> & shown')\n")
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    assert "<code>a-b\nto stderr\n&lt;imported&gt; &amp; shown\nwritten</code>" in site.html()
    assert "imported" not in built.stdout + built.stderr


def test_a_declared_error_is_shown_with_its_message(site):
    """A declared error is part of the page, without traceback and without a path."""
    site.write("```python exec=\"on\" raises=\"LookupError\"\nprint('so far')\n{}['key']\n```\n")
    assert site.build("--strict").returncode == 0
    html = site.html()
    assert '<div class="output raised"><pre><code>so far\nKeyError: &#x27;key&#x27;</code>' in html
    assert "Traceback" not in html


def test_source_can_be_above_folded_or_absent(site):
    """The code stands above its output, is folded away, or is left out, as the block says."""
    for i, source in enumerate(("above", "fold", "none")):
        site.write(
            f'```python exec="on" source="{source}"\nanswer = {i}; print(answer)\n```\n',
            f"{source}.md",
        )
    site.write("# Start\n")
    assert site.build("--strict").returncode == 0
    shown = {s: "answer" in site.html(f"{s}.html") for s in ("above", "fold", "none")}
    assert shown == {"above": True, "fold": True, "none": False}
    assert '<details class="code"><summary>' in site.html("fold.html")
    assert all("<code>" in site.html(f"{s}.html") for s in shown)


def test_python_that_says_so_is_shown_and_not_run(site):
    """exec="off" shows code that would fail."""
    site.write('```python exec="off"\nraise SystemExit\n```\n\n```text title="T"\nplain\n```\n')
    assert site.build("--strict").returncode == 0
    assert '<div class="not-run">' in site.html()
    assert "SystemExit" in site.html()
    assert '<th class="filename"' in site.html() or 'class="filename">T<' in site.html()


def test_blocks_of_a_page_share_names_also_inside_boxes(site):
    """A block sees what the blocks above it defined, wherever it stands in the page."""
    site.write(
        '```python exec="on"\nx = 1\n```\n\n!!! note\n\n    ```python exec="on"\n'
        "    def double():\n        return 2 * x\n    ```\n\n"
        '> ```python exec="on"\n> print(double() + 40)\n> ```\n'
    )
    built = site.build("--strict")
    assert built.returncode == 0, built.stderr
    assert "<code>42</code>" in site.html()


def test_markdown_that_a_block_prints_is_rendered(site):
    """Tables and formulas that a block prints are tables and formulas of the page."""
    site.write(
        '```python exec="on" result="markdown" source="none"\n'
        "print('| a | b |\\n|---|---|\\n| 1 | $x^2$ |')\n```\n"
    )
    assert site.build("--strict").returncode == 0
    assert "<td>1</td>" in site.html()
    assert "<msup>" in site.html()


def test_pages_leave_no_traces_in_one_another(site):
    """What a page does to global state, another page does not see, and so in either order."""
    meddle = (
        '```python exec="on"\nimport random, warnings\nimport numpy as np\nimport refbn\n'
        "import matplotlib as mpl\n"
        "random.random(); np.random.random(); np.set_printoptions(precision=2)\n"
        "np.seterr(all='ignore'); warnings.simplefilter('ignore')\n"
        "mpl.rcParams['font.size'] = 99\nrefbn.normalize = None\n```\n"
    )
    look = (
        '```python exec="on"\nimport random\nimport numpy as np\nimport refbn\n'
        "import matplotlib as mpl\nprint(random.random(), np.random.random(), np.pi * np.ones(1))\n"
        "print(np.geterr()['divide'], mpl.rcParams['font.size'], refbn.normalize is None)\n```\n"
    )
    seen = []
    for name in ("b.md", "z.md"):
        site.write("# Start\n")
        site.write(meddle, "m.md")
        site.write(look, name)
        with one_processor():  # else each page has a process of its own
            assert site.build("--strict").returncode == 0
        html = site.html(name.replace("md", "html"))
        seen.append(html[html.index('class="output"') :].split("</code>")[0])
    assert "3.14159265" in seen[0]
    assert "warn 11.0 False" in seen[0]
    assert seen[0] == seen[1]


def test_assertions_count_even_where_python_leaves_them_out(site, monkeypatch):
    """Python's switch that drops assertions does not reach the pages."""
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    site.write('```python exec="on"\nassert False\n```\n')
    assert site.build("--strict").returncode == 1


def test_of_pages_that_fail_together_the_first_is_told(site):
    """Whichever page fails first in time, the message is that of the first in order."""
    site.write("# Start\n")
    site.write('```python exec="on"\nimport time\ntime.sleep(0.5)\n1 / 0\n```\n', "a.md")
    site.write('```python exec="on"\n{}["b"]\n```\n', "b.md")
    refusal = site.refusal()
    assert "docs/a.md:1: block 1" in refusal
    assert "b.md" not in refusal


def test_what_markdown_warns_of_counts_wherever_a_page_is_converted(site):
    """In strict mode, a link into nothing ends the build, from any page that executes."""
    for name in ("a.md", "b.md"):
        site.write(
            '# T\n\n[to](nowhere.md), [there](b.md#none)\n\n```python exec="on"\nx = 1\n```\n', name
        )
    site.write("# Start\n")
    built = site.build("--strict")
    assert built.returncode == 1
    for name in ("a.md", "b.md"):
        assert built.stderr.count(f"Doc file '{name}' contains a link 'nowhere.md'") == 1
        assert built.stderr.count(f"Doc file '{name}' contains a link 'b.md#none'") == 1
    assert "Aborted with 4 warnings in strict mode" in built.stdout


def test_a_long_build_says_how_far_it_is_and_what_took_its_time(site):
    """Each page that runs is told before it is waited for, and at the end the slowest blocks are."""
    site.write("# Start\n")
    block = '# T\n\n```python exec="on"\nimport time\ntime.sleep({})\n```\n'
    site.write(block.format(1.1), "a.md")
    site.write(block.format(0), "b.md")
    told = site.build().stderr
    assert "0 of 2 pages ran; now a.md" in told
    assert "1 of 2 pages ran; now b.md" in told
    assert re.search(r"1\.[1-9] s in the block of docs/a\.md:3", told)
    assert "in the block of docs/b.md" not in told
    assert "seconds" not in site.html("a.html")


forks = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) == 1,
    reason="needs two processors, and Linux: else the builder converts the pages itself",
)


@forks
def test_pages_are_converted_in_other_processes(site):
    """Two pages that execute are not run in the builder's own process."""
    block = "import multiprocessing\nassert multiprocessing.parent_process()"
    for name in ("a.md", "b.md"):
        site.write(f'# T\n\n```python exec="on"\n{block}\n```\n', name)
    site.write("# Start\n")
    assert site.build("--strict").returncode == 0


@forks
def test_a_build_that_failed_converts_no_more(site):
    """What was begun ahead is ended: the message does not wait for other pages."""
    done = site.folder / "done"
    slow = f"import time\ntime.sleep(5)\nopen({str(done)!r}, 'w').close()"
    for name in ("p.md", "q.md"):
        site.write(f'```python exec="on"\n{slow}\n```\n', name)
    site.write("[x]{nope}\n", "a.md")
    assert "there is no mark {nope}" in site.refusal()
    assert not done.exists()


@forks
def test_a_page_that_ends_python_itself_ends_the_build_with_a_message(site):
    """No crash is taken for success, and none leaves the builder waiting."""
    end = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    site.write(f'```python exec="on"\n{end}\n```\n')
    site.write('```python exec="on"\nx = 1\n```\n', "other.md")
    assert "Look for what ends Python itself" in site.refusal()

"""Pages while they are written: served, built again at each save, and run only where they changed."""

import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
from building import ROOT, environment

PAGE = """# Page

```python exec="on"
import random, time
import refbn
with open("ran", "a") as ran:
    ran.write("1")
random.seed(1)
time.sleep(0.2)
x = random.random()
```

It is {{ x }}.

```python exec="on"
with open("ran", "a") as ran:
    ran.write("2")
print("second", x + random.random())
```
"""


OTHER = """# Other

[It is one.]{claim="one"}

```python exec="on"
with open("ran", "a") as ran:
    ran.write("o")
x = 1
assert x == 1  # claim one: exact
```
"""


NAV = """
nav:
  - Start: index.md
  - Learn:
      - Page: learn/page.md
      - Other: learn/other.md
  - Claims: claims.md
  - reference/axes.md
"""


class Preview:
    """A server of one page or of all, and what it says."""

    def __init__(self, site, *page, ready=True):
        """Start it, and wait until the pages are there."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.site = site
        self.process = subprocess.Popen(
            [sys.executable, "-m", "_kit.serve", self.address, *page],
            cwd=site.folder,
            env=environment(site.folder),
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if ready:
            self.wait_for("Serving on")

    def _read(self):
        for line in self.process.stderr:
            self.lines.put(line)
        self.lines.put("ended")

    def wait_for(self, word):
        """Return what it says, up to a line with a word."""
        said = ""
        while word not in said:
            line = self.lines.get(timeout=60)
            assert line != "ended", said
            said += line
        return said

    def save(self, file, text):
        """Save a file, and wait until the page is built again."""
        (self.site.folder / file).write_text(text, encoding="utf-8")
        return self.wait_for("Built in")

    def ran(self):
        """Return which blocks ran since somebody asked."""
        path = self.site.folder / "ran"
        numbers = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return numbers

    def html(self, page="learn/page.html"):
        """Return the article of a page as it is served."""
        with urllib.request.urlopen(f"http://{self.address}/{page}") as answer:
            html = answer.read().decode()
        html = html.replace(self.address, "ADDRESS")
        return html[html.index("<article") : html.index("</article>")]

    def end(self):
        """Press Ctrl-C, and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(timeout=20)
        self.reader.join(timeout=20)  # it ends when no copy of a process has the pipe any more
        assert not self.reader.is_alive()
        self.process.stderr.close()
        return status


@pytest.fixture
def own(site):
    """Return a site of two pages and the list of claims, with a package and a kit of its own."""
    for folder in ("refbn", "docs/_kit"):
        (site.folder / folder).unlink()
        shutil.copytree(ROOT / folder, site.folder / folder)
    site.write("# Start\n")
    site.write(PAGE, "learn/page.md")
    site.write(OTHER, "learn/other.md")
    site.write("# Claims\n\n<!-- claims -->\n", "claims.md")
    site.write("---\ntitle: refbn.axes\n---\n\n::: refbn.axes\n", "reference/axes.md")
    with (site.folder / "mkdocs.yml").open("a", encoding="utf-8") as config:
        config.write(NAV)
    return site


@pytest.fixture
def preview(own):
    """Return the server of a page."""
    preview = Preview(own, "learn/page.md")
    yield preview
    assert preview.end() == 0


@pytest.fixture
def everything(own):
    """Return the server of all pages."""
    everything = Preview(own)
    yield everything
    assert everything.end() == 0


def cold(site, *page):
    """Return what is served, by page, by a server that has kept nothing from earlier."""
    shutil.rmtree(site.folder / ".kept")
    server = Preview(site, *page)
    server.ran()
    names = ["learn/page.html"] if page else ALL
    served = {name: server.html(name) for name in names}
    server.end()
    return served


ALL = ["index.html", "learn/page.html", "learn/other.html", "claims.html"]


forks = pytest.mark.skipif(sys.platform == "win32", reason="no process can be copied on Windows")


@forks
@pytest.mark.parametrize(
    ("old", "new", "runs"),
    [
        ("# Page", "# Page\n\nMore text before it", "2"),  # it takes no time, so no copy waits
        ("It is {{ x }}.", "It was {{ x }}, or {{ 2 * x }}.", "2"),
        ("second", "another", "2"),
        ("random.seed(1)", "random.seed(2)", "12"),
    ],
)
def test_only_what_changed_runs_and_the_page_is_that_of_a_cold_build(preview, old, new, runs):
    """What took its time runs again only if it changed; the result is that of running all."""
    assert preview.ran() == "12"
    before = preview.html()
    preview.save("docs/learn/page.md", PAGE.replace(old, new))
    assert preview.ran() == runs
    assert preview.html() != before
    assert {"learn/page.html": preview.html()} == cold(preview.site, "learn/page.md")


def test_a_claim_of_a_page_that_is_not_shown_settles_a_sentence(preview):
    """The sentence leads to where the other page checks it, and one that nothing settles is told."""
    text = PAGE + '\n[It is one.]{settled="one"}\n'
    preview.save("docs/learn/page.md", text)
    assert 'href="../learn/other.html#check-one"' in preview.html()
    (preview.site.folder / "docs/learn/page.md").write_text(text.replace('"one"', '"won"'))
    assert "Did you mean 'one'?" in preview.wait_for("To do")


@pytest.mark.parametrize(
    ("file", "old", "new", "shown"),
    [
        ("refbn/__init__.py", "__version__ =", '__version__ = "7.7.7" #', "refbn 7.7.7"),
        ("docs/_kit/fence.py", 'kind = "output raised"', 'kind = "put out" #', 'class="put out"'),
        ("docs/_kit/facts.py", "How to cite this page", "Cite it", "Cite it"),
    ],
)
def test_edits_of_the_package_and_of_the_kit_count(preview, file, old, new, shown):
    """What was imported before an edit is not what the next page runs with."""
    text = (preview.site.folder / file).read_text(encoding="utf-8")
    assert old in text
    preview.save(file, text.replace(old, new))
    assert shown in preview.html()


def test_a_slip_is_told_in_the_terminal_and_in_the_browser_until_it_is_mended(preview):
    """The message stands once in the terminal, and in the place of the page; no traceback does."""
    path = preview.site.folder / "docs/learn/page.md"
    path.write_text(PAGE.replace('"second"', "1 / 0"), encoding="utf-8")
    said = preview.wait_for("To do")
    assert said.count("ZeroDivisionError: division by zero") == 1
    assert "docs/learn/page.md:15: block 2" in said
    assert "Traceback" not in said
    with urllib.request.urlopen(f"http://{preview.address}/learn/page.html") as answer:
        assert "ZeroDivisionError: division by zero" in answer.read().decode()
    preview.save("docs/learn/page.md", PAGE)
    assert "second" in preview.html()


def test_what_an_editor_leaves_beside_a_page_counts_as_nothing(preview):
    """Vim's swap file runs nothing, alone and with the save; nothing of what is kept is lost."""
    preview.ran()
    beside = preview.site.folder / "docs/learn/.page.md.swp"
    beside.write_text("one", encoding="utf-8")
    assert "Built in" not in preview.wait_for("Reloading browsers")
    beside.write_text("two", encoding="utf-8")
    preview.save("docs/learn/page.md", PAGE.replace("second", "third"))
    assert preview.ran() == "2"


def test_a_crash_behind_a_block_is_told_and_the_next_save_is_built(preview):
    """What ends Python itself is heard although copies of the process live on."""
    slip = PAGE.replace('print("second"', "import os; os.kill(os.getpid(), 9); print(1")
    (preview.site.folder / "docs/learn/page.md").write_text(slip, encoding="utf-8")
    assert "Look for what ends Python itself" in preview.wait_for("no memory")
    preview.save("docs/learn/page.md", PAGE.replace("second", "third"))
    assert "third" in preview.html()


def test_a_page_that_never_ends_ends_with_the_server(preview):
    """Ctrl-C leaves no process behind that still runs a block; the fixture looks for it."""
    preview.ran()
    slip = PAGE.replace('ran.write("2")', 'ran.write("2"); ran.flush(); time.sleep(600)')
    (preview.site.folder / "docs/learn/page.md").write_text(slip, encoding="utf-8")
    until_written(preview.site, "2")


@forks
@pytest.mark.parametrize("served", ["preview", "everything"])
def test_a_save_ends_a_build_that_would_never_end(request, served):
    """What is saved then is served, what waits behind earlier blocks is used, no loop runs on."""
    server = request.getfixturevalue(served)
    server.ran()
    loop = 'while True:\n    open("loops", "w").close()\n'
    server.site.write(PAGE.replace("print(", f"{loop}print("), "learn/page.md")
    until_written(server.site, "2")
    server.ran()
    server.save("docs/learn/page.md", PAGE.replace("second", "third"))
    assert server.ran() == "2"
    assert "third" in server.html()
    (server.site.folder / "loops").unlink()
    time.sleep(0.3)
    assert not (server.site.folder / "loops").exists()


def until_written(site, number):
    """Wait until a block has begun to run."""
    latest = time.monotonic() + 60
    ran = site.folder / "ran"
    while not (ran.exists() and number in ran.read_text()):
        assert time.monotonic() < latest
        time.sleep(0.05)


def test_what_is_saved_during_the_first_build_is_built_too(own):
    """What is served at first is what is on the disk then."""
    preview = Preview(own, "learn/page.md", ready=False)
    until_written(own, "1")
    own.write(PAGE.replace("second", "third"), "learn/page.md")
    preview.wait_for("Serving on")
    assert "third" in preview.html()
    assert preview.end() == 0


def test_a_new_page_in_a_new_folder_is_served(everything):
    """A file that was no page before is built with all others; so is the template of pages."""
    everything.site.write("# Fresh\n", "fresh/page.md")
    said = everything.wait_for("Built in")
    assert "Fresh" in everything.html("fresh/page.html")
    said += everything.save("docs/_kit/page.md", "# Other parts\n")
    assert "Traceback" not in said
    assert "PAGE must" not in said


def test_of_all_pages_only_the_saved_one_runs_and_all_become_what_they_are_in_a_cold_build(
    everything,
):
    """The saved page is there first; what it changes on other pages follows, and none else runs."""
    assert sorted(everything.ran()) == ["1", "2", "o"]
    everything.save("docs/learn/other.md", OTHER.replace("one", "two").replace("x = 1", "x = 1.0"))
    assert "claim-two" in everything.html("learn/other.html")
    everything.wait_for("Built in")
    assert everything.ran() == "o"
    assert "two" in everything.html("claims.html")
    served = {page: everything.html(page) for page in ALL}
    assert served == cold(everything.site)


def test_an_edit_of_the_package_runs_all_pages(everything):
    """No page keeps what another version of the package gave."""
    everything.ran()
    path = everything.site.folder / "refbn/moments.py"
    everything.save("refbn/moments.py", path.read_text(encoding="utf-8") + "# another\n")
    assert sorted(everything.ran()) == ["1", "2", "o"]


def test_an_address_that_is_taken_is_refused_with_what_to_do(everything):
    """Who asks for a port that another server has is told so, and how to choose one."""
    command = [sys.executable, "-m", "_kit.serve", everything.address]
    where = {"cwd": everything.site.folder, "env": environment(everything.site.folder)}
    done = subprocess.run(command, **where, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be had (Address already in use). Choose another: ADDRESS=" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("address", ["8000", "localhost:http", "127.0.0.1:99999"])
@pytest.mark.parametrize("program", [("_kit.serve",), ("_kit.engine", "serve")])
def test_an_address_that_is_none_is_refused_before_anything_is_built(site, program, address):
    """Both servers name what was asked for, and how to choose another."""
    command = [sys.executable, "-m", *program, address]
    where = {"cwd": site.folder, "env": environment(site.folder)}
    done = subprocess.run(command, **where, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{address} cannot be had (" in done.stderr
    assert "Choose another: ADDRESS=host:port." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_page_that_does_not_exist_is_refused_at_once(site):
    """The message names what was asked for, and the page that is meant, or how to make one."""
    site.write("# Start\n", "learn/page.md")
    for page, remedy in {
        "learn/pge": "Did you mean learn/page.md?",
        "x/y": "make page NAME=x/y",
    }.items():
        command = [sys.executable, "-m", "_kit.serve", "127.0.0.1:0", page]
        where = {"cwd": site.folder, "env": environment(site.folder)}
        done = subprocess.run(command, **where, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert f"PAGE must name a page below docs/; got '{page}'. {remedy}" in done.stderr

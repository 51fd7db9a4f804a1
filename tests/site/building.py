"""How the tests build sites, ours or tiny ones laid out like it: in a process of their own."""

import contextlib
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKERS = ROOT / "tests/site/node_modules"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
CONCEPTS = ("learn/", "edge-cases/", "practice/", "family/")  # where pages explain something
SIZES = {"desktop": (1280, 900), "phone": (360, 740)}

# Converts pages as the builder does, without the last step over the site; prints a list of what
# became of them, HTML or an error.
CONVERT = """
import json, sys
from markdown import Markdown
from mkdocs.config import load_config
from _kit.page import PageError
config = load_config()
config.plugins.run_event("config", config)
became = []
for name in sys.argv[1:]:
    md = Markdown(extensions=config.markdown_extensions, extension_configs=config.mdx_configs)
    try:
        became.append(md.convert(open(name, encoding="utf-8").read()))
    except PageError as error:
        became.append(str(error))
print(json.dumps(became))
"""


def needs(*names):
    """Mark tests that need programs, or packages of tests/site/package.json."""
    missing = [name for name in names if not (shutil.which(name) or (CHECKERS / name).exists())]
    remedy = "'apt-get install nodejs npm default-jre-headless', then 'make check'"
    reason = f"needs {', '.join(missing)}: on Debian {remedy}"
    return pytest.mark.skipif(bool(missing), reason=reason)


def environment(folder):
    """Return the environment of programs that run in a folder that has docs/ and refbn/."""
    return os.environ | {
        "PYTHONPATH": f"{folder}:{folder}/docs",
        "NO_MKDOCS_2_WARNING": "1",
        "SOURCE_DATE_EPOCH": "1",  # as in the Makefile: no page and no archive holds a time
    }


def build(folder, *flags, **variables):
    """Run mkdocs in a folder that has docs/ and refbn/; return exit code and messages."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", *flags],
        cwd=folder,
        env=environment(folder) | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def convert(site, *names):
    """Return what becomes of pages of a site: HTML, or the message of an error."""
    done = subprocess.run(
        [sys.executable, "-c", CONVERT, *names],
        cwd=site.folder,
        env=environment(site.folder),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@contextlib.contextmanager
def one_processor():
    """Give this process, and those that it starts, one processor: pages are built one by one."""
    if not hasattr(os, "sched_setaffinity"):  # there, pages are built one by one anyway
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def served(folder):
    """Serve a folder on a free port of this machine, and return the address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def note_slips(page, home):
    """Let a browser's page note in `slips` what goes wrong, and who but its home is asked."""
    page.slips = []
    page.on("console", lambda m: m.type in {"error", "warning"} and page.slips.append(m.text))
    page.on("pageerror", lambda error: page.slips.append(str(error)))
    page.on("requestfailed", lambda request: page.slips.append(f"failed: {request.url}"))
    page.on(
        "request",
        lambda request: (
            request.url.startswith((home, "data:", "blob:"))
            or page.slips.append(f"another host: {request.url}")
        ),
    )


class Site:
    """A site with our mkdocs.yml, our kit and our package, and with pages of its own."""

    def __init__(self, folder):
        """Lay out the folder as the repository is laid out."""
        self.folder = folder
        config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
        before, rest = config.split("\nnav:\n")
        _, after = rest.split("\n\n", 1)
        (folder / "mkdocs.yml").write_text(f"{before}\n{after}", encoding="utf-8")
        (folder / "docs").mkdir()
        (folder / "docs/assets").symlink_to(ROOT / "docs/assets")
        (folder / "docs/_kit").symlink_to(ROOT / "docs/_kit")
        (folder / "docs/_theme").symlink_to(ROOT / "docs/_theme")
        (folder / "refbn").symlink_to(ROOT / "refbn")

    def write(self, text, page="index.md"):
        """Write a page."""
        path = self.folder / "docs" / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def build(self, *flags):
        """Build the site."""
        return build(self.folder, *flags)

    def refusal(self):
        """Build in the mode that swallows most; return what ended the build, and the remedy."""
        built = self.build("--no-strict", "--quiet")
        assert built.returncode == 1
        assert "\n  To do: " in built.stderr
        assert "Traceback" not in built.stderr
        return built.stderr

    def html(self, page="index.html"):
        """Return a built page."""
        return (self.folder / "site" / page).read_text(encoding="utf-8")

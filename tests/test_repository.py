"""No file tells of the machine that it was written on, nor from which host packages come."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for pattern in ("*", ".ci/*", "docs/**/*", "refbn/**/*", "tests/**/*")
    for path in ROOT.glob(pattern)
    if path.is_file() and not {"__pycache__", "node_modules", ".git"} & set(path.parts)
    if not path.name.startswith(".coverage")
)
# The names of hosts are put together here, so that this file does not hold them.
REGISTRIES = [
    "pypi",
    "pythonhosted",
    "npmjs",
    "npmmirror",
    "yarnpkg",
    "jsdelivr",
    "unpkg",
    "anaconda",
    "crates",
    "maven",
]
HOST = re.compile(rf"\b(?:{'|'.join(REGISTRIES)})\.(?:org|com|io|net|dev)\b")
PLACE = re.compile(r"(?<![\w.:/~}*)\]])/(?:work|tmp|home|root|Users|mnt|workspace)/\w+")


def slips(text):
    """Return the hosts of package registries and the places on a machine that a text names."""
    return HOST.findall(text) + [place[0] for place in PLACE.finditer(text)]


def test_no_file_names_a_registry_or_a_place_on_a_machine():
    """Where packages come from is the affair of whoever installs them, and so is the folder."""
    assert len(FILES) > 80
    texts = {path: path.read_text("utf-8", errors="ignore") for path in FILES}
    found = {str(path.relative_to(ROOT)): slips(text) for path, text in texts.items()}
    assert {name: names for name, names in found.items() if names} == {}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("https://registry." + "npmjs" + ".org/cspell", 1),
        ("files." + "pythonhosted" + ".org", 1),
        ("see {0}tmp/refbn/x.py, and '{0}home/me/refbn'".format("/"), 2),
        ("https://github.com/home/refbn, npm, docs/work/x, ../tmp/y, x/tmp/x", 0),
    ],
)
def test_what_tells_of_a_machine_is_found(text, names):
    """The search finds hosts and folders, and takes no address of a project for one."""
    assert len(slips(text)) == names

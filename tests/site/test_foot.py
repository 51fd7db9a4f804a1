"""The foot of each page says what was run, with what, from where, and how to cite it."""

import shutil
import subprocess

import yaml
from bs4 import BeautifulSoup
from building import ROOT

import refbn

PAGE = """# A & B's question { #page }

[Yes.]{claim="yes"}

```python exec="on"
import refbn
assert 1 < 2  # claim yes
```
"""


def foot(site, page="index.html"):
    """Return the foot of a built page."""
    (found,) = BeautifulSoup(site.html(page), "html.parser").select("article > footer.page-facts")
    return found


def test_the_foot_says_what_ran_and_with_what(site):
    """Blocks, claims, versions, source, commit, year and title are those of the page."""
    site.write(PAGE)
    site.write("# No blocks { #none }\n", "more/none.md")
    shutil.copy(ROOT / "CITATION.cff", site.folder)
    git = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "--quiet"], cwd=site.folder, check=True)
    subprocess.run([*git, "add", "mkdocs.yml"], cwd=site.folder, check=True)
    date = {"GIT_COMMITTER_DATE": "2001-02-03T04:05:06Z"}
    subprocess.run([*git, "commit", "-qm", "First"], cwd=site.folder, check=True, env=date)
    described = ["git", "describe", "--always", "--abbrev=10"]
    commit = subprocess.run(described, cwd=site.folder, check=True, capture_output=True, text=True)
    commit = commit.stdout.strip()
    assert site.build("--strict").returncode == 0
    said = foot(site).p.get_text()
    assert said.startswith("1 block ran, 1 claim checked · numpy ")
    assert f"refbn {refbn.__version__} · source: docs/index.md at {commit}" in said
    assert [link["href"] for link in foot(site).select(".downloads a")] == [
        "index.py",
        "index.ipynb",
        "index.md",
    ]
    entry = foot(site).code.find_next("pre").get_text()
    assert r"title = {A \& B’s question}" in entry
    assert "year = {2001}" in entry
    assert f"commit {commit}" in entry
    bare = foot(site, "more/none.html")
    assert bare.p.get_text() == f"source: docs/more/none.md at {commit}"
    assert [link["href"] for link in bare.select(".downloads a")] == ["none.md"]


def test_without_a_repository_there_is_no_commit(site):
    """Where git knows nothing, the foot says nothing of a commit or a year."""
    site.write(PAGE)
    assert site.build("--strict").returncode == 0
    assert foot(site).p.get_text().endswith("source: docs/index.md")
    assert "year" not in foot(site).get_text()


def test_the_citation_names_the_version_of_the_package():
    """CITATION.cff is not left behind when the version moves."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == refbn.__version__

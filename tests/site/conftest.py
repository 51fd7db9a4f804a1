"""Sites to look at: a tiny one for each test, and the real one, built once."""

import pytest
from building import ROOT, Site, build


@pytest.fixture
def site(tmp_path):
    """Return an empty site."""
    return Site(tmp_path)


@pytest.fixture(scope="session")
def built_site(tmp_path_factory):
    """Return the folder of the real site, built as `make site` builds it."""
    target = tmp_path_factory.mktemp("site")
    built = build(ROOT, "--strict", "--site-dir", str(target))
    assert built.returncode == 0, built.stderr
    return target

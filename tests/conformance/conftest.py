"""What the comparisons share: their results are recorded, and written or held to the file."""

import numpy as np
import pytest

from conformance.results import Results, write

RESULTS = pytest.StashKey[Results]()
LAST = "test_the_file_says_what_this_run_found"


def pytest_addoption(parser):
    """Take the word that `make conformance WRITE=1` passes on."""
    parser.addoption(
        "--write-results", action="store_true", help="write refbn/conformance.json, if all pass"
    )


def pytest_configure(config):
    """Begin with no results."""
    config.stash[RESULTS] = Results()


def pytest_collection_modifyitems(items):
    """Compare with the file when all others have recorded what they found."""
    items.sort(key=lambda item: item.name == LAST)


def pytest_sessionfinish(session, exitstatus):
    """Write the file, where that was asked for and nothing failed."""
    if session.config.getoption("--write-results") and exitstatus == pytest.ExitCode.OK:
        write(session.config.stash[RESULTS].content())


@pytest.fixture(autouse=True)
def floating_point_errors_raise():
    """Let the peers overflow in peace; refbn's own slips raise in its own tests."""
    with np.errstate(all="ignore"):
        yield


@pytest.fixture
def results(request):
    """Return all that this run has recorded."""
    return request.config.stash[RESULTS]


@pytest.fixture
def record(results):
    """Return a function that takes down a result: `record(case, peer, **facts)`.

    Facts are strings and numbers. Those that have the name of a dtype, and the `largest`, are
    differences, of which a bound is kept.
    """
    return results.record

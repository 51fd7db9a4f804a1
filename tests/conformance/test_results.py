"""The file that the pages are made from is what this run found."""

from conformance.results import read, stale


def test_the_file_says_what_this_run_found(results, pytestconfig):
    """Versions, cases, verdicts and bounds are those of the file; else it must be written anew."""
    if not pytestconfig.getoption("--write-results"):
        assert stale(read()[1], results.content()) == []

"""What the tests of this folder take from the command line."""


def pytest_addoption(parser):
    """Take the word that `make scale WRITE=1` passes on."""
    parser.addoption("--write-results", action="store_true", help="write what the pages show")

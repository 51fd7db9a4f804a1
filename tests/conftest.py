"""The environment of the tests is stricter than that of the users: floating-point slips raise."""

import hypothesis
import numpy as np
import pytest

collect_ignore = ["bench/peers.py"]  # only `make bench` installs what it imports

hypothesis.settings.register_profile("refbn", derandomize=True, deadline=None)
hypothesis.settings.load_profile("refbn")


@pytest.fixture(autouse=True)
def floating_point_errors_raise():
    """Make NumPy raise where it would warn, in every test that does not say otherwise."""
    with np.errstate(all="raise"):
        yield


@pytest.fixture
def rng():
    """Return random numbers that are the same in every run."""
    return np.random.default_rng(2015)  # the year of the paper; any other must do as well

r"""What the same things are called in other people's code."""

from __future__ import annotations

from collections.abc import Iterable

_WORDS = {
    "x": "x input inputs inp data batch features images",
    "gamma": "gamma weight scale scaler g w",
    "beta": "beta bias shift offset intercept b",
    "mean": "running_mean moving_mean mean mu input_mean avg_mean population_mean pop_mean rm "
    "_mean",
    "var": "running_var moving_var moving_variance running_variance var variance input_var avg_var "
    "population_var pop_var sigma2 rv _variance",
    "training": "training train is_training is_train train_mode training_mode mode phase",
    "state": "bn_param bn_params state",
    "where": "where mask",
    "dy": "dy dout dldy d_out dz g grad grad_output grad_out upstream delta",
    "cache": "cache ctx saved context",
    "params": "params parameters param",
    "y": "y out output outputs",
    "dgamma": "dgamma d_gamma grad_gamma gamma_grad dweight d_weight grad_weight weight_grad "
    "dscale",
    "dbeta": "dbeta d_beta grad_beta beta_grad dbias d_bias grad_bias bias_grad dshift",
}
ROLES = {word: role for role, words in reversed(_WORDS.items()) for word in words.split()}
"""The role that a name says, for every known name; of several, the first above."""


def known(role: str) -> list[str]:
    """Return the names of a role, the most usual first."""
    return _WORDS[role].split()


def role_of(name: str) -> str | None:
    """Return the role that a name says, in any spelling of capitals; None if it says none."""
    return ROLES.get(name.lower())


def first(names: Iterable[str], role: str) -> str | None:
    """Return the most usual of some names that has a role."""
    lower = {name.lower(): name for name in names}
    return next((lower[name] for name in known(role) if name in lower), None)

r"""Find gamma, beta, mean and variance among the tensors of a module or a layer."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TypeVar

import numpy as np

from refbn.axes import Array
from refbn.diagnose.subject import Lacking, Start
from refbn.diagnose.words import first

T = TypeVar("T")


def by_role(tensors: Mapping[str, T], separator: str) -> dict[str, T]:
    """Return the tensors of a batch norm by their roles.

    Those that stand beside a running mean come before others: a module may hold a convolution too,
    whose weight is no gamma.

    Args:
        tensors: All tensors by their names, with the names of the modules that hold them.
        separator: What stands between the names.

    Returns:
        Tensors by `"gamma"`, `"beta"`, `"mean"` and `"var"`, without what there is not.

    Raises:
        ValueError: If there are running means in several places.

    Examples:
        >>> by_role({"conv.weight": 1, "norm.weight": 2, "norm.running_mean": 3}, ".")
        {'gamma': 2, 'mean': 3}
        >>> by_role({"a.running_mean": 1, "b.running_mean": 2}, ".")
        Traceback (most recent call last):
        ValueError: there must be one batch norm in it; there are ['a', 'b']. Pass one of them.
    """
    places: dict[str, dict[str, T]] = {}
    for name, tensor in tensors.items():
        place, _, own = name.rpartition(separator)
        places.setdefault(place, {})[own] = tensor
    roles = {place: _roles(own) for place, own in places.items()}
    norms = [place for place, own in roles.items() if "mean" in own]
    if len(norms) > 1:
        raise ValueError(
            f"there must be one batch norm in it; there are {norms}. Pass one of them."
        )
    found: dict[str, T] = {}
    for place in sorted(roles, key=lambda place: place not in norms):
        found = roles[place] | found
    return {role: found[role] for role in Start._fields if role in found}


def require_statistics(roles: Collection[str | None], start: Start) -> None:
    """Refuse a start of running statistics for what keeps none.

    Args:
        roles: What somebody's batch norm has.
        start: What it must begin with.

    Raises:
        Lacking: If it cannot begin so.

    Examples:
        >>> start = Start(np.ones(1), np.zeros(1), np.zeros(1), np.full(1, 4.0))
        >>> require_statistics({"gamma", "mean"}, start)
        Traceback (most recent call last):
        refbn.diagnose.subject.Lacking: running variance to set
    """
    for role, name, new in (("mean", "mean", 0), ("var", "variance", 1)):
        if role not in roles and (getattr(start, role) != new).any():
            raise Lacking(f"running {name} to set")


def _roles(own: Mapping[str, T]) -> dict[str, T]:
    """Return the tensors of one place by their roles."""
    names = {role: first(own, role) for role in Start._fields}
    return {role: own[name] for role, name in names.items() if name is not None}


def fit(role: str, values: Array, shape: tuple[int, ...]) -> Array:
    """Return the numbers of the channels in the shape of the tensor that they are for.

    A tensor that has another size, because it is not for channels, is filled where that can be
    done; then the laws find out.

    Args:
        role: What they are.
        values: One number per channel.
        shape: The shape of the tensor.

    Returns:
        The same numbers.

    Raises:
        ValueError: If the numbers differ, and the tensor has not one for each.

    Examples:
        >>> fit("gamma", np.arange(3.0), (1, 3, 1)).tolist()
        [[[0.0], [1.0], [2.0]]]
        >>> fit("gamma", np.ones(3), (2,)).tolist()
        [1.0, 1.0]
        >>> fit("gamma", np.arange(3.0), (2,))
        Traceback (most recent call last):
        ValueError: gamma must have one number per channel, 3 of them; its shape is (2,).
    """
    if values.size != math.prod(shape) and (values != values[0]).any():
        raise ValueError(
            f"{role} must have one number per channel, {values.size} of them; its shape is {shape}."
        )
    return np.resize(values, shape)

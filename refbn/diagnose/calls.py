r"""Call a function whose arguments are known by their names, and take what it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from refbn.axes import Array
from refbn.diagnose.words import first, known, role_of

Function = Callable[..., Any]


def parameters(function: Function) -> dict[str, inspect.Parameter]:
    """Return the parameters that have a name of their own."""
    signature = inspect.signature(function).parameters.values()
    several = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return {p.name: p for p in signature if p.kind not in several}


def takes_any(function: Function) -> bool:
    """Return whether a function takes arguments of any name."""
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(function).parameters.values())


def call(function: Function, values: Mapping[str, Any], words: Mapping[str, Any]) -> Any:
    """Call a function with values by their roles, in the places that its signature has."""
    positional: list[Any] = []
    named: dict[str, Any] = {}
    takes = parameters(function)
    main = "dy" if "dy" in values else "x"  # what stands first, unless another has that name
    elsewhere = main in {role_of(name) for name in list(takes)[1:]}
    for i, (name, parameter) in enumerate(takes.items()):
        role = role_of(name) if i or elsewhere else main
        if name in words:
            value = words[name]
        elif role is not None and role in values:
            value = values[role]
        elif parameter.default is not parameter.empty:
            continue
        else:
            value = values.get("cache")
        if parameter.kind is parameter.KEYWORD_ONLY or len(positional) < i:
            named[name] = value
        else:
            positional.append(value)
    if takes_any(function):
        named |= {name: value for name, value in words.items() if name not in takes}
    return function(*positional, **named)


def flag(function: Function, *, training: bool) -> bool | str:
    """Return how a function wants to be told that it trains: by a word, if its default is one."""
    for name, parameter in parameters(function).items():
        if role_of(name) == "training" and (
            isinstance(parameter.default, str)
            or (name == "mode" and parameter.default is parameter.empty)
        ):
            return "train" if training else "test"
    return training


def outputs(result: Any) -> tuple[Array, list[Any]]:
    """Return the output of a forward pass, and what it returned beside.

    Args:
        result: What it returned: the output, a tuple that begins with it, or a dictionary of it.

    Returns:
        The output, and the rest.

    Raises:
        TypeError: If it is a dictionary without an output that is known by its name.
    """
    if isinstance(result, dict):
        if (name := first(result, "y")) is None:
            raise TypeError(
                f"the output in a dict must have one of the names {known('y')}; it has the keys "
                f"{list(result)}. Return the output alone, or first in a tuple."
            )
        return np.asarray(result[name]), [v for k, v in result.items() if k != name]
    of_several = isinstance(result, list) and isinstance(result[0], np.ndarray)
    if isinstance(result, tuple) or of_several:
        return np.asarray(result[0]), list(result[1:])
    return np.asarray(result), []

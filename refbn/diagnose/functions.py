r"""Functions that take a batch and give a batch norm of it.

The arguments are known by their names, of which `refbn.diagnose.words` has the usual ones. The
output is what a function returns, or the first of it. Two arrays with a number for each channel
after that, from a function that took running statistics, are these; the rest is what its backward
pass wants.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from refbn.axes import Array
from refbn.diagnose.calls import Function, call, flag, outputs, parameters, takes_any
from refbn.diagnose.layout import Layout
from refbn.diagnose.roles import require_statistics
from refbn.diagnose.subject import BOTH, Lacking, Start, Subject, Target
from refbn.diagnose.words import role_of

RANKS = (2, 3, 4)


def function_target(
    forward: Function,
    *,
    infer: Function | None = None,
    backward: Function | None = None,
    channel_axis: int = 1,
    rank: int | None = None,
    **words: Any,
) -> Target:
    """Adapt a function.

    Args:
        forward: The forward pass, in training, or with an argument that says whether to train.
        infer: The forward pass at inference, if it is another function.
        backward: The backward pass, of `dy` and what the forward pass returned beside the output.
        channel_axis: The axis of the channels, such as -1 for the last.
        rank: Number of axes of a batch, if it takes no other.
        **words: Further arguments by name, such as `eps=1e-5`, for all that take them.

    Returns:
        What the laws are tried on.

    Raises:
        TypeError: If an argument is not known and has no default.
    """
    functions = [f for f in (forward, infer, backward) if f is not None]
    unused = words.keys() - {name for f in functions for name in parameters(f)}
    if unused and not any(takes_any(f) for f in functions):
        raise TypeError(
            f"{_name(forward)} must take the words that are given for it; it does not take "
            f"{sorted(unused)}. It takes {list(parameters(forward))}."
        )
    passes = _Passes(forward, infer, backward, words)
    taken = {role_of(name) for name in parameters(forward)}
    if "params" in taken:
        taken |= BOTH
    # without numbers per channel it may well be made for vectors only, and nothing would tell
    ranks = RANKS if taken & {"gamma", "beta", "mean"} else RANKS[:1]
    layouts = layouts_of(ranks if rank is None else (rank,), channel_axis)

    class _Function(_FunctionSubject):
        functions = passes

    return Target(_name(forward), _Function, layouts, parameters=BOTH & taken)


def layouts_of(ranks: Sequence[int], channel_axis: int) -> tuple[Layout, ...]:
    """Return the layouts with some numbers of axes that have the axis of the channels."""
    layouts = tuple(Layout(r, channel_axis) for r in ranks if r > 1 and -r <= channel_axis < r)
    if not layouts:
        raise ValueError(
            f"a batch must have two axes or more, and one of them the channels; got rank "
            f"{' or '.join(map(str, ranks))} with channel_axis={channel_axis}."
        )
    return layouts


class _Passes:
    """The functions, with how each is called."""

    def __init__(
        self,
        forward: Function,
        infer: Function | None,
        backward: Function | None,
        words: Mapping[str, Any],
    ) -> None:
        self.backward, self.words = backward, words
        has = {role_of(name) for name in parameters(forward)}
        switched = bool(has & {"training", "state"})
        self.train: Function | None = forward
        self.infer = infer or (forward if switched else None)
        self.keeps = has >= {"mean", "var"} or "state" in has
        if not switched and infer is None and self.keeps and not _returns_more(forward, words):
            self.train, self.infer = None, forward
        for function in (self.train, self.infer):
            if function is not None:
                self._known(function)
        self.in_place = self.train is not None and _moves_in_place(self.train, words)

    def _known(self, function: Function) -> None:
        takes = parameters(function)
        unknown = [
            name
            for name, parameter in list(takes.items())[1:]
            if role_of(name) is None
            and name not in self.words
            and parameter.default is parameter.empty
        ]
        roles = [role for name in takes if (role := role_of(name)) is not None]
        if twice := {role for role in roles if roles.count(role) > 1}:
            raise TypeError(
                f"{_name(function)} must have one argument for each of {sorted(twice)}; of "
                f"{list(takes)} several are taken for it. Wrap it in a function with other names."
            )
        if unknown:
            such = f"{unknown[0]}={'1e-5' if 'eps' in unknown[0] else '0.9'}"
            raise TypeError(
                f"{_name(function)} must have arguments that are known by their names, or have "
                f"defaults; {unknown} are neither. Say what they are, as in {such} (on the command "
                f"line --with {such}), or wrap the function in one of x, gamma, beta, "
                "running_mean, running_var and training."
            )


class _FunctionSubject(Subject):
    """A function with its parameters and running statistics."""

    functions: _Passes

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self.mean, self.var = start.mean.copy(), start.var.copy()
        self.state: dict[str, Any] = {
            "running_mean": self.mean,
            "running_var": self.var,
            **self.functions.words,
        }
        self.kept: Any = None

    def train(self, x: Array) -> Array:
        if self.functions.train is None:
            raise Lacking("forward pass in training")
        self.batch = x
        y, rest = self._call(self.functions.train, x, training=True)
        self.kept = rest[0] if len(rest) == 1 else rest
        return y

    def infer(self, x: Array) -> Array:
        if self.functions.infer is None:
            raise Lacking("forward pass at inference")
        takes = {role_of(name) for name in parameters(self.functions.infer)}
        require_statistics({"mean", "var"} if "state" in takes else takes, self.start)
        return self._call(self.functions.infer, x, training=False)[0]

    def train_masked(self, x: Array, where: Array) -> Array:
        function = self.functions.train
        if function is None or not any(role_of(n) == "where" for n in parameters(function)):
            raise Lacking("support for masks")
        return self._call(function, x, training=True, where=where)[0]

    def statistics(self) -> tuple[Array, Array]:
        if not self.functions.keeps:
            raise Lacking("running statistics")
        return self.mean, self.var

    def backward(self, dy: Array) -> tuple[Array, Array | None, Array | None]:
        if self.functions.backward is None:
            raise Lacking("backward pass")
        values = {"dy": dy, "cache": self.kept, "x": self.batch, "gamma": self.start.gamma}
        words = {**self.functions.words, **self._one_by_one(self.functions.backward, values)}
        result = call(self.functions.backward, values, words)
        gradients = list(result.values()) if isinstance(result, dict) else result
        dx, rest = outputs(gradients)
        if len(rest) not in {0, 2}:
            raise TypeError(
                "backward must return dx, dgamma and dbeta in this order, or dx alone; it returned "
                f"{1 + len(rest)} values."
            )
        return dx, *(rest or (None, None))

    def _one_by_one(self, backward: Function, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what was kept by the names of the arguments, if there is one for each."""
        takes = list(parameters(backward))[1:]
        names = [n for n in takes if role_of(n) not in values and n not in self.functions.words]
        kept = self.kept if isinstance(self.kept, list) else []
        return dict(zip(names, kept, strict=True)) if len(names) == len(kept) else {}

    def _call(self, function: Function, x: Array, **more: Any) -> tuple[Array, list[Any]]:
        """Call a forward pass; return the output and what came beside it."""
        start, taken = self.start, {role_of(name) for name in parameters(function)}
        if "training" in taken:
            more["training"] = flag(function, training=more["training"])
        self.state |= {"mode": "train" if more["training"] in {True, "train"} else "test"}
        values = {
            "x": x, "gamma": start.gamma, "beta": start.beta, "mean": self.mean, "var": self.var,
            "params": {"gamma": start.gamma, "beta": start.beta}, "state": self.state,
        } | more  # fmt: skip
        y, rest = outputs(call(function, values, self.functions.words))
        if "state" in taken:
            self.mean, self.var = self.state["running_mean"], self.state["running_var"]
        elif self.functions.keeps:  # those returned, unless the arguments themselves are moved
            size = start.gamma.size
            moved = [v for v in rest if isinstance(v, np.ndarray) and v.size == size]
            if len(moved) == 2 and not self.functions.in_place:
                self.mean, self.var = moved
                rest = [v for v in rest if not any(v is one for one in moved)]
        return y, rest


def _returns_more(function: Function, words: Mapping[str, Any]) -> bool:
    """Return whether a function returns something beside the output."""
    try:
        return isinstance(call(function, _values(), words), tuple | list)
    except Exception:  # noqa: BLE001 - it says so again when it is diagnosed
        return False


def _moves_in_place(function: Function, words: Mapping[str, Any]) -> bool:
    """Return whether a function in training writes to the running mean that it is given."""
    values = _values() | {"training": flag(function, training=True)}
    with contextlib.suppress(Exception):  # it says so again when it is diagnosed
        call(function, values, words)
    return bool(np.any(values["mean"]))


def _values() -> dict[str, Any]:
    """Return a batch, parameters and running statistics."""
    start = Start(np.ones(3), np.zeros(3), np.zeros(3), np.ones(3))
    return {"x": np.arange(18.0).reshape(6, 3), **start._asdict()}


def _name(function: Any) -> str:
    """Return the name of a function, or of the one that `functools.partial` has within."""
    return str(getattr(getattr(function, "func", function), "__qualname__", "function"))

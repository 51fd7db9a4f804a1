r"""Classes and objects with a method `forward`, or that are called, as batch norms with NumPy are.

Parameters, running statistics and gradients are attributes that are known by their names, or
entries of an attribute that is a dictionary.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from refbn.axes import Array
from refbn.diagnose.calls import call, flag, outputs, parameters
from refbn.diagnose.functions import RANKS, layouts_of
from refbn.diagnose.roles import require_statistics
from refbn.diagnose.subject import BOTH, Lacking, Start, Subject, Target
from refbn.diagnose.words import first, role_of


def object_target(
    thing: Any, *, channel_axis: int = 1, rank: int | None = None, **words: Any
) -> Target:
    """Adapt a class, or an object, which is copied.

    Args:
        thing: A class that is made with a number of channels; or an object.
        channel_axis: The axis of the channels, such as -1 for the last.
        rank: Number of axes of a batch, if it takes no other.
        **words: For a class, what it is made with beside the number of channels.

    Returns:
        What the laws are tried on.

    Raises:
        TypeError: If it cannot go forward, or words are given for an object.
    """
    kind = thing if isinstance(thing, type) else type(thing)
    if not (hasattr(thing, "forward") or "__call__" in vars(kind)):
        raise TypeError(
            f"a class must have a method forward, or be written to be called; {kind.__name__} is "
            "neither. Derive a class from refbn.diagnose.Subject that uses it."
        )
    has = _Places(_made(thing, 3, words) if isinstance(thing, type) else thing)
    # without numbers per channel it may well be made for vectors only, and nothing would tell
    ranks = RANKS if has.roles() & {"gamma", "beta", "mean"} else RANKS[:1]
    layouts = layouts_of(ranks if rank is None else (rank,), channel_axis)
    if isinstance(thing, type):

        class _Class(_Object):
            make = staticmethod(lambda channels: _made(thing, channels, words))

        return Target(thing.__name__, _Class, layouts, parameters=frozenset(BOTH & has.roles()))
    if words:
        raise TypeError(
            f"an object must be given as it is; got {sorted(words)} beside it. Give its class "
            "with these words, or make the object with them."
        )
    sizes = [np.size(has.get(role)) for role in ("gamma", "mean") if role in has.roles()]

    class _Copy(_Object):
        make = staticmethod(lambda _: copy.deepcopy(thing))

    channels = sizes[0] if sizes and sizes[0] > 1 else None
    return Target(type(thing).__name__, _Copy, layouts, channels, frozenset(BOTH & has.roles()))


def _made(kind: type, channels: int, words: dict[str, Any]) -> Any:
    """Return a new object; what its constructor must have is the number, or known by its name."""
    values = {"gamma": np.ones(channels), "beta": np.zeros(channels)}
    needs = [
        parameter.name
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
        and parameter.name not in words
    ]
    known = {name: values[role] for name in needs if (role := role_of(name)) in values}
    counts = {name: channels for name in needs[:1] if name not in known}
    return kind(**known, **counts, **words)


class _Places:
    """The attributes of an object that are known by their names, and in its dictionaries."""

    def __init__(self, thing: Any) -> None:
        self._own = vars(thing)

    def roles(self) -> set[str | None]:
        """Return the roles that are known."""
        return {role_of(name) for names in self._all() for name in names}

    def get(self, role: str) -> Any:
        """Return what has a role."""
        names, name = self._place(role)
        return names[name]

    def set(self, role: str, value: Array) -> None:
        """Put a value in the place of what has a role, in its shape and dtype."""
        names, name = self._place(role)
        old = names[name]
        fits = isinstance(old, np.ndarray) and old.size == value.size
        names[name] = value.reshape(old.shape).astype(old.dtype) if fits else value

    def switch(self, *, training: bool) -> None:
        """Say whether to train, in the word that stands there or as a truth."""
        names, name = self._place("training")
        says = {True: "train", False: "test"} if isinstance(names[name], str) else {}
        names[name] = says.get(training, training)

    def _place(self, role: str) -> tuple[dict[str, Any], str]:
        places = ((names, first(names, role)) for names in self._all())
        return next((names, name) for names, name in places if name is not None)

    def _all(self) -> Iterator[dict[str, Any]]:
        yield self._own
        for name, value in self._own.items():
            if isinstance(value, dict) and "grad" not in name:
                yield value


class _Object(Subject):
    make: Callable[[int], Any]

    def __init__(self, start: Start) -> None:
        super().__init__(start)
        self.object = self.make(start.gamma.size)
        self.places = _Places(self.object)
        require_statistics(self.places.roles(), start)
        for role, value in start._asdict().items():
            if role in self.places.roles():
                self.places.set(role, value)

    def train(self, x: Array) -> Array:
        self.batch = x
        return self._forward(x, training=True)

    def infer(self, x: Array) -> Array:
        return self._forward(x, training=False)

    def backward(self, dy: Array) -> tuple[Array, Array | None, Array | None]:
        if not hasattr(self.object, "backward"):
            raise Lacking("backward pass")
        dx, rest = outputs(call(self.object.backward, {"dy": dy, "x": self.batch}, {}))
        if len(rest) == 2:
            return dx, rest[0], rest[1]
        return dx, self._gradient("gamma"), self._gradient("beta")

    def statistics(self) -> tuple[Array, Array]:
        if not {"mean", "var"} <= self.places.roles():
            raise Lacking("running statistics under a name that is known")
        return np.array(self.places.get("mean")), np.array(self.places.get("var"))

    def _forward(self, x: Array, *, training: bool) -> Array:
        forward = getattr(self.object, "forward", self.object)
        if "training" not in {role_of(name) for name in parameters(forward)}:
            self._switch(training=training)
        values = {"x": x, "training": flag(forward, training=training)}
        return outputs(call(forward, values, {}))[0]

    def _switch(self, *, training: bool) -> None:
        """Say whether to train, by a method or an attribute."""
        method = getattr(self.object, "train" if training else "eval", None)
        if method is not None:
            method()
        elif "training" in self.places.roles():
            self.places.switch(training=training)
        elif not training:
            raise Lacking("forward pass at inference")

    def _gradient(self, role: str) -> Array | None:
        """Return a gradient that the backward pass has left, under its name or among gradients."""
        if f"d{role}" in self.places.roles():
            return np.asarray(self.places.get(f"d{role}"))
        for name, value in vars(self.object).items():
            if "grad" in name and isinstance(value, dict) and (key := first(value, role)):
                return np.asarray(value[key])
        return None

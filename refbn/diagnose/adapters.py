r"""Make a target of whatever somebody has."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import refbn
from refbn.diagnose.functions import function_target
from refbn.diagnose.keras_layer import keras_target
from refbn.diagnose.objects import object_target
from refbn.diagnose.onnx_file import onnx_target
from refbn.diagnose.reference import reference_target
from refbn.diagnose.subject import Subject, Target
from refbn.diagnose.torch_module import torch_target


def target_of(thing: Any, **how: Any) -> Target:
    """Adapt a batch norm, whatever it is.

    Args:
        thing: See [`check`][refbn.diagnose.check].
        **how: What the adapter takes.

    Returns:
        What the laws are tried on.

    Raises:
        TypeError: If it is none of these, or the adapter does not take what is said.
    """
    adapt = next((adapter for applies, adapter in _ADAPTERS if applies(thing)), None)
    if adapt is None:
        raise TypeError(
            "what is diagnosed must be a function, a class or an object with a method forward, a "
            "torch module, a Keras layer, the path of an ONNX file, or a class derived from "
            f"refbn.diagnose.Subject; got {type(thing).__name__}. Derive such a class: it takes a "
            "dozen lines."
        )
    return adapt(thing, **how)


def _subject_target(kind: type[Subject], **how: Any) -> Target:
    if how:
        raise TypeError(
            f"a Subject says itself what it takes; got {sorted(how)}. Set them as its attributes: "
            "layouts, channels and parameters."
        )
    return Target(kind.__name__, kind, kind.layouts, kind.channels, kind.parameters)


def _is_of(name: str) -> Callable[[Any], bool]:
    """Return a test whether something is of a kind that is known by name, so is not imported."""

    def test(thing: Any) -> bool:
        kinds = (thing if isinstance(thing, type) else type(thing)).__mro__
        return name in {f"{kind.__module__}.{kind.__qualname__}" for kind in kinds}

    return test


def _has_forward(thing: Any) -> bool:
    """Return whether it is a class, or an object that goes forward or is written to be called."""
    called = inspect.isfunction(vars(type(thing)).get("__call__"))
    return isinstance(thing, type) or hasattr(thing, "forward") or called


_ADAPTERS: tuple[tuple[Callable[[Any], bool], Callable[..., Target]], ...] = (
    (lambda thing: isinstance(thing, Target), lambda target: target),
    (lambda thing: isinstance(thing, type) and issubclass(thing, Subject), _subject_target),
    (lambda thing: thing is refbn.BatchNorm, lambda _, **words: reference_target(**words)),
    # before the modules, of which it is one where Keras runs on PyTorch
    (_is_of("keras.src.layers.layer.Layer"), keras_target),
    (_is_of("torch.nn.modules.module.Module"), torch_target),
    (_is_of("onnx.onnx_ml_pb2.ModelProto"), onnx_target),
    (lambda thing: str(thing).endswith(".onnx") and isinstance(thing, str | Path), onnx_target),
    (_has_forward, object_target),
    (callable, function_target),
)
"""Which adapter is for what; the first that applies is taken."""

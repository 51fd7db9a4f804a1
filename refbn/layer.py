r"""The batch norm that remembers: parameters, running statistics, and which mode it is in.

The layer does bookkeeping and no arithmetic of its own. Every number comes from
[`refbn.transform`][refbn.transform] and [`refbn.running`][refbn.running].
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from refbn.axes import Array, as_floating, check_eps, in_double
from refbn.moments import Moments
from refbn.running import RunningStatistics, exponential_average
from refbn.transform import (
    Gradients,
    batch_norm_backward,
    batch_norm_infer,
    batch_norm_infer_backward,
    batch_norm_train,
)


class BatchNorm:
    r"""Batch normalisation with state: train it, evaluate, freeze it, save it, load it.

    In training mode a call normalises with the moments of the batch and moves the running
    statistics. In evaluation mode it normalises with the running statistics and changes nothing.
    A frozen layer does so in either mode. A call that raises leaves the layer as it was.

    Attributes:
        gamma: Scale \(\gamma\), shape `(C,)`, ones at first; None if it was left out.
        beta: Shift \(\beta\), shape `(C,)`, zeros at first; None if it was left out.
        running: [`RunningStatistics`][refbn.RunningStatistics] so far.
        moments: [`Moments`][refbn.Moments] of the last batch in training; None before the first.
        training: Whether the next call trains, unless the layer is frozen.
        frozen: Whether the running statistics are used, and kept, in training mode too.

    Examples:
        >>> bn = BatchNorm(1, eps=0.0, decay=0.5)
        >>> bn(np.array([[1.0], [3.0]]))
        array([[-1.],
               [ 1.]])
        >>> bn.running
        RunningStatistics(mean=array([1.]), var=array([1.5]), num_batches=1)
        >>> bn.eval()(np.array([[1.0]]))
        array([[0.]])
    """

    __slots__ = (
        "_backward",
        "_channels",
        "_how",
        "_update",
        "beta",
        "frozen",
        "gamma",
        "moments",
        "running",
        "training",
    )  # a misspelt attribute is an error

    gamma: Array | None
    beta: Array | None
    running: RunningStatistics
    moments: Moments | None
    training: bool
    frozen: bool
    _channels: int
    _how: dict[str, Any]
    _update: partial[RunningStatistics]
    _backward: Callable[[npt.ArrayLike], Gradients] | None

    def __init__(
        self,
        channels: int,
        *,
        eps: float = 1e-5,
        channel_axis: int = 1,
        gamma: bool = True,
        beta: bool = True,
        update: Callable[..., RunningStatistics] = exponential_average,
        **rule: Any,
    ) -> None:
        r"""Make a layer in training mode.

        Args:
            channels: Number of channels `C`.
            eps: \(\varepsilon\), in the square of the unit of the input; not negative.
            channel_axis: The axis of the input that holds the channels.
            gamma: Whether there is a scale.
            beta: Whether there is a shift.
            update: How the running statistics follow the batches:
                [`exponential_average`][refbn.exponential_average],
                [`debiased_exponential_average`][refbn.debiased_exponential_average],
                [`cumulative_average`][refbn.cumulative_average], or a function of yours from
                running statistics and moments to running statistics. It is tried once here.
            **rule: Keywords for `update`, such as `decay=0.99` or `ddof=0`.

        Raises:
            TypeError: If `update` does not take these keywords, for `momentum` with the
                translation; or if it returns something else.
            ValueError: If `eps` is negative, or `update` refuses a value.
        """
        check_eps(eps)
        if not isinstance(channels, Integral) or channels < 1:
            raise ValueError(
                f"channels must be a whole number from 1 up; got {channels!r}. "
                "It is the length of the input along channel_axis."
            )
        for name, wanted in (("gamma", gamma), ("beta", beta)):
            if not isinstance(wanted, bool):
                raise TypeError(
                    f"{name} must be True or False, whether the layer has one; got {wanted!r}. "
                    f"Set its values afterwards: layer.{name} = ..."
                )
        self._channels = int(channels)
        self.gamma = np.ones(channels) if gamma else None
        self.beta = np.zeros(channels) if beta else None
        self.running = RunningStatistics.initial(channels)
        self.moments = None
        self.training, self.frozen = True, False
        self._how = {"eps": float(eps), "channel_axis": channel_axis}
        self._update = partial(update, **rule)
        self._backward = None
        # a trial, then thrown away: a rule that cannot work fails here, not at the first batch
        many = Moments(np.full(channels, 2**62), *np.zeros((2, channels)))
        start = self.running
        self.running = self._update(start, many)
        self.running = start

    def __setattr__(self, name: str, value: Any) -> None:
        """Check parameters and statistics when they are set, not when they are used.

        Args:
            name: Name of the attribute.
            value: Parameters are copied, in float64.

        Raises:
            TypeError: If a parameter is not floating and real, or `running` of another type.
            ValueError: If there are not as many values as channels.
        """
        if name in {"gamma", "beta"} and value is not None:
            value = _fitting(name, value, (self.channels,))
        if name == "running" and not isinstance(value, RunningStatistics):
            raise TypeError(
                f"running must be RunningStatistics; got {type(value).__name__}. "
                "Make them with RunningStatistics(mean, var); a rule for update returns them."
            )
        if name == "running" and value.mean.size != self.channels:
            raise ValueError(
                f"running must be of {self.channels} channels, as the layer; "
                f"got {value.mean.size}. Take the statistics over all axes but channel_axis."
            )
        object.__setattr__(self, name, value)

    @property
    def channels(self) -> int:
        """Number of channels `C`."""
        return self._channels

    @property
    def eps(self) -> float:
        r"""\(\varepsilon\), as it was given."""
        return float(self._how["eps"])

    @property
    def channel_axis(self) -> int:
        """The axis of the input that holds the channels, as it was given."""
        return int(self._how["channel_axis"])

    @property
    def update(self) -> partial[RunningStatistics]:
        """The rule of the running statistics, with the keywords that were given for it."""
        return self._update

    def train(self) -> BatchNorm:
        """Switch to training mode: the batch's own statistics, and the running ones follow.

        A frozen layer stays frozen: `train` is called on whole networks, and must not undo what was
        said of one layer.

        Returns:
            The layer itself.
        """
        self.training = True
        return self

    def eval(self) -> BatchNorm:
        """Switch to evaluation mode: the running statistics, which stay as they are.

        Returns:
            The layer itself.
        """
        self.training = False
        return self

    def freeze(self) -> BatchNorm:
        """Keep the running statistics as they are and use them, in training mode too.

        For fine-tuning on batches too small, or too unlike the old ones, to take statistics of.
        Only the statistics are frozen: `backward` still gives the gradients of gamma and beta, and
        to leave those two as they are, do not descend them. The gradient of `x` is that of
        evaluation, where no value depends on another.

        Returns:
            The layer itself.
        """
        self.frozen = True
        return self

    def unfreeze(self) -> BatchNorm:
        """Undo `freeze`: the mode decides again.

        Returns:
            The layer itself.
        """
        self.frozen = False
        return self

    def __call__(self, x: npt.ArrayLike, *, where: npt.ArrayLike | None = None) -> Array:
        """Normalise a batch, by the rules of the mode that the layer is in.

        Args:
            x: Batch of shape `(N, C)` to `(N, C, *spatial)`; floating.
            where: In training, True at the values that count; see
                [`batch_norm_train`][refbn.batch_norm_train]. In evaluation, or frozen, no value
                depends on another, so a mask would change nothing but itself, and is refused.

        Returns:
            `y`, of the shape and dtype of `x`.

        Raises:
            TypeError: If an array has a dtype that does not fit.
            ValueError: If a shape does not fit, there are too few values to store a variance of,
                the new running statistics would not be finite, or a mask is given in evaluation
                or to a frozen layer.
        """
        if self.training and not self.frozen:
            return self._train(x, where)
        self._check_channels(x)
        if where is not None:
            raise ValueError(
                "where is for training, where it keeps values out of the statistics; got a mask in "
                f"{'frozen' if self.frozen else 'evaluation'} mode. "
                "Leave it out, or mask the output."
            )
        return self._infer(x)

    def backward(self, dy: npt.ArrayLike) -> Gradients:
        """Return the gradients of the last call, in the mode that it was made in.

        Args:
            dy: Gradient of the loss with respect to the output of the last call.

        Returns:
            Gradients with respect to `x`, `gamma` and `beta`; the layer keeps none of them.

        Raises:
            RuntimeError: If the layer has not been called yet.
            TypeError: If `dy` is not floating.
            ValueError: If `dy` is not of the shape of the output.
        """
        if self._backward is None:
            raise RuntimeError(
                "backward() needs a forward pass to go back through; the layer has not been "
                "called yet. Call it on a batch first."
            )
        return self._backward(dy)

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all that the layer has learned and gathered.

        Returns:
            Arrays by name: `gamma` and `beta` where the layer has them, `running_mean`,
            `running_var`, each of shape `(C,)`, and `num_batches`, an integer of shape `()`.
        """
        parameters = {"gamma": self.gamma, "beta": self.beta}
        return {name: value.copy() for name, value in parameters.items() if value is not None} | {
            "running_mean": self.running.mean.copy(),
            "running_var": self.running.var.copy(),
            "num_batches": np.array(self.running.num_batches),
        }

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Replace all parameters and statistics, or, where one does not fit, none of them.

        Args:
            state: What `state_dict` returned, with just the names that this layer has.

        Raises:
            TypeError: If a value is not floating and real.
            ValueError: If a name is missing or unknown, a shape is wrong, a statistic is not
                finite or negative, or the number of batches is not a whole one.
        """
        own = self.state_dict()
        missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
        if missing or unknown:
            raise ValueError(
                f"the state must have the names {sorted(own)}; missing {missing}, "
                f"unknown {unknown}. Nothing was loaded. Rename or leave out what does not fit."
            )
        new = {name: _fitting(name, state[name], own[name].shape) for name in own}
        number = new["num_batches"].item()
        self.running = RunningStatistics(new["running_mean"], new["running_var"], number)
        self.gamma, self.beta = new.get("gamma"), new.get("beta")

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state, and `eps`, to a file that holds plain arrays and no pickle.

        A file that was there is replaced in one step when the new one is complete, so a failure
        leaves it as it was. What is loaded from the file is equal to the bit.

        `eps` goes along because the same state under another `eps` is another function. The mode,
        the channel axis and the rule for the running statistics are not part of the file: they say
        how the layer is used.

        Args:
            path: File name, which ends in `.npz` (NumPy's format) or in `.safetensors`, for which
                the package safetensors is needed.

        Raises:
            ImportError: If safetensors is wanted and not installed.
            OSError: If the file cannot be written.
            TypeError: If a parameter was set to what is not floating and real.
            ValueError: If the name ends otherwise.
        """
        file, to_bytes, _ = _format(path)
        state = self.state_dict() | {"eps": np.array(self._how["eps"])}
        fresh = file.with_name(f"{file.name}.{os.getpid()}")
        try:
            fresh.write_bytes(to_bytes({n: _fitting(n, a, a.shape) for n, a in state.items()}))
            fresh.replace(file)
        finally:
            fresh.unlink(missing_ok=True)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Replace all parameters and statistics by those of a file, or, on any error, none.

        Args:
            path: A file that `save` wrote.

        Raises:
            ImportError: If the file is in safetensors' format and that is not installed.
            OSError: If the file cannot be read.
            TypeError: If a value is not floating and real.
            ValueError: If the file holds pickled objects, is broken or of another format; if its
                `eps` is not the layer's; and for all that `load_state_dict` refuses.
        """
        file, _, to_arrays = _format(path)
        data = file.read_bytes()
        try:
            state = to_arrays(data)
        except Exception as error:
            raise ValueError(
                f"the file must hold plain arrays, as save() writes them; got {str(file)!r}. "
                "Nothing was loaded. Pickled objects are refused: they can run any code. Save anew."
            ) from error
        eps = state.pop("eps", None)
        if not np.array_equal(eps, self._how["eps"]):
            raise ValueError(
                f"the file must be of a layer with eps={self._how['eps']}; got eps={eps}. Nothing "
                "was loaded. Make the layer with that eps; load_state_dict() takes a state without."
            )
        self.load_state_dict(state)

    def _train(self, x: npt.ArrayLike, where: npt.ArrayLike | None) -> Array:
        self._check_channels(x)
        y, cache = batch_norm_train(x, self.gamma, self.beta, where=where, **self._how)
        self._follow(cache.moments, partial(batch_norm_backward, cache=cache))
        return y

    def _check_channels(self, x: npt.ArrayLike) -> None:
        shape, axis = np.shape(x), self.channel_axis
        if -len(shape) <= axis < len(shape) and shape[axis] != self.channels:
            raise ValueError(
                f"this layer has {self.channels} channels; got {shape[axis]} along "
                f"channel_axis={axis} of x.shape={shape}. "
                "Make a layer with as many channels, or with another channel_axis."
            )

    def _follow(self, moments: Moments, backward: Callable[[npt.ArrayLike], Gradients]) -> None:
        self.running = self._update(self.running, moments)  # the first change of state
        self.moments, self._backward = moments, backward

    def _infer(self, x: npt.ArrayLike) -> Array:
        x = as_floating("x", x).copy()  # backward must see what forward saw
        given: dict[str, Any] = {
            "mean": self.running.mean,
            "var": self.running.var,
            "gamma": None if self.gamma is None else self.gamma.copy(),
            "beta": self.beta,
        } | self._how
        y = batch_norm_infer(x, **given)
        self._backward = partial(batch_norm_infer_backward, x=x, **given)
        return y


def _format(path: str | os.PathLike[str]) -> tuple[Any, Callable[..., bytes], Callable[..., Any]]:
    """Return the path, how its kind of file is written, and how it is read."""
    from pathlib import Path  # noqa: PLC0415 (importing refbn is NumPy and little else)

    file = Path(path)
    if file.suffix == ".npz":
        return file, _to_npz, _from_npz
    if file.suffix != ".safetensors":
        raise ValueError(
            f"the name of the file must end in .npz or .safetensors; got {str(file)!r}. "
            "Choose .npz where nothing but NumPy is installed."
        )
    try:
        from safetensors import numpy as safetensors  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise ImportError(
            "a file in .safetensors needs the package safetensors, which cannot be imported. "
            'Run pip install "refbn[safetensors]", or save as .npz.'
        ) from error
    return file, safetensors.save, safetensors.load


def _to_npz(arrays: dict[str, Any]) -> bytes:
    np.savez(file := io.BytesIO(), **arrays)
    return file.getvalue()


def _from_npz(data: bytes) -> dict[str, Array]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        return dict(arrays)


def _fitting(name: str, value: npt.ArrayLike, shape: tuple[int, ...]) -> Array:
    """Return a copy of a loaded value, or say what is wrong with it."""
    array = np.asarray(value)
    if name != "num_batches":
        array = as_floating(name, array)
        if array.dtype.kind == "c":
            raise TypeError(
                f"{name} must be real; got dtype {array.dtype}. Nothing was changed. "
                "Complex numbers are for complex-step derivatives of the pure functions only."
            )
        array = in_double(array)
    if array.shape != shape:
        raise ValueError(
            f"{name} must have the shape {shape}; got {array.shape}. Nothing was changed. "
            "Pass one value for each channel of the layer."
        )
    return array.copy()

r"""How the frameworks differ, as data; layers in their own words, and states in their own names.

In training every framework computes the same outputs and gradients (Darknet and one mode of
Equinox apart). They differ in their defaults, in what the average weighs, in the variance that
they store, and in names. Two switches tell most of them apart: whether the word for the average is
the weight of the old value or of the new one, and whether the stored variance is biased.

Not here, and why:

- onnxruntime does as [`ONNX`][refbn.conventions.ONNX]; PyTorch's SyncBatchNorm has the state of
  [`PYTORCH`][refbn.conventions.PYTORCH], and the frozen batch norms of torchvision and detectron2
  have that state without its counter, and no average;
- cuDNN has neither defaults nor a state: its caller passes eps and a factor, which weighs the new
  value of the mean and of the unbiased variance, as with
  [`TENSORFLOW`][refbn.conventions.TENSORFLOW];
- `mode="ema"` of Equinox normalises with the running statistics in training too, and
  `tf.nn.batch_normalization` is [`normalize`][refbn.normalize].

The data hold for the version that each entry names.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from refbn.axes import Array, along_channels, as_floating, in_double
from refbn.layer import BatchNorm
from refbn.running import (
    RunningStatistics,
    cumulative_average,
    debiased_exponential_average,
    exponential_average,
)

_OURS = ("gamma", "beta", "running_mean", "running_var", "num_batches")
_FIRST, _LAST = "channels_first NC NCL NCHW NCDHW", "channels_last NLC NHWC NDHWC"
_RANKS = (2, 3, 4, 5)
_FORMATS = dict.fromkeys(_FIRST.split(), 1) | dict.fromkeys(_LAST.split(), -1)

State = dict[str, Array]


class ConversionWarning(UserWarning):
    """What a conversion between conventions cannot keep.

    Attributes:
        args: The message: what is lost, and what to do.

    Examples:
        >>> with warnings.catch_warnings(record=True, action="always") as said:
        ...     _ = KERAS.to_state(BatchNorm(2, channel_axis=-1, decay=0.99, ddof=0))
        >>> print(said[0].message.args[0].partition(". ")[0])
        Keras cannot keep all: converted and back it has eps=0.001 instead of 1e-05
    """


@dataclass(frozen=True, eq=False, kw_only=True)
class Convention:
    r"""One framework's batch norm: what its words mean, what it stores, and under which names.

    Attributes:
        name: Name of the framework.
        version: Version that was measured, or, where it says so, only read in the source.
        words: Words of its constructor, with their defaults; `...` where there is no default.
        eps: Its word for \(\varepsilon\), which it adds to the variance.
        average: Its word for the weight in the running average.
        weight_of: Whether that is the weight of the `"old"` value, as `decay` is here, or of the
            `"new"` one, `1 - decay`.
        ddof: 0 if the stored variance is biased, 1 if it is unbiased; a mapping from the number of
            axes of the input where it depends on that.
        axis: Its word for the channel axis, or, where it has no word, that axis.
        names: Its names of `gamma`, `beta`, `running_mean`, `running_var` and `num_batches`; None
            where it has none. A slash stands for a level of nesting.
        gamma: The words that switch the scale on.
        beta: The words that must all be true for a shift.
        update: The rule of its average.
        if_none: The rule when the word for the average is None, where it may be.
        start_var: Running variance before the first batch; the running mean is 0.
        keepdims: Whether its arrays have as many axes as its input.
        write: From a state of ours to what it stores, given the decay, where that is no copy.
        read: The way back, given the decay.
        unlike: What it does otherwise than refbn with ordinary batches; said in a warning.
        notes: What it does otherwise than refbn in other cases.

    Examples:
        >>> layer = PYTORCH.layer(1, momentum=0.5)
        >>> layer(np.array([[1.0], [3.0]])).round(4).tolist()
        [[-1.0], [1.0]]
        >>> state = PYTORCH.to_state(layer, momentum=0.5)
        >>> list(state)
        ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
        >>> PYTORCH.from_state(state, momentum=0.5).running
        RunningStatistics(mean=array([1.]), var=array([1.5]), num_batches=1)
    """

    name: str
    version: str
    words: Mapping[str, Any]
    eps: str = "eps"
    average: str = "momentum"
    weight_of: Literal["old", "new"] = "old"
    ddof: int | Mapping[int, int] = 0
    axis: str | int = 1
    names: tuple[str | None, ...] = (*_OURS[:4], None)
    gamma: tuple[str, ...] = ()
    beta: tuple[str, ...] = ()
    update: Callable[..., RunningStatistics] = exponential_average
    if_none: Callable[..., RunningStatistics] | None = None
    start_var: float = 1.0
    keepdims: bool = False
    write: Callable[[State, float], State] = lambda state, _: state
    read: Callable[[State, float], State] = lambda state, _: state
    unlike: str = ""
    notes: tuple[str, ...] = ()

    def layer(self, num_features: int, *, rank: int | None = None, **words: Any) -> BatchNorm:
        """Make a new layer with the defaults of the framework, in the framework's own words.

        Args:
            num_features: Number of channels.
            rank: Number of axes of the input, 2 for vectors, 4 for images. Only tf_keras and Haiku
                need it.
            **words: What its constructor takes, such as `momentum=0.1`.

        Returns:
            A layer in training mode, with the framework's running statistics at the start.

        Raises:
            TypeError: If a word is unknown or a required one is missing.
            ValueError: If `refbn` cannot do what a word says, or `rank` is missing.
        """
        layer = self._layer(num_features, self._given(words, rank), rank)
        self._warn([])
        return layer

    def to_state(self, layer: BatchNorm, *, rank: int | None = None, **words: Any) -> State:
        """Write the state of a layer down as the framework does.

        What is written is read back, and all that is not as it was is said in a
        [`ConversionWarning`][refbn.conventions.ConversionWarning]. Numbers stay in float64,
        although most frameworks keep float32, so what is copied comes back to the last bit. Equinox
        and Caffe store products; where one comes back rounded, that is said too.

        Args:
            layer: Any layer. Where the framework's has a scale or a shift and this one has not, it
                is written as ones or zeros.
            rank: Number of axes of the input. Only tf_keras and Haiku need it.
            **words: The words that the layer over there is made with.

        Returns:
            New arrays by the framework's names; slashes join levels of nesting.

        Raises:
            TypeError: If a word is unknown or a required one is missing, or `layer` is no layer.
            ValueError: If `refbn` cannot do what a word says, or `rank` is missing.
        """
        given = self._given(words, rank)
        if not isinstance(layer, BatchNorm):
            raise TypeError(
                f"layer must be a BatchNorm; got {type(layer).__name__}. from_state makes one of a "
                "state of the framework."
            )
        state = self._write(layer, given, rank)
        self._warn(_lost(layer, self._read(state, given, rank), rank))
        return state

    def from_state(
        self, state: Mapping[str, npt.ArrayLike], *, rank: int | None = None, **words: Any
    ) -> BatchNorm:
        """Make a layer of a state of the framework.

        Args:
            state: Arrays by the framework's names; slashes join levels of nesting. A number of
                batches that nothing is computed with may be missing, as in old checkpoints of
                PyTorch, and is 0 then.
            rank: Number of axes of the input. Only tf_keras and Haiku need it.
            **words: The words that the layer over there was made with, as no state holds `eps`,
                the weight of the average or the channel axis.

        Returns:
            A layer in training mode.

        Raises:
            TypeError: If a word is unknown or a required one is missing, `state` is no mapping, or
                a dtype does not fit.
            ValueError: If `refbn` cannot do what a word says, `rank` is missing, a name is missing
                or unknown, or a value does not fit.
        """
        given = self._given(words, rank)
        if not isinstance(state, Mapping):
            raise TypeError(
                "state must be a mapping from names to arrays, such as a dict; got "
                f"{type(state).__name__}. The names are those that to_state gives."
            )
        layer = self._read(state, given, rank)
        again = self._write(layer, given, rank)
        far = [n for n in again if n in state and not np.allclose(again[n], state[n], 1e-2)]
        self._warn([f"{name} otherwise than given" for name in far])
        return layer

    def _warn(self, lost: list[str]) -> None:
        """Warn the caller of the public method, where there is something to say."""
        message = (
            f"{self.name} cannot keep all: converted and back it has {', '.join(lost)}. What its "
            f"words ({', '.join(self.words)}) can say, say here and to the layer there; keep the "
            "rest beside the state."
        )
        for said in [message] * bool(lost) + [self.unlike] * bool(self.unlike):
            warnings.warn(said, ConversionWarning, stacklevel=3)

    def _given(self, words: Mapping[str, Any], rank: int | None) -> dict[str, Any]:
        """Return all words of the constructor, or say which of them cannot be."""
        given = {**self.words, **words}
        missing, unknown = [w for w in given if given[w] is ...], sorted(words - self.words.keys())
        if missing or unknown:
            raise TypeError(
                f"{self.name} takes the words {list(self.words)}; missing {missing}, unknown "
                f"{unknown}. Use its own words."
            )
        wrong = [said for word, value in given.items() if (said := self._wrong(word, value))]
        if wrong:
            raise ValueError(f"{self.name}: {' '.join(wrong)}")
        if (self.keepdims or isinstance(self.ddof, Mapping)) and rank not in _RANKS:
            raise ValueError(
                f"{self.name}: rank must be one of {', '.join(map(str, _RANKS))}, the number of "
                f"axes of the input, because what {self.name} stores depends on it; got "
                f"rank={rank!r}. Pass rank=2 for vectors, rank=4 for images."
            )
        return given

    def _wrong(self, word: str, value: Any) -> str:
        """Return why refbn cannot do what a known word says, or nothing where it can."""
        default, number = self.words[word], float(value) if isinstance(value, Real) else math.nan
        if word == self.average:
            settles, nothing = self.update is exponential_average, self.if_none is not None
            must = f"a number from 0 to {'1' if settles else 'below 1'}" + " or None" * nothing
            can = 0 <= number < 1 or (settles and number == 1) or (nothing and value is None)
        elif word == self.eps:
            must, can = "a finite number, not negative", 0 <= number < math.inf
        elif word == self.axis:
            must = f"one integer, or one of {', '.join(_FORMATS)}"
            can = isinstance(value, Integral) or (isinstance(value, str) and value in _FORMATS)
        elif word in self.gamma + self.beta:
            must = "True or False" + " or None" * (default is None)
            can = isinstance(value, bool) or (value is None and default is None)
        else:
            must = f"{default!r}, because refbn can do nothing else"
            can = isinstance(value, type(default)) and value == default
        return "" if can else f"{word} must be {must}; got {word}={value!r}."

    def _layer(self, num_features: int, given: dict[str, Any], rank: int | None) -> BatchNorm:
        """Return a new layer, given all words."""
        weight, axis = given[self.average], given.get(str(self.axis), self.axis)
        rule: dict[str, Any] = {"update": self.if_none}
        if weight is not None:
            decay = float(weight if self.weight_of == "old" else 1 - weight)
            rule = {"update": self.update, "decay": decay}
        layer = BatchNorm(
            num_features,
            eps=given[self.eps],
            channel_axis=_FORMATS.get(axis, axis),
            gamma=self.names[0] is not None and all(given[w] in (True, None) for w in self.gamma),
            beta=self.names[1] is not None and all(given[w] in (True, None) for w in self.beta),
            ddof=self.ddof[rank or 0] if isinstance(self.ddof, Mapping) else self.ddof,
            **rule,
        )
        zero = np.zeros(num_features)
        layer.running = RunningStatistics(zero, zero + self.start_var)
        return layer

    def _write(self, layer: BatchNorm, given: dict[str, Any], rank: int | None) -> State:
        """Return what the framework would store of the layer."""
        theirs = self._layer(layer.running.mean.size, given, rank)
        ours = theirs.state_dict()
        ours |= {name: v for name, v in layer.state_dict().items() if name in ours}
        ours = self.write(ours, theirs.update.keywords.get("decay", 0.0))
        if self.keepdims:
            shape = rank or 2, theirs.channel_axis
            ours = {name: along_channels(v, *shape) if v.ndim else v for name, v in ours.items()}
        names = dict(zip(_OURS, self.names, strict=True))
        state = {names.get(name, name): v for name, v in ours.items()}
        return {name: v for name, v in state.items() if name is not None}

    def _read(
        self, state: Mapping[str, npt.ArrayLike], given: dict[str, Any], rank: int | None
    ) -> BatchNorm:
        """Return a layer with what the framework has stored."""
        layer = self._layer(np.size(state.get(str(self.names[2]), 0.0)), given, rank)
        like, counter = self._write(layer, given, rank), self.names[4]
        optional = {counter} if layer.update.func is exponential_average else set()
        missing = sorted(like.keys() - state.keys() - optional)
        unknown = sorted(state.keys() - like.keys())
        if missing or unknown:
            raise ValueError(
                f"a state of {self.name} with these words has the names {sorted(like)}; "
                f"missing {missing}, unknown {unknown}. Take the names of one layer, cut a prefix "
                "such as 'bn1.' off, and join nested names with slashes; or say in its words that "
                "there is no scale or no shift."
            )
        theirs = {name: np.asarray(value) for name, value in state.items()}
        for name, value in theirs.items():
            _check(name, value, like[name], count=name == counter)
        if self.keepdims:
            theirs = {name: v.ravel() if v.ndim else v for name, v in theirs.items()}
        ours = {n: theirs[t] for n, t in zip(_OURS, self.names, strict=True) if t in theirs}
        ours = self.read(ours, layer.update.keywords.get("decay", 0.0))
        layer.load_state_dict(layer.state_dict() | ours)
        return layer


def _check(name: str, value: Array, like: Array, *, count: bool) -> None:
    """Refuse, by the name it has there, what cannot stand in a state of the framework."""
    if like.dtype.kind == "f":
        as_floating(name, value)
    if value.shape != like.shape:
        raise ValueError(
            f"{name} must have the shape {like.shape}, by the size of the mean; got {value.shape}. "
            "Take the arrays of one layer as they are, and the rank of its input."
        )
    fits = like.dtype.kind == "f" or value.dtype.kind in "iu"
    if count and not (fits and 0 <= value.item() < math.inf):
        raise ValueError(
            f"{name} must be a finite number, not negative, and whole where it counts the batches; "
            f"got {name}={value}. For a new layer it is 0."
        )


def _lost(layer: BatchNorm, back: BatchNorm, rank: int | None) -> list[str]:
    """Return in words what is otherwise in a layer that was converted and back."""
    was, now = _settings(layer, rank), _settings(back, rank)
    lost = [f"{name}={now[name]} instead of {was[name]}" for name in was if was[name] != now[name]]
    old, new = layer.state_dict(), back.state_dict()
    return lost + [f"{n} rounded" for n in _OURS[2:4] if not np.array_equal(old[n], new[n])]


def _settings(layer: BatchNorm, rank: int | None) -> dict[str, Any]:
    """Return what the layer was made with, and its number of batches."""
    rule = layer.update.func
    keywords = (getattr(rule, "__kwdefaults__", None) or {}) | layer.update.keywords
    shown = (f"{k}={round(v, 12) if isinstance(v, float) else v}" for k, v in keywords.items())
    return {
        "eps": layer.eps,
        "channel_axis": layer.channel_axis % rank if rank else layer.channel_axis,
        "update": f"{getattr(rule, '__name__', rule)}({', '.join(shown)})",
        "gamma": layer.gamma is not None,
        "beta": layer.beta is not None,
        "num_batches": layer.running.num_batches,
    }


def _batches(ours: State, decay: float, start_var: float) -> int:
    """Return the number of batches; for statistics from elsewhere so many that the start is gone.

    Without it the first batch would replace statistics that came from a framework that does not
    count.
    """
    start = not ours["running_mean"].any() and (ours["running_var"] == start_var).all()
    gone = math.ceil(-60 * math.log(2) / math.log(max(decay, 1e-9)))  # decay**gone is below 2**-54
    return int(ours["num_batches"]) or (0 if start else gone)


def _write_haiku(ours: State, decay: float) -> State:
    """Add the averages before they are divided by 1 - decay**t, and the second counter."""
    t = np.array(_batches(ours, decay, start_var=1.0))
    hidden = {f"{n}_ema/hidden": ours[f"running_{n}"] * (1 - decay**t) for n in ("mean", "var")}
    return ours | {"num_batches": t, "var_ema/counter": t.copy()} | hidden


def _write_equinox(ours: State, decay: float) -> State:
    """Multiply the averages with 1 - decay**t."""
    t = _batches(ours, decay, start_var=1.0)
    return _times(ours, 1 - decay**t if t else 1.0) | {"num_batches": np.array(t)}


def _read_equinox(theirs: State, decay: float) -> State:
    """Divide by 1 - decay**t, except before the first batch."""
    t = theirs["num_batches"].item()
    return _times(theirs, 1 - decay**t if t else 1.0, np.divide)


def _write_caffe(ours: State, decay: float) -> State:
    """Turn averages into sums, which weigh the batches 1, decay, decay**2, ... from the newest."""
    scale = (1 - decay ** _batches(ours, decay, start_var=0.0)) / (1 - decay)
    return _times(ours, scale) | {"num_batches": np.array([scale])}


def _read_caffe(theirs: State, decay: float) -> State:
    """Divide the sums by their weights, and count the batches from these weights."""
    scale = theirs["num_batches"].item()
    t = round(math.log(max(1 - scale * (1 - decay), 2**-60)) / math.log(max(decay, 1e-9)))
    return _times(theirs, scale or math.inf, np.divide) | {"num_batches": np.array(t)}


def _times(state: State, factor: float, operation: np.ufunc = np.multiply) -> State:
    """Return the state with mean and variance times a factor, or divided by it."""
    names = ("running_mean", "running_var")
    values = {name: in_double(as_floating(name, state[name])) for name in names}
    return state | {name: operation(value, factor) for name, value in values.items()}


# fmt: off
PYTORCH = Convention(
    name="PyTorch", version="2.13.0", weight_of="new", ddof=1, if_none=cumulative_average,
    words={"eps": 1e-5, "momentum": 0.1, "affine": True, "track_running_stats": True, "bias": True},
    gamma=("affine",), beta=("affine", "bias"),
    names=("weight", "bias", "running_mean", "running_var", "num_batches_tracked"),
    notes=("An empty batch is counted; refbn refuses it.",),
)
"""`torch.nn.BatchNorm1d`, `2d` and `3d`."""
TINYGRAD = replace(
    PYTORCH, name="tinygrad", version="0.14.0", if_none=None, beta=("affine",), notes=(),
    words={"eps": 1e-5, "affine": True, "track_running_stats": True, "momentum": 0.1},
)
"""`tinygrad.nn.BatchNorm`."""
MLX = replace(
    TINYGRAD, name="MLX", version="0.32.4", axis=-1, names=(*PYTORCH.names[:4], None),
    notes=("Before August 2026 the stored variance was biased.",),
)
"""`mlx.nn.BatchNorm`."""
KERAS = Convention(
    name="Keras", version="3.15.1", eps="epsilon", axis="axis", gamma=("scale",), beta=("center",),
    words={"axis": -1, "momentum": 0.99, "epsilon": 1e-3, "center": True, "scale": True,
           "renorm": False, "synchronized": False},
    names=("gamma", "beta", "moving_mean", "moving_variance", None),
)
"""`keras.layers.BatchNormalization` of Keras 3."""
TF_KERAS = replace(KERAS, name="tf_keras", version="2.21.0", ddof={2: 0, 3: 0, 4: 1, 5: 1})
"""`tf_keras.layers.BatchNormalization`, which is Keras 2."""
TENSORFLOW = Convention(
    name="TensorFlow's fused_batch_norm", version="2.21.0", eps="epsilon", axis="data_format",
    average="exponential_avg_factor", weight_of="new", ddof=1,
    words={"epsilon": 1e-3, "exponential_avg_factor": 1.0, "data_format": "NHWC"},
    names=("scale", "offset", "mean", "variance", None),
    notes=("One value per channel is stored as the variance 0; refbn refuses it.",),
)
"""`tf.compat.v1.nn.fused_batch_norm`."""
FLAX = Convention(
    name="Flax", version="0.12.8", eps="epsilon", axis="axis", gamma=("use_scale",),
    words={"axis": -1, "momentum": 0.99, "epsilon": 1e-5, "use_bias": True, "use_scale": True},
    beta=("use_bias",),
    names=("params/scale", "params/bias", "batch_stats/mean", "batch_stats/var", None),
    notes=("Unless use_fast_variance=False, the variance is E[x²] - E[x]², in float32.",),
)
"""`flax.linen.BatchNorm`."""
FLAX_NNX = replace(FLAX, name="Flax nnx", names=("scale", "bias", "mean", "var", None))
"""`flax.nnx.BatchNorm`."""
HAIKU = Convention(
    name="Haiku", version="0.0.17", average="decay_rate", axis="data_format", keepdims=True,
    words={"create_scale": ..., "create_offset": ..., "decay_rate": ..., "eps": 1e-5,
           "data_format": "channels_last"},
    gamma=("create_scale",), beta=("create_offset",),
    update=debiased_exponential_average, write=_write_haiku,
    names=("scale", "offset", "mean_ema/average", "var_ema/average", "mean_ema/counter"),
    notes=("The variance is E[x²] - E[x]², in the dtype of the input.",),
)
"""`haiku.BatchNorm`."""
EQUINOX = Convention(
    name="Equinox", version="0.13.8", update=debiased_exponential_average,
    words={"eps": 1e-5, "channelwise_affine": True, "momentum": 0.99, "mode": "batch"},
    gamma=("channelwise_affine",), beta=("channelwise_affine",),
    names=("weight", "bias", "batch_state_index/0", "batch_state_index/1", "batch_counter"),
    write=_write_equinox, read=_read_equinox,
    notes=("In a new layer the variance is momentum / (1 - momentum) too large after one batch.",),
)
"""`equinox.nn.BatchNorm` with `mode="batch"`."""
ONNX = Convention(
    name="ONNX", version="1.23.2", eps="epsilon", words={"epsilon": 1e-5, "momentum": 0.9},
    names=("scale", "B", "input_mean", "input_var", None),
)
"""The operator `BatchNormalization` from opset 14 on, also in onnxruntime."""
PADDLE = Convention(
    name="PaddlePaddle", version="3.3.1", eps="epsilon", axis="data_format",
    words={"momentum": 0.9, "epsilon": 1e-5, "weight_attr": None, "bias_attr": None,
           "data_format": "NCHW", "use_global_stats": None},
    gamma=("weight_attr",), beta=("bias_attr",),
    names=("weight", "bias", "_mean", "_variance", None),
    notes=("One value per channel is returned as it is, without gamma and beta.",),
)
"""`paddle.nn.BatchNorm1D`, `2D` and `3D`."""
MXNET = Convention(
    name="MXNet", version="1.9.1", eps="epsilon", axis="axis", gamma=("scale",), beta=("center",),
    words={"axis": 1, "momentum": 0.9, "epsilon": 1e-5, "center": True, "scale": True,
           "use_global_stats": False},
    notes=("The running statistics move in the backward pass.",
           "These are Gluon's defaults; the operator's are epsilon=1e-3 and gamma fixed at 1."),
)
"""`mxnet.gluon.nn.BatchNorm` on a CPU."""
MXNET_GPU = replace(MXNET, name="MXNet on a GPU", version="apache/mxnet#21111", ddof=1)
"""`mxnet.gluon.nn.BatchNorm` on a GPU, where cuDNN computes."""
CHAINER = Convention(
    name="Chainer", version="7.8.1", average="decay", ddof=1,
    words={"decay": 0.9, "eps": 2e-5, "use_gamma": True, "use_beta": True},
    gamma=("use_gamma",), beta=("use_beta",),
    names=("gamma", "beta", "avg_mean", "avg_var", "N"), notes=TENSORFLOW.notes,
)
"""`chainer.links.BatchNormalization`."""
CAFFE = Convention(
    name="Caffe", version="9b89154018, source", average="moving_average_fraction", ddof=1,
    words={"moving_average_fraction": 0.999, "eps": 1e-5},
    update=debiased_exponential_average, start_var=0.0,
    names=(None, None, "blobs[0]", "blobs[1]", "blobs[2]"), write=_write_caffe, read=_read_caffe,
    notes=("gamma and beta are in a Scale layer that follows.", *TENSORFLOW.notes),
)
"""The layer `BatchNorm` of BVLC Caffe."""
DARKNET = Convention(
    name="Darknet", version="f6afaabcdf, source", average="decay", ddof=1, start_var=0.0,
    words={"eps": 1e-5, "decay": 0.99},
    names=("scales", "biases", "rolling_mean", "rolling_variance", None),
    unlike="Darknet divides by the root of the unbiased variance in training, and on a CPU by "
           "sqrt(var) + 1e-6; refbn does neither. For inference as on its CPU, put "
           "(sqrt(rolling_variance) + 1e-6)**2 in the place of rolling_variance, with eps=0.0.",
    notes=("eps and decay are no words of Darknet: they are fixed there.",
           "A batch norm that is no part of a convolution does not save its biases."),
)
"""The batch norm of pjreddie's Darknet."""
NUMPY_ML = Convention(
    name="numpy-ml", version="0.1.2", eps="epsilon", axis=-1,
    words={"momentum": 0.9, "epsilon": 1e-5},
    names=("scaler", "intercept", "running_mean", "running_var", None),
    notes=("gamma starts with random numbers; here with ones.",),
)
"""`numpy_ml.neural_nets.layers.BatchNorm1D` and `BatchNorm2D`."""
CS231N = Convention(
    name="CS231n", version="2025", words={"momentum": 0.9, "eps": 1e-5}, start_var=0.0
)
"""The functions of the Stanford course's second assignment."""
# fmt: on
CONVENTIONS = {name: value for name, value in vars().items() if isinstance(value, Convention)}
"""All of them by name, in the order of this page."""

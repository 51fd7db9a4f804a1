r"""Files of ONNX with a node `BatchNormalization`.

What is tried is the node, with the attributes that it has in the file. Its parameters and running
statistics are numbers that any training might have given; the laws put others in their place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from refbn.axes import Array
from refbn.diagnose.layout import Layout
from refbn.diagnose.subject import Lacking, Start, Subject, Target

_INPUTS = ("x", "gamma", "beta", "old_mean", "old_var")
_OUTPUTS = ("y", "mean", "var")
_HALF = 2  # bytes, of float16 and bfloat16
_TRAINS_SINCE = 14  # version of the operators, in which training_mode came

Runtime = Literal["onnxruntime", "reference"]
Run = Callable[[dict[str, Array]], list[Any]]


def onnx_target(
    model: Any, *, node: str | None = None, runtime: Runtime | None = None, dtype: str | None = None
) -> Target:
    """Adapt a node `BatchNormalization` of an ONNX model.

    Args:
        model: The model, or the path of its file.
        node: Name of the node, where there are several that differ.
        runtime: `"onnxruntime"`, or `"reference"` for the evaluator of onnx; onnxruntime if it is
            installed.
        dtype: Of all numbers, such as `"float64"`; `"float32"` without it.

    Returns:
        What the laws are tried on.

    Raises:
        ImportError: If onnx is not installed.
        ValueError: If there is no such file, or not one node to try.
    """
    try:
        import onnx  # noqa: PLC0415
    except ImportError:
        raise ImportError(
            "to diagnose a file of ONNX, its package must be installed: pip install onnx."
        ) from None
    name = "model"
    if isinstance(model, str | Path):
        path, name = Path(model), Path(model).name
        model = _loaded(path)
    chosen = _chosen(model, name, node)
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in chosen.attribute}
    version = next(o.version for o in model.opset_import if o.domain in {"", "ai.onnx"})
    made = functools.partial(
        _Node, attributes, version, runtime or _installed(), np.dtype(dtype or "float32")
    )
    layouts = tuple(Layout(rank, 1) for rank in (2, 3, 4, 5))
    return Target(f"{name}:{chosen.name or chosen.op_type}", made, layouts)


class _Node(Subject):
    """A node, alone in a model, with parameters and statistics of its own."""

    def __init__(
        self, attributes: dict[str, Any], version: int, runtime: Runtime, dtype: Any, start: Start
    ) -> None:
        super().__init__(start)
        self.attributes, self.version, self.runtime, self.dtype = (
            attributes,
            version,
            runtime,
            dtype,
        )
        self.mean, self.var = start.mean, start.var

    def train(self, x: Array) -> Array:
        if self.version < _TRAINS_SINCE:
            raise Lacking(
                f"forward pass in training, which version {self.version} of the operators has not"
            )
        if not self.attributes.get("training_mode", 0):
            raise Lacking("forward pass in training, as its training_mode is 0")
        y, self.mean, self.var = self._run(x, training_mode=1)
        return y

    def infer(self, x: Array) -> Array:
        mode = {"training_mode": 0} if self.version >= _TRAINS_SINCE else {}
        return self._run(x, **mode)[0]

    def statistics(self) -> tuple[Array, Array]:
        return self.mean, self.var

    def _run(self, x: Array, **mode: int) -> list[Array]:
        dtype = x.dtype if x.dtype.itemsize == _HALF else self.dtype
        outputs = _OUTPUTS if mode.get("training_mode") else _OUTPUTS[:1]
        model = _model(self.attributes | mode, self.version, dtype, outputs)
        values = (x, self.start.gamma, self.start.beta, self.mean, self.var)
        feeds = dict(zip(_INPUTS, (np.asarray(v, dtype) for v in values), strict=True))
        return [np.asarray(value) for value in _session(model, self.runtime)(feeds)]


def _loaded(path: Path) -> Any:
    """Return the model in a file."""
    import onnx  # noqa: PLC0415
    from google.protobuf.message import DecodeError  # noqa: PLC0415

    try:
        return onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as error:
        raise ValueError(f"{path} must be a file of ONNX; reading it failed: {error}.") from None


def _chosen(model: Any, name: str, node: str | None) -> Any:
    """Return the node to try."""
    nodes = [one for one in model.graph.node if one.op_type == "BatchNormalization"]
    if not nodes:
        raise ValueError(f"{name} must have a node BatchNormalization; it has none.")
    if node is not None:
        nodes = [one for one in nodes if one.name == node]
    elif len({str(sorted(map(str, one.attribute))) for one in nodes}) > 1:
        names = [one.name for one in nodes]
        raise ValueError(
            f"the nodes BatchNormalization of {name} differ. Say which: node= one of {names}."
        )
    if not nodes:
        raise ValueError(f"{name} must have a node BatchNormalization of the name {node!r}.")
    return nodes[0]


def _model(attributes: dict[str, Any], version: int, dtype: Any, outputs: tuple[str, ...]) -> bytes:
    """Return a model of one node."""
    from onnx import helper  # noqa: PLC0415

    node = helper.make_node("BatchNormalization", _INPUTS, outputs, **attributes)
    kind = helper.np_dtype_to_tensor_dtype(dtype)
    inputs, results = (
        [helper.make_tensor_value_info(name, kind, None) for name in names]
        for names in (_INPUTS, outputs)
    )
    graph = helper.make_graph([node], "batch_norm", inputs, results)
    opset = [helper.make_opsetid("", version)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


def _installed() -> Runtime:
    """Return what can run a model here."""
    try:
        import onnxruntime  # noqa: F401, PLC0415
    except ImportError:
        return "reference"
    return "onnxruntime"


@functools.lru_cache
def _session(model: bytes, runtime: Runtime) -> Run:
    """Return what runs a model."""
    if runtime == "reference":
        from onnx.reference import ReferenceEvaluator  # noqa: PLC0415

        evaluator = ReferenceEvaluator(model)
        return lambda feeds: list(evaluator.run(None, feeds))
    import onnxruntime  # noqa: PLC0415

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda feeds: list(session.run(None, feeds))

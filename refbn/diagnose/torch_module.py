r"""Modules of PyTorch: a batch norm itself, or a module with one in it.

PyTorch is imported when a module is tried; whoever has a module has PyTorch.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from refbn.axes import Array
from refbn.diagnose.layout import Layout
from refbn.diagnose.roles import by_role, fit, require_statistics
from refbn.diagnose.subject import BOTH, Lacking, Start, Subject, Target

_RANKS = (2, 3, 4, 5)
_HALF = 2  # bytes


def torch_target(
    module: Any, *, channel_axis: int = 1, dtype: str | None = None, **words: Any
) -> Target:
    """Adapt a module of PyTorch: its parameters and buffers are known by their names.

    Args:
        module: An `nn.Module`, which is copied; or a class of them, which is made with the number
            of channels.
        channel_axis: The axis of the channels in its batches.
        dtype: What the module is converted to, such as `"float64"`; it stays as it is without.
        **words: What the class is made with beside the number of channels.

    Returns:
        What the laws are tried on.

    Raises:
        TypeError: If there are words for a module that is made already.
        ValueError: If the module holds several batch norms.
    """
    layouts = tuple(Layout(rank, channel_axis) for rank in _RANKS)
    if isinstance(module, type):
        return Target(
            module.__name__,
            lambda start: _Module(module(start.gamma.size, **words), start, dtype),
            layouts,
            parameters=BOTH & _tensors(module(3, **words)).keys(),
        )
    if words:
        raise TypeError(
            f"a module that is made already takes no words; got {sorted(words)}. Pass the class "
            f"{type(module).__name__}, or make the module with them."
        )
    return Target(
        type(module).__name__,
        lambda start: _Module(_copied(module).cpu(), start, dtype),
        layouts,
        _channels(module),
        BOTH & _tensors(module).keys(),
    )


class _Module(Subject):
    """A module, of which nobody else has hold."""

    def __init__(self, module: Any, start: Start, dtype: str | None) -> None:
        import torch  # noqa: PLC0415

        super().__init__(start)
        self.torch = torch
        _initialize(module, torch.zeros(1, start.gamma.size))
        self.module = module.to(getattr(torch, dtype)) if dtype else module
        self.tensors = _tensors(module)
        self.dtype = _dtype(module) or getattr(torch, dtype or "float64")
        self._set(start)

    def _set(self, start: Start) -> None:
        """Write the start into the module, which then has seen no batch."""
        require_statistics(self.tensors, start)
        with self.torch.no_grad():
            for role, tensor in self.tensors.items():
                values = fit(role, getattr(start, role), tuple(tensor.shape))
                tensor.copy_(self._tensor(values))
            for counter in self.module.buffers():
                if counter.numel() == 1 and not counter.is_floating_point():
                    counter.zero_()

    def _tensor(self, array: Array) -> Any:
        if array.dtype.itemsize == _HALF:  # float16, or bfloat16, which PyTorch does not read
            dtype = getattr(self.torch, array.dtype.name)
            return self.torch.tensor(array.astype(np.float32), dtype=dtype)
        return self.torch.tensor(array, dtype=self.dtype)

    def train(self, x: Array) -> Array:
        self.x = self._tensor(x).requires_grad_()
        for role in BOTH & self.tensors.keys():
            self.tensors[role].requires_grad_()
        try:
            self.y = self.module.train()(self.x)
        except RuntimeError:
            if x.dtype.itemsize == _HALF:
                raise Lacking(f"support for {x.dtype}") from None
            raise
        return _numpy(self.y, x.dtype)

    def infer(self, x: Array) -> Array:
        with self.torch.no_grad():
            return _numpy(self.module.eval()(self._tensor(x)), x.dtype)

    def backward(self, dy: Array) -> tuple[Array, Array | None, Array | None]:
        parameters = {role: self.tensors[role] for role in BOTH & self.tensors.keys()}
        dx, *others = self.torch.autograd.grad(
            self.y,
            (self.x, *parameters.values()),
            self._tensor(dy),
            allow_unused=True,
            materialize_grads=True,
        )
        of = {role: _numpy(g) for role, g in zip(parameters, others, strict=True)}
        return _numpy(dx), of.get("gamma"), of.get("beta")

    def statistics(self) -> tuple[Array, Array]:
        if not self.tensors.keys() >= {"mean", "var"}:
            raise Lacking("running statistics")
        now = _tensors(self.module)  # they may have been replaced
        mean, var = (_numpy(now[name]).copy() for name in ("mean", "var"))
        return mean, var


def _numpy(tensor: Any, dtype: Any = np.float32) -> Array:
    """Return an array; for bfloat16, which NumPy has not, one of another dtype."""
    tensor = tensor.detach()
    if str(tensor.dtype) == "torch.bfloat16":
        return np.asarray(tensor.float().numpy(), dtype)
    return np.asarray(tensor.numpy())


def _tensors(module: Any) -> dict[str, Any]:
    """Return gamma, beta, mean and var: parameters, buffers, or tensors that are neither."""
    import torch  # noqa: PLC0415

    named = {
        f"{place}.{name}": tensor
        for place, part in module.named_modules()
        for name, tensor in (
            *vars(part).items(),
            *part.named_parameters(recurse=False),
            *part.named_buffers(recurse=False),
        )
        if isinstance(tensor, torch.Tensor)
    }
    return by_role(named, ".")


def _copied(module: Any) -> Any:
    """Return a copy, also of a module that has seen no batch yet."""
    from torch.nn.parameter import is_lazy  # noqa: PLC0415

    lazy = (buffer for buffer in module.buffers() if is_lazy(buffer))  # which cannot be copied
    return copy.deepcopy(module, {id(buffer): type(buffer)(dtype=buffer.dtype) for buffer in lazy})


def _channels(module: Any) -> int | None:
    """Return the number of channels that a module was made for, if it shows."""
    from torch.nn.parameter import is_lazy  # noqa: PLC0415

    sizes = [tensor.numel() for tensor in _tensors(module).values() if not is_lazy(tensor)]
    number = max(sizes, default=getattr(module, "num_features", 0))
    return number or None


def _initialize(module: Any, batch: Any) -> None:
    """Make the parameters that a lazy module makes when it sees the first batch."""
    for part in list(module.modules()):
        if hasattr(part, "has_uninitialized_params") and part.has_uninitialized_params():
            part.initialize_parameters(batch)


def _dtype(module: Any) -> Any:
    """Return the dtype of a module's tensors; None if it has none."""
    tensors = _tensors(module).values()
    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), None)

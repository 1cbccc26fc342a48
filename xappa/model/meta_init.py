"""Networks without memory, whose parameters come from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from xappa.errors import ModelError
from xappa.model.tensor_files import align_tensor

Network = TypeVar("Network", bound=nn.Module)


class MetaInitialisation(TorchFunctionMode):
    """Within it `torch.empty`, of which layers make their parameters, gives tensors on the meta device.

    Tensors that are made with values, such as coordinates, keep them: those that are no part of a state dict could not
    be restored otherwise.
    """

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Send `torch.empty` to the meta device, unless a device was named."""
        kwargs = dict(kwargs or {})
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def load_network(build: Callable[[], Network], tensors: Mapping[str, Tensor], what: str) -> Network:
    """A network whose parameters and buffers are the given tensors themselves, wherever they can be.

    Parameters
    ----------
    build : callable
        Makes the network.
    tensors : mapping of str to Tensor
        Its state dict. Floating-point numbers become float32; those that are not, or whose place in memory is not
        fit for kernels, are copied.
    what : str
        What the tensors are of, for the error.

    Returns
    -------
    Module
        In evaluation mode, without gradients.

    Raises
    ------
    ModelError
        If names or shapes differ from the network's; all of them, as a table.
    """
    # First its sizes alone: a configuration that asks for more than the file holds must not take memory.
    with torch.device("meta"):
        expected = build().state_dict()
    if rows := compare_shapes(expected, tensors):
        raise ModelError(f"{what} does not fit the network that its configuration describes:\n{format_table(rows)}")
    with MetaInitialisation():
        network = build()
    single = {k: align_tensor(v.float() if v.is_floating_point() else v) for k, v in tensors.items()}
    network.load_state_dict(single, assign=True)
    return network.eval().requires_grad_(False)


def compare_shapes(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[tuple[str, str, str]]:
    """(name, shape expected, shape found) of every tensor that is missing, not known, or of another shape.

    Tables of integers, such as the edges of a graph, may be of another length.
    """
    names = dict.fromkeys((*expected, *found))
    pairs = ((name, expected.get(name), found.get(name)) for name in names)
    return [(name, _format_shape(a), _format_shape(b)) for name, a, b in pairs if _size(a) != _size(b)]


def _size(tensor: Tensor | None) -> tuple[int, ...] | int | None:
    if tensor is None:
        return None
    return tuple(tensor.shape) if tensor.is_floating_point() else tensor.ndim


def _format_shape(tensor: Tensor | None) -> str:
    return "-" if tensor is None else str(tuple(tensor.shape))


def format_table(rows: list[tuple[str, str, str]]) -> str:
    """Rows of `compare_shapes` as text."""
    rows = [("tensor", "expected", "found"), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"  {name:<{widths[0]}}  {left:<{widths[1]}}  {right}" for name, left, right in rows)

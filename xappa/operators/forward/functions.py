r"""Functions of a state on tensors: whitened, not linear, differentiable; the other half of `linear`.

With the state :math:`x = c + s \odot \zeta` and reports :math:`y = S f(x) + b + \varepsilon`, where S reads fields off
what the function makes, the reading is :math:`A(\zeta) = \sigma^{-1} S f(c + s \odot \zeta)`, compared with
:math:`\sigma^{-1} (y - b)`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from xappa._typing import Array
from xappa.errors import OperatorError
from xappa.operators.composite import CompositeOperator, OperatorBlock
from xappa.operators.forward.dataset_function import DatasetFunction
from xappa.operators.forward.extremes import WhitenedExtreme, select_extreme
from xappa.operators.forward.linear import WhitenedOperator
from xappa.operators.sparse import SparseOperator
from xappa.tokens import get_function_name


class WhitenedFunction(torch.nn.Module):
    """Numbers read off the fields that a function makes, whitened.

    Parameters
    ----------
    function : DatasetFunction
    stencil : SparseOperator
        Of the view's fields, over `times`.
    times : array of datetime64, (T,)
    climatology, scale : Tensor, (T, channel, latitude, longitude) and (channel, latitude, longitude)
    representation : Tensor, (channel, latitude, longitude), optional
        As for `WhitenedOperator`. Its effect is taken as that of an error of one sign throughout a channel, channel
        by channel and independently, around the climatology.
    extra_variance : array of float, (M,), optional
    method, states
        See `OperatorBlock`.
    """

    climatology: Tensor
    scale: Tensor
    index: Tensor
    weight: Tensor
    y: Tensor

    def __init__(
        self,
        view: DatasetFunction,
        stencil: SparseOperator,
        times: Array,
        climatology: Tensor,
        scale: Tensor,
        representation: Tensor | None = None,
        extra_variance: Array | None = None,
        method: str | None = None,
        states: int = 1,
    ) -> None:
        super().__init__()
        self.method, self.states = method, states
        self.function, self.times, self.name = view, times, get_function_name(view.function)
        shape = (len(times), *view.derived.shape)
        row, column = np.divmod(stencil.cell, shape[-1])
        index = np.ravel_multi_index((stencil.time, stencil.channel, row, column), shape)
        self.register_buffer("climatology", torch.nan_to_num(climatology), persistent=False)
        self.register_buffer("scale", torch.nan_to_num(scale), persistent=False)
        self.register_buffer("index", torch.from_numpy(index.astype(np.int64)), persistent=False)
        self.register_buffer("weight", torch.from_numpy(stencil.weight).to(climatology.dtype), persistent=False)
        variance = stencil.error**2
        if representation is not None:
            variance = variance + self._compute_variance(representation)
        if extra_variance is not None:
            variance = variance + extra_variance
        self.deviation = np.sqrt(variance)
        self.weight /= torch.from_numpy(self.deviation)[:, None]
        y = (stencil.value - stencil.offset) / self.deviation
        self.register_buffer("y", torch.from_numpy(y).to(climatology.dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Whitened reports (B, M) predicted from standardised fields (B, T, channel, latitude, longitude)."""
        return torch.stack([self._evaluate(self.climatology + self.scale * member) for member in x])

    def _evaluate(self, fields: Tensor) -> Tensor:
        made = self.function(fields, self.times).to(self.weight.dtype).flatten()
        index = self.index.flatten()
        picked = made[index] if made.is_cuda else made.index_select(0, index)
        found = picked.unflatten(0, self.index.shape) * self.weight
        if self.method is None:
            found = found.sum(dim=-1)
        else:
            found = select_extreme(found.unflatten(1, (self.states, -1)).sum(dim=-1), self.method)
        if not bool(torch.isfinite(found.detach()).all()):
            self._raise_mismatch(found.detach())
        return found

    def _raise_mismatch(self, found: Tensor) -> None:
        wrong = int((~torch.isfinite(found)).sum())
        raise OperatorError(
            f"{self.name} returned no finite number for {wrong} of {len(found)} reports. Fields of a model are not "
            "bounded: humidity may be slightly below 0. Look for roots, logarithms and divisions, and put "
            ".clip(min=...) before them; a function that looks at other times has none before the first one of a "
            "window: give a fill_value, or leave out these reports"
        )

    @torch.no_grad()
    def _compute_variance(self, representation: Tensor) -> Array:
        error = representation if representation.ndim == 3 else representation[:, None, None]
        with torch.enable_grad():
            fields = self.climatology.clone().requires_grad_()
            base = self._evaluate(fields)
            (gradient,) = torch.autograd.grad(base.square().sum(), fields)
        base, used = base.detach(), gradient.abs().amax(dim=(0, 2, 3)) > 0
        total = np.zeros(len(base))
        for channel in torch.nonzero(used).flatten().tolist():
            moved = self.climatology.clone()
            moved[:, channel] += torch.nan_to_num(self.scale[channel] * error[channel])
            total += (self._evaluate(moved) - base).double().numpy() ** 2
        return total


class WhitenedComposite(torch.nn.Module):
    """Several readings of the same fields, one after the other.

    Attributes
    ----------
    frames, y, deviation
        As for `WhitenedOperator`.
    linear : bool
        Whether all of them are linear.
    """

    linear = False

    def __init__(self, readings: list[torch.nn.Module], frames: tuple[int, ...]) -> None:
        super().__init__()
        self.readings, self.frames = torch.nn.ModuleList(readings), frames
        self.deviation = np.concatenate([np.asarray(part.deviation) for part in readings])

    @property
    def y(self) -> Tensor:
        """Whitened observations; residuals ``y - operator(x)`` have unit variance."""
        return torch.cat([part.y for part in self.readings])  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self.deviation)

    def forward(self, x: Tensor) -> Tensor:
        """Whitened reports (B, M) predicted from standardised fields (B, len(frames), channel, latitude, longitude)."""
        return torch.cat([part(x) for part in self.readings], dim=1)


class _Subset(torch.nn.Module):
    """A linear reading of some of the frames that are given."""

    def __init__(self, reading: WhitenedOperator, frames: tuple[int, ...]) -> None:
        super().__init__()
        self.reading, self.deviation = reading, reading.deviation
        self.positions = [frames.index(frame) for frame in reading.frames]

    @property
    def y(self) -> Tensor:
        """See `WhitenedOperator`."""
        return self.reading.y

    def forward(self, x: Tensor) -> Tensor:
        """See `Reading.forward`."""
        return self.reading(x[:, self.positions])


def make_whitened_operator(
    rows: SparseOperator | CompositeOperator,
    climatology: Array,
    scale: Array,
    *,
    representation: Array | None = None,
    extra_variance: Array | None = None,
    dtype: torch.dtype = torch.float32,
) -> WhitenedOperator | WhitenedComposite:
    """Whitened observation operator of standardised fields, linear or not.

    Parameters
    ----------
    rows : SparseOperator or CompositeOperator
        Observation operator over T times.
    climatology, scale, representation, extra_variance, dtype
        See `WhitenedOperator`.

    Returns
    -------
    WhitenedOperator or WhitenedComposite
        Without reports for which a function returns NaN from finite fields.
    """
    if isinstance(rows, SparseOperator):
        return WhitenedOperator(
            rows, climatology, scale, representation=representation, extra_variance=extra_variance, dtype=dtype
        )
    frames = tuple(int(frame) for frame in rows.frames)
    ends = np.cumsum([0, *(len(part.stencil) for part in rows.blocks)])
    readings: list[torch.nn.Module] = []
    for part, start, end in zip(rows.blocks, ends[:-1], ends[1:], strict=True):
        extra = None if extra_variance is None else extra_variance[start:end]
        if part.function is None and part.extreme is not None:
            found = part.stencil, part.states, part.extreme, frames, climatology, scale
            readings.append(WhitenedExtreme(*found, representation=representation, extra_variance=extra, dtype=dtype))
            continue
        if part.function is None:
            linear = WhitenedOperator(
                part.stencil, climatology, scale, representation=representation, extra_variance=extra, dtype=dtype
            )
            readings.append(_Subset(linear, frames))
            continue
        readings.append(
            _gather_function(part.function, part, rows, frames, climatology, scale, representation, extra, dtype)
        )
    return WhitenedComposite(readings, frames)


def _gather_function(
    view: DatasetFunction,
    part: OperatorBlock,
    rows: CompositeOperator,
    frames: tuple[int, ...],
    climatology: Array,
    scale: Array,
    representation: Array | None,
    extra: Array | None,
    dtype: torch.dtype,
) -> WhitenedFunction:
    def tensor(values: Array) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(dtype)

    index = list(frames)
    times = rows.times[index]
    moved = part.stencil.reindex_times(rows.frames)
    error = None if representation is None else tensor(representation)
    fields = tensor(climatology[index]), tensor(scale)
    return WhitenedFunction(view, moved, times, *fields, error, extra, part.extreme, part.states)

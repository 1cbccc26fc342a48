"""A function tried on plausible fields, so that what is wrong with it is said at the call, not in a worker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from xappa._typing import Array
from xappa.errors import OperatorError
from xappa.model.state import StateSpec
from xappa.operators.context import StateContext
from xappa.operators.forward.dataset_function import (
    DatasetFunction,
    FunctionOutput,
    MissingVariableError,
    arrange_result,
    call_function,
    label_fields,
)
from xappa.operators.forward.reference_atmosphere import LARGEST, make_plausible_fields
from xappa.operators.match_outputs import make_result_conversion, match_fields, name_fields
from xappa.operators.torch_array.array import TensorArray
from xappa.tokens import get_function_name


@dataclass(frozen=True, eq=False)
class TracedFunction:
    """A view, and where its fields have values.

    Parameters
    ----------
    function : DatasetFunction
    mask : array of bool, (derived channel, latitude, longitude)
    level_coordinate : dict
        Coordinate that chooses the level of each variable: ``"level"`` or ``"channel"``.
    """

    function: DatasetFunction
    mask: Array
    level_coordinate: dict[str, str]


def trace(
    function: Callable[[xr.Dataset], Any],
    state: StateContext,
    candidates: Sequence[str],
    units: dict[str, str],
    spare: Collection[str] = (),
) -> TracedFunction:
    """Make a function of a Dataset ready for reports.

    Parameters
    ----------
    function : callable
    state : StateContext
    candidates : sequence of str
        Observed quantities that have good reports.
    units : dict
        Units of the observed quantities.
    spare : collection of str
        See `match_fields`.

    Raises
    ------
    OperatorError
        If the function fails, returns what cannot be compared, breaks the gradient, or gives no number.
    """
    name = get_function_name(function)
    try:
        result, states, used = _try_function(function, state)
    except MissingVariableError as error:
        if state.layout is None:
            raise
        # A function written for the model's own names serves every Dataset.
        state = replace(state, layout=None)
        try:
            result, states, used = _try_function(function, state)
        except MissingVariableError:
            raise error from None
    fields = name_fields(result, name)
    users = dict(state.layout.names) if state.layout is not None else {}
    pairs = match_fields(fields, isinstance(result, xr.DataArray), candidates, users, name, spare)
    for key in pairs:
        _require_shape(fields[key], key, state, used, name)
        _require_gradient(fields[key], key, name)
    chosen = {key: fields[key] for key in pairs}
    latitude, longitude = _find_common_grid(chosen, state, name)
    outputs, channels, by = [], [], {}
    for key, target in pairs.items():
        field = chosen[key]
        axis, numbers, kind = _identify_levels(field, state)
        by[target] = kind
        channels += [(target, number) for number in numbers]
        map_units = make_result_conversion(field, units.get(target, ""), target, name)
        single = isinstance(result, xr.DataArray)
        outputs.append(FunctionOutput(None if single else key, target, map_units, axis))
    spec = state.spec
    derived = StateSpec(tuple(channels), latitude, longitude, spec.step_hours, spec.window)
    view = DatasetFunction(function, state, tuple(outputs), derived, local=False)
    mask = _compute_mask(chosen, outputs, view, used, name)
    return TracedFunction(replace(view, local=_is_local(view, result, states, used)), mask, by)


def _try_function(function: Callable[[xr.Dataset], Any], state: StateContext) -> tuple[Any, Tensor, Array]:
    """The result of a function, and the states and the times that it was given.

    These are all times, but no more than a window's or than `LARGEST` numbers: a function must look no further back in
    them than it ever will, if it is to be seen.
    """
    times = state.times
    affordable = LARGEST // int(np.prod(state.spec.shape))
    few = times[: max(state.spec.window, affordable, 2)]
    fields = make_plausible_fields(state.spec, len(few)).requires_grad_()
    try:
        return call_function(function, label_fields(state, fields, few)), fields, few
    except MissingVariableError:
        raise
    except OperatorError:
        if len(few) == len(times):
            raise
    fields = make_plausible_fields(state.spec, len(times)).requires_grad_()
    return call_function(function, label_fields(state, fields, times)), fields, times


def _is_local(view: DatasetFunction, result: Any, fields: Tensor, times: Array) -> bool:
    """Whether the first and the last time have the same fields without the others.

    The last one differs if the function looks back, by however many times, and the first one if it looks ahead.
    """
    if len(times) == 1:
        return True
    with torch.no_grad():
        whole = view.place_outputs(result, times)
        for k in (0, len(times) - 1):
            try:
                alone = view(fields[k : k + 1], times[k : k + 1])
            except Exception:  # what cannot be made of one time looks at several
                return False
            if not _are_equal_fields(whole[k : k + 1], alone):
                return False
    return True


def _are_equal_fields(a: Tensor, b: Tensor) -> bool:
    """Whether fields (T, channel, latitude, longitude) are equal, but for rounding at the size of each channel."""
    if a.shape != b.shape:
        return False
    size = torch.where(torch.isfinite(a), a.abs(), 0).amax(dim=(2, 3), keepdim=True)
    return bool((((a - b).abs() <= 1e-5 * size) | (a == b) | (a.isnan() & b.isnan())).all())


def _require_shape(field: xr.DataArray, key: str, state: StateContext, times: Array, name: str) -> None:
    axes = [state.get_axis_name(axis) for axis in ("time", "level", "latitude", "longitude")]
    wrong = [f"{dim} ({field.sizes[dim]})" for dim in field.dims if dim not in (*axes, "channel")]
    shape = f"{key} with the dimensions ({', '.join(f'{d}: {n}' for d, n in field.sizes.items())})"
    if wrong or {axes[1], "channel"} <= set(field.dims):
        raise OperatorError(
            f"{name} returned {shape}; expected fields over {', '.join(axes)}, of which it may leave out all but "
            f"{axes[0]} (or a dimension 'channel' instead of the level): reduce or select the others"
        )
    if axes[0] not in field.dims:
        raise OperatorError(
            f"{name} returned {shape}, without {axes[0]!r}: a report is read at its time. Keep the dimension; for sums "
            "and means over a period there are xappa.operators.Accumulate and Average"
        )
    known = field[axes[0]].values if axes[0] in field.coords else None
    if known is None and field.sizes[axes[0]] != len(times):
        raise OperatorError(
            f"{name} returned {shape} without the times that they are for; keep the coordinate {axes[0]!r}"
        )
    if known is not None and known.dtype.kind != "M":
        raise OperatorError(
            f"{name} returned {shape} with the coordinate {axes[0]!r} of {known.dtype}; expected the times that the "
            "fields are for (datetime64): keep those of the state, or drop the coordinate"
        )


def _require_gradient(field: xr.DataArray, key: str, name: str) -> None:
    data = field.data
    if not isinstance(data, TensorArray) or not data.tensor.is_floating_point() or not data.tensor.requires_grad:
        raise OperatorError(
            f"{name} returned {key} as {type(data).__name__} of {data.dtype} without a gradient: it does not depend on "
            "the state by steps that have a derivative. Comparisons, rounding and numbers made before the call have "
            "none; use the methods listed in the documentation of operators"
        )


def _find_common_grid(
    fields: dict[str, xr.DataArray], state: StateContext, name: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    found = {}
    for key, field in fields.items():
        axes = []
        for axis in ("latitude", "longitude"):
            dim, size = state.get_axis_name(axis), field.sizes.get(state.get_axis_name(axis))
            own = _get_axis_values(state, axis)
            if size is not None and dim not in field.coords and size != len(own):
                raise OperatorError(
                    f"{name} returned {key} with {size} values along {dim!r} and no coordinate that says where they "
                    f"are; expected {len(own)}, or the coordinate {dim!r}"
                )
            values = own if size is None or dim not in field.coords else field[dim].values
            axes.append(tuple(np.asarray(values, float).tolist()))
        found[key] = tuple(axes)
    if len(set(found.values())) > 1:
        sizes = ", ".join(f"{key}: {len(rows)} x {len(columns)}" for key, (rows, columns) in found.items())
        raise OperatorError(f"{name} returned fields on different grids ({sizes}); expected one grid for all")
    return next(iter(found.values()))  # type: ignore[return-value]


def _get_axis_values(state: StateContext, axis: str) -> Array:
    ds = label_fields(state, torch.zeros(()).expand(1, *state.spec.shape), np.zeros(1, "datetime64[s]"))
    return ds[state.get_axis_name(axis)].values


def _identify_levels(field: xr.DataArray, state: StateContext) -> tuple[str | None, list[Any], str]:
    """The other dimension, its levels in hPa or numbers of channels, and which coordinate of reports chooses."""
    level = state.get_axis_name("level")
    if "channel" in field.dims:
        numbers = field["channel"].values if "channel" in field.coords else np.arange(1, field.sizes["channel"] + 1)
        return "channel", [int(n) for n in numbers], "channel"
    if level not in field.dims:
        return None, [None], "level"
    factor = 1.0 if state.layout is None else state.layout.hectopascal
    return level, [_round_pressure(factor * float(p)) for p in field[level].values], "level"


def _round_pressure(pressure: float) -> float:
    rounded = round(pressure, 6)
    return int(rounded) if rounded == int(rounded) else rounded


def _compute_mask(
    fields: dict[str, xr.DataArray], outputs: list[FunctionOutput], view: DatasetFunction, times: Array, name: str
) -> Array:
    """Mask of the numbers that the function returns."""
    blocks = []
    for field, output in zip(fields.values(), outputs, strict=True):
        tensor = arrange_result(field, view.state, times, view.derived, output.axis).detach()
        finite = torch.isfinite(tensor)
        # Times that the function leaves out say nothing about places.
        held = finite.flatten(1).any(dim=1)
        if not bool(held.any()):
            raise OperatorError(
                f"{name} returned no finite number for {output.name} when it was tried on a standard atmosphere: look "
                "for roots or logarithms of negative numbers, divisions by 0, and shifts without fill_value"
            )
        blocks.append(finite[held].all(dim=0))
    return torch.cat(blocks).numpy()

"""A function of a Dataset as a function of tensors: states in, the fields that it makes of them out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from xappa._typing import Array
from xappa.errors import OperatorError, suggest_names
from xappa.grids.axes import Layout
from xappa.grids.matching import order_output_columns, order_output_rows
from xappa.model.state import StateSpec
from xappa.observations.units import UnitConversion
from xappa.operators.context import StateContext
from xappa.operators.match_outputs import name_fields
from xappa.operators.torch_array.array import TensorArray
from xappa.state.from_model import to_dataset
from xappa.tokens import get_function_name, tokenize

SURFACE = "surface_altitude"


@dataclass(frozen=True)
class FunctionOutput:
    """One field that is made, and the quantity that it is compared with.

    Parameters
    ----------
    key : str or None
        Its name in the result; None for the only one.
    name : str
        Name of the observed quantity.
    units : UnitConversion
        From the units of the result to those of the observations.
    axis : str or None
        Name of the dimension beside time and place, if there is one.
    """

    key: str | None
    name: str
    units: UnitConversion
    axis: str | None


def label_fields(state: StateContext, fields: Tensor, times: Array) -> xr.Dataset:
    """Fields (time, channel, latitude, longitude) as a Dataset over tensors, as functions are given it.

    Parameters
    ----------
    state : StateContext
        Of any times.
    fields : Tensor, (T, channel, latitude, longitude)
        Physical units of the vocabulary.
    times : array of datetime64, (T,)
    """
    holes = state.mask is not None and not state.mask.all()
    if holes:
        there = torch.as_tensor(state.mask, device=fields.device)
        fields = torch.where(there, fields, torch.full_like(fields[:1, :1, :1, :1], torch.nan))
    array: Any = TensorArray(fields[None], holes)
    ds = to_dataset(array, state.spec, times, [0], _use_single_precision(state.layout))
    ds = ds.isel({state.get_axis_name("member"): 0}, drop=True)
    ds.attrs = {}
    if state.surface_height is None:
        return ds
    rows, columns = order_output_rows(state.layout, state.spec)[0], order_output_columns(state.layout, state.spec)[0]
    height = np.asarray(state.surface_height, float)[rows][:, columns]
    dims = (state.get_axis_name("latitude"), state.get_axis_name("longitude"))
    return ds.assign_coords({SURFACE: (dims, height, {"units": "m", "standard_name": SURFACE})})


@dataclass(frozen=True, eq=False)
class DatasetFunction:
    """A function of the states that is ready to be applied.

    Parameters
    ----------
    function : callable
        Dataset -> DataArray or Dataset.
    state : StateContext
        How it is shown the states; of any times.
    outputs : tuple of FunctionOutput
    derived : StateSpec
        Fields of the result.
    local : bool
        Whether each time's fields depend on that time's state alone.
    """

    function: Callable[[xr.Dataset], Any]
    state: StateContext
    outputs: tuple[FunctionOutput, ...]
    derived: StateSpec
    local: bool

    def token(self) -> str:
        """Changes with anything that changes what comes out."""
        mask = None if self.state.mask is None else np.asarray(self.state.mask)
        height = None if self.state.surface_height is None else np.asarray(self.state.surface_height)
        layout = repr(self.state.layout)
        return tokenize([self.function, repr(self.outputs), repr(self.derived), layout, mask, height])

    def __call__(self, fields: Tensor, times: Array) -> Tensor:
        """Fields that the function makes.

        Parameters
        ----------
        fields : Tensor, (T, channel, latitude, longitude)
            Physical units of the vocabulary.
        times : array of datetime64, (T,)

        Returns
        -------
        Tensor, (T, derived channel, latitude, longitude)
            Units of the observations; NaN at times that the function leaves out.
        """
        return self.place_outputs(call_function(self.function, label_fields(self.state, fields, times)), times)

    def place_outputs(self, result: Any, times: Array) -> Tensor:
        """Fields, as from a call, out of what the function returned."""
        fields = name_fields(result, get_function_name(self.function))
        blocks = []
        for output in self.outputs:
            field = next(iter(fields.values())) if output.key is None else fields[output.key]
            blocks.append(output.units.convert(arrange_result(field, self.state, times, self.derived, output.axis)))
        return torch.cat(blocks, dim=1)

    def compute_fields(self, trajectory: Array, times: Array) -> Array:
        """The same for numbers (..., T, channel, latitude, longitude), without gradients."""
        lead = trajectory.shape[:-4]
        if not len(times):  # of reports none of which can be read
            return np.empty((*lead, 0, *self.derived.shape), trajectory.dtype)
        flat = trajectory.reshape(-1, *trajectory.shape[-4:])
        with torch.no_grad():
            made = [self(torch.from_numpy(np.array(member)), times).numpy() for member in flat]
        return np.stack(made).reshape(*lead, *made[0].shape)


def call_function(function: Callable[[xr.Dataset], Any], state: xr.Dataset) -> Any:
    """Call a function, and say what it was given if that fails.

    Raises
    ------
    OperatorError
    """
    name = get_function_name(function)
    try:
        return function(state)
    except OperatorError as error:
        raise OperatorError(f"In {name}: {error}") from error
    except (KeyError, AttributeError) as error:
        wanted = str(error.args[0]) if error.args else ""
        listed = ", ".join(map(repr, state.data_vars))
        raise MissingVariableError(
            f"{name} asks for what the state does not have: {type(error).__name__}: {wanted}. Found the variables "
            f"{listed} and the coordinates {', '.join(map(repr, state.coords))}"
            f"{suggest_names(wanted, [str(v) for v in state.data_vars])}"
        ) from error
    except Exception as error:
        raise OperatorError(f"{name} failed on a state: {type(error).__name__}: {error}") from error


class MissingVariableError(OperatorError):
    """A function asks for a name that its Dataset does not have."""


def arrange_result(
    field: xr.DataArray, state: StateContext, times: Array, derived: StateSpec, axis: str | None
) -> Tensor:
    """A result as (T, K, latitude, longitude), in the order of `derived` and at `times`; NaN at times that lack."""
    time, latitude, longitude = (state.get_axis_name(name) for name in ("time", "latitude", "longitude"))
    field = field.reset_coords(drop=True)
    for dim, size in ((latitude, len(derived.latitude)), (longitude, len(derived.longitude))):
        if dim not in field.dims:
            field = field.expand_dims({dim: size})
    order = [time, *([axis] if axis else []), latitude, longitude]
    tensor = field.transpose(*order).data.tensor
    tensor = tensor if axis else tensor[:, None]
    if time not in field.coords or np.array_equal(field[time].values, times):
        return tensor
    return _select_times(tensor, field[time].values, times)


def _select_times(tensor: Tensor, own: Array, times: Array) -> Tensor:
    """Values at `times` of a tensor over the times `own`, in any order; NaN for times that it lacks."""
    if not len(own):
        return tensor.new_full((len(times), *tensor.shape[1:]), torch.nan)
    order = np.argsort(own, kind="stable")
    position = order[np.minimum(np.searchsorted(own, times, sorter=order), len(own) - 1)]
    there = torch.as_tensor(own[position] == times, device=tensor.device)
    whole = tensor[torch.as_tensor(position, device=tensor.device)]
    return torch.where(there[:, None, None, None], whole, torch.full_like(whole, torch.nan))


def _use_single_precision(layout: Layout | None) -> Layout | None:
    """A layout that does not ask for double precision, which not every device has."""
    if layout is None:
        return None
    return replace(layout, notation={name: replace(n, dtype="float32") for name, n in layout.notation.items()})

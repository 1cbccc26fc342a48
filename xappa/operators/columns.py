r"""Weighted sums over a column: linear in the state, so that they need no derivative.

With q piecewise linear in pressure between the levels, linear to 0 above the highest and constant below the lowest, the
mass of water in a column is

.. math:: W = \frac{1}{g} \int_0^{p_s} q \, \mathrm{d}p,

with the pressure :math:`p_s` of the surface's height in the standard atmosphere.

References
----------
Wallace and Hobbs (2006), Atmospheric Science, 2nd ed., sections 3.2.2 (thickness) and 3.5.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.argument_types import find_option_type_errors
from xappa.errors import OperatorError, OptionError
from xappa.observations.formulas import STANDARD_GRAVITY
from xappa.observations.units import UnitConversion
from xappa.operators.base import OPERATORS, Operator
from xappa.operators.chain import Physics
from xappa.operators.column_sum import ColumnSum
from xappa.operators.context import StateContext
from xappa.operators.interpolate import Interpolate
from xappa.operators.match_outputs import make_result_conversion, match_fields


@dataclass(frozen=True, repr=False)
class Columns(Physics):
    """Operators that are weighted sums of the levels of one variable."""

    default: ClassVar[Operator] = Interpolate()

    @property
    @abstractmethod
    def output(self) -> xr.DataArray:
        """Name and attributes of the result, with the dimension ``channel`` where there are several."""

    @property
    @abstractmethod
    def variable(self) -> str:
        """WeatherBench name of what is weighted."""

    @abstractmethod
    def weights(self, levels: Array, surface_pressure: Array) -> Array:
        """Weights (output, level, place) of ascending levels (hPa), over surfaces (place,) of a pressure (hPa)."""

    def of(self, state: xr.Dataset) -> xr.DataArray:
        """Weighted sums of labelled fields, whatever they are called and ordered.

        Raises
        ------
        OperatorError
            If the variable is not there.
        """
        from xappa.grids.axes import inspect

        layout = inspect(state, need=())[0]
        name = layout.get_user_name(self.variable)
        if name not in state or layout.level is None:
            raise OperatorError(
                f"{self!r} needs {self.variable} on pressure levels; found {', '.join(map(str, state.data_vars))}"
            )
        levels = np.array(layout.hectopascals)
        order = np.argsort(levels)
        height = state.coords.get("surface_altitude", xr.DataArray(0.0))
        weight = self.weights(levels[order], compute_standard_pressure(height.values.ravel()))[:, np.argsort(order)]
        # Some weights do not depend on the surface.
        place = height.sizes if weight.shape[2] == height.size else {}
        axes = ("channel", str(state[layout.level].dims[0]), *map(str, place))
        array = xr.DataArray(weight.reshape(*weight.shape[:2], *place.values()), dims=axes)
        total = (state[name] * array).sum(axes[1], skipna=False).rename(self.output.name)
        total = total.drop_vars([c for c in total.coords if c == "channel"])
        if "channel" in self.output.dims:
            total = total.assign_coords(channel=self.output["channel"].values)
        else:
            total = total.isel(channel=0, drop=True)
        return total.assign_attrs(self.output.attrs)

    def sums(self, state: StateContext, candidates: Sequence[str], units: dict[str, str]) -> ColumnSum:
        """The same as weights of a state's channels.

        Raises
        ------
        OperatorError
            If the state lacks the variable, or nothing that was observed corresponds.
        """
        spec, surface_height, mask = state.spec, state.surface_height, state.mask
        levels = spec.levels_of(self.variable)
        if not levels:
            raise OperatorError(
                f"{self!r} needs {self.variable} on pressure levels; the state has {', '.join(spec.variables)}"
            )
        out = self.output
        target = match_fields({str(out.name): out}, True, candidates, {}, repr(self))[str(out.name)]
        convert: UnitConversion = make_result_conversion(out, units.get(target, ""), target, repr(self))
        order = np.argsort(levels)
        height = np.zeros(1) if surface_height is None else np.asarray(surface_height, float).ravel()
        weight = self.weights(np.array(levels, float)[order], compute_standard_pressure(height)) * convert.factor
        own = np.array(spec.of(self.variable))[order]
        used = [np.flatnonzero((part != 0).any(axis=1)) for part in weight]
        numbers = out["channel"].values.tolist() if "channel" in out.dims else [None]
        there = np.ones(spec.shape, bool) if mask is None else mask
        return ColumnSum(
            derived=replace(spec, channels=tuple((target, number) for number in numbers)),
            channel=tuple(own[rows] for rows in used),
            weight=tuple(part[rows] for part, rows in zip(weight, used, strict=True)),
            offset=(convert.offset,) * len(numbers),
            mask=np.stack([there[own[rows]].all(axis=0) for rows in used]),
            level_coordinate={target: "channel"} if "channel" in out.dims else {},
        )


@OPERATORS.register("column-water")
@dataclass(frozen=True, repr=False)
class ColumnWater(Columns):
    """Mass of water vapour in the column, kg m-2, from the specific humidity of the levels."""

    @property
    def output(self) -> xr.DataArray:
        """Name and attributes of the result."""
        attrs = {"units": "kg m-2", "standard_name": "atmosphere_mass_content_of_water_vapor"}
        return xr.DataArray(0.0, name="total_column_water_vapour", attrs=attrs)

    @property
    def variable(self) -> str:
        """What is weighted."""
        return "specific_humidity"

    def weights(self, levels: Array, surface_pressure: Array) -> Array:
        """See `Columns.weights`."""
        return compute_integral_weights(levels, surface_pressure)[None] * 100 / STANDARD_GRAVITY

    def describe(self) -> str:
        """What the operator does, in words."""
        return "water vapour of the column (integral of specific humidity over pressure)"


@OPERATORS.register("thickness")
@dataclass(frozen=True, repr=False)
class Thickness(Columns):
    """Height of one pressure above another, m, linear in log-pressure between the levels.

    Parameters
    ----------
    lower, upper : float
        Pressures, hPa, such as 1000 and 500.
    """

    lower: float = 1000.0
    upper: float = 500.0

    def __post_init__(self) -> None:
        if misfit := find_option_type_errors(self):
            raise OptionError(f"Thickness: {'; '.join(misfit)}")

    @property
    def output(self) -> xr.DataArray:
        """Name and attributes of the result."""
        return xr.DataArray(0.0, name="thickness", attrs={"units": "m", "long_name": "Thickness of a layer"})

    @property
    def variable(self) -> str:
        """What is weighted."""
        return "geopotential"

    def weights(self, levels: Array, surface_pressure: Array) -> Array:
        """See `Columns.weights`.

        Raises
        ------
        OperatorError
            If a pressure is beyond the levels.
        """
        outside = [p for p in (self.lower, self.upper) if not levels[0] - 1e-6 <= p <= levels[-1] + 1e-6]
        if outside or self.lower <= self.upper:
            raise OperatorError(
                f"{self!r}: expected lower > upper, both between {levels[0]:g} and {levels[-1]:g} hPa, the levels of "
                "the state"
            )
        at = [
            np.array([np.interp(np.log(p), np.log(levels), row) for row in np.eye(len(levels))])
            for p in (self.upper, self.lower)
        ]
        return ((at[0] - at[1]) / STANDARD_GRAVITY)[None, :, None]

    def describe(self) -> str:
        """What the operator does, in words."""
        return f"thickness of the layer from {self.lower:g} to {self.upper:g} hPa"


def compute_standard_pressure(height: Array) -> Array:
    """Pressure (hPa) at heights (m) below 11 km in the standard atmosphere: the inverse of `standard_height`."""
    return 1013.25 * (1 - 0.0065 * np.clip(height, -1000, 11000) / 288.15) ** (9.80665 / (0.0065 * 287.053))


def compute_integral_weights(levels: Array, bottom: Array) -> Array:
    """Weights (level, place) of the integral over pressure from 0 down to `bottom` (place,), in units of `levels`."""
    weight = np.zeros((len(levels), len(bottom)))
    weight[0] = np.minimum(bottom, levels[0]) / 2
    for k in range(len(levels) - 1):
        length = levels[k + 1] - levels[k]
        part = np.clip(bottom - levels[k], 0, length)
        weight[k] += part - part**2 / (2 * length)
        weight[k + 1] += part**2 / (2 * length)
    weight[-1] += np.maximum(bottom - levels[-1], 0)
    return weight


def compute_mean_weights(output: Sequence[Any], levels: Array) -> Array:
    """Weights (output, level) that add up to 1, of curves over ln p: (pressure of the peak, width) each."""
    from numpy import exp, log

    edges = np.concatenate([[levels[0] / 2], np.sqrt(levels[1:] * levels[:-1]), [max(1013.25, levels[-1])]])
    layer = np.diff(log(edges))
    curves = np.array([exp(-0.5 * (log(levels / peak) / width) ** 2) for peak, width in output]) * layer
    return curves / curves.sum(axis=1, keepdims=True)

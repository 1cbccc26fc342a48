"""Scores as users see them: their names and units, and a table where they are printed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from xappa.grids.axes import Layout
from xappa.grids.variable_encoding import VariableEncoding
from xappa.observations.schema import get_quantity_attrs
from xappa.state.cf_attrs import make_cf_attributes
from xappa.state.units import make_conversion
from xappa.verification.metrics import CURVES, DIMENSIONLESS, MEANING
from xappa.verification.source import TimedFields
from xappa.verification.table import to_table


class Scores(xr.Dataset):
    """Scores, one variable a quantity; ``print`` shows them as a table, for which lazy ones are computed, and kept."""

    __slots__ = ()

    def __str__(self) -> str:
        if "metric" not in self.coords or not self.data_vars:
            return super().__repr__()
        lazy = any(field.chunks is not None for field in self.data_vars.values())
        if lazy:
            self.load()
        said = ["Scores were computed to be printed, and are kept; they were lazy until now.", ""] if lazy else []
        curves = [str(name) for name, field in self.data_vars.items() if "metric" not in field.dims]
        rest = ["", f"Beside these: {', '.join(curves)}"] if curves else []
        left = ["", f"Left out: {self.attrs['left_out']}"] if self.attrs.get("left_out") else []
        return "\n".join([*said, to_table(self.drop_vars(curves)), *rest, *left])

    def __repr__(self) -> str:
        lazy = any(field.chunks is not None for field in self.data_vars.values())
        return super().__repr__() + ("\nLazy: print(scores) or scores.compute() has the numbers." if lazy else "")


def convert_to_user_units(values: xr.DataArray, written: VariableEncoding, name: str) -> xr.DataArray:
    """Scores, which are all in the vocabulary's units or in none, in those in which the user writes the quantity.

    Parameters
    ----------
    values : DataArray
        Along ``metric``.
    written : VariableEncoding
        How the Dataset writes the quantity.
    name : str
        Quantity of the vocabulary, or of reports.
    """
    own = xr.DataArray([m not in DIMENSIONLESS for m in values["metric"].values], dims="metric")
    comment = f"in these units, but for {', '.join(DIMENSIONLESS[:-1])} and {DIMENSIONLESS[-1]}, which have none"
    try:
        described: dict = make_cf_attributes(name, written) | dict(written.attrs)
        factor = make_conversion(written, name).factor
    except KeyError:  # a quantity that only reports have
        described, factor = get_quantity_attrs(name), 1.0
    kept = {key: described[key] for key in ("units", "standard_name", "long_name") if key in described}
    return (values / xr.where(own, factor, 1.0)).assign_attrs({**kept, "comment": comment})


def restore_user_names(
    result: xr.Dataset, source: TimedFields, left_out: list[str], attrs: Mapping[str, str]
) -> Scores:
    """Scores under the user's names of variables, levels, starts and leads."""
    layout = source.layout
    if "metric" in result.coords:
        result["metric"].attrs = {"long_name": "score", "comment": MEANING}
    result = result.rename({name: _restore_user_name(str(name), layout) for name in result.data_vars})
    if "level" in result.dims and layout.level is not None:
        by_pressure = dict(zip(layout.hectopascals, layout.levels, strict=True))
        levels = [by_pressure[float(p)] for p in result["level"].values]
        result = result.assign_coords(level=("level", levels, {"units": layout.level_units, "positive": "down"}))
    if "lead" in result.dims:
        written = source.format_leads()
        place = [list(source.group_by_lead()).index(key) for key in result["lead"].values]
        result = result.assign_coords(lead=("lead", written.values[place], written.attrs))
    start, lead, valid = source.times.names if source.times is not None else (None, None, layout.time)
    user = {"level": layout.level, "lead": lead, "init": start, "time": valid or layout.time}
    names = {own: name for own, name in user.items() if own in result.dims and name not in (None, own)}
    result = result.rename(names)
    about = dict(attrs) | ({"left_out": "; ".join(left_out)} if left_out else {})
    return Scores(result.data_vars, result.coords, about)


def _restore_user_name(name: str, layout: Layout) -> str:
    """The user's spelling of a variable of scores."""
    for ending in (*(f"_{curve}" for curve in CURVES), "_reliability_share"):
        if name.endswith(ending):
            return layout.get_user_name(name.removesuffix(ending)) + ending
    return layout.get_user_name(name)


def with_all_leads(values: xr.DataArray, source: TimedFields) -> xr.DataArray:
    """Scores along all leads of the forecasts, NaN where there was nothing to compare with."""
    keys = np.array(list(source.group_by_lead()))
    if "lead" not in values.dims or np.array_equal(values["lead"].values, keys):
        return values
    return values.reindex(lead=keys)

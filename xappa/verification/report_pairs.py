"""Forecasts beside reports."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import DatasetError, NoReportsError, OptionError
from xappa.grids.statistics import describe_statistic
from xappa.observations import read_observations
from xappa.observations.errors.defaults import fill_errors_from_text
from xappa.observations.flags import Flag, flags_of
from xappa.observations.names import QUANTITIES
from xappa.observations.qc import check
from xappa.observations.schema import quantities
from xappa.state.surface import find_surface_height
from xappa.verification.at_reports import UNREAD, list_field_variables, make_missing_like, read_fields
from xappa.verification.field_pairs import FieldPair
from xappa.verification.missing import Gaps
from xappa.verification.representation_error import estimate_unresolved_error
from xappa.verification.source import TimedFields, assign_climatology_times, find_climatology_times

if TYPE_CHECKING:
    import pandas as pd

PLACES = ("time", "latitude", "longitude")
ERRORS = "xappa_errors"
"""Attribute of an analysis: the error deviations that it assumed where reports brought none (JSON)."""


@dataclass(frozen=True)
class PredictedReports:
    """Forecasts at reports.

    Parameters
    ----------
    values : Dataset
        Quantities along ``obs``, ``member`` if there are any, and ``init`` where several forecasts are read.
    lead : array of int, (init, obs), optional
        Which lead each value has, as a position in the order of `TimedFields.group_by_lead`.
    """

    values: xr.Dataset
    lead: Array | None = None


def pair_with_reports(
    ds: xr.Dataset,
    reference: xr.Dataset | pd.DataFrame,
    others: Mapping[str, xr.Dataset],
    by: Collection[str] | None,
    gaps: Gaps,
) -> tuple[TimedFields, list[tuple[dict[str, Any], dict[str, FieldPair]]]]:
    """Forecasts at reports, and the reports, of each quantity that both have.

    Parameters
    ----------
    ds : Dataset
        The analysis.
    reference : Dataset or DataFrame
        Observations, in any form that `read_observations` takes.
    others : mapping of str to Dataset
        Baselines: fields, or values along ``obs``.
    by : collection of str, optional
        What scores are kept along.
    gaps : Gaps

    Returns
    -------
    source : Source
        The analysis in canonical form.
    groups : list of (labels, pairs)
        One, or by ``lead``.
    """
    obs = _with_assumed_errors(check(read_observations(reference)).compute(), ds)
    source = TimedFields.from_dataset(ds, list_field_variables(obs))
    _require_instants(source, "")
    if by is not None and "time" in by:
        raise OptionError("by='time' needs fields as reference; against reports expected lead, init, region or season")
    split = source.overlapping or source.keeps_lead if by is None else bool({"lead", "init"} & set(by))
    split = split or source.overlapping
    height = find_surface_height(ds, source.layout)
    found = {"analysis": _read_at_reports(source, obs, height, split)}
    for name, other in others.items():
        found[name] = _read_baseline(other, obs, height, name, split, found["analysis"])
    values = {name: readings.values for name, readings in found.items()}
    levels = source.fields["level"].values if "level" in source.fields.dims else np.zeros(0)
    names = [str(name) for name in values["analysis"].data_vars]
    gaps.add("the Dataset", "quantity", [name for name in quantities(obs) if name not in names], len(quantities(obs)))
    for name, number in values["analysis"].attrs.get(UNREAD, {}).items():
        gaps.notes.append(
            f"{number} reports of {name} cannot be read off the Dataset (times, levels, places or period)"
        )
    pairs = {name: make_pair(name, values, obs, levels) for name in names}
    pairs = _with_unresolved(pairs, ds, source, obs)
    lead = found["analysis"].lead
    if lead is None or not ("lead" in by if by is not None else source.keeps_lead):
        return source, [({}, pairs)]
    keys = list(source.group_by_lead())
    masks = [xr.DataArray(lead == k, dims=("init", "obs")) for k in range(len(keys))]
    return source, [
        ({"lead": key}, {name: _mask_pair(pair, mask) for name, pair in pairs.items()})
        for key, mask in zip(keys, masks, strict=True)
    ]


def _mask_pair(pair: FieldPair, mask: xr.DataArray) -> FieldPair:
    return pair.map(lambda part: part.where(mask))


def _with_assumed_errors(obs: xr.Dataset, ds: xr.Dataset) -> xr.Dataset:
    """Reports with the error deviations that the analysis assumed, where they bring none."""
    told = ds.attrs.get(ERRORS)
    return fill_errors_from_text(obs, str(told)) if told else obs


def _require_instants(source: TimedFields, whose: str) -> None:
    problems = [
        describe_statistic(source.layout.get_user_name(name), s) for name, s in source.prepared.statistics.items()
    ]
    if problems:
        raise DatasetError(f"{whose}Reports are of instants, or say what they are over a period: {'; '.join(problems)}")


def _read_at_reports(
    source: TimedFields, obs: xr.Dataset, height: xr.DataArray | None, split: bool
) -> PredictedReports:
    """Values of fields at reports; of forecasts, those of each start by themselves."""
    if source.start is None or not split:
        return PredictedReports(read_fields(source.to_series(), obs, height))
    order = {key: k for k, key in enumerate(source.group_by_lead())}
    if not source.group_by_start():
        raise DatasetError(
            "The starts of these forecasts are not known; expected a coordinate of them: use ds.assign_coords"
        )
    parts: list[xr.Dataset | None] = []
    leads, starts = [], []
    for start, rows in source.group_by_start().items():
        rows = rows[np.argsort(source.valid[rows], kind="stable")]  # type: ignore[index]
        fields = source.select(rows)
        try:
            parts.append(read_fields(fields.drop_vars("init"), obs, height))
        except NoReportsError as error:
            parts.append(None)
            refusal = error
        codes = np.array([order[key] for key in source.lead[rows]])  # type: ignore[index]
        leads.append(codes[_find_nearest(fields["time"].values, obs["time"].values)])
        starts.append(start)
    like = next((part for part in parts if part is not None), None)
    if like is None:
        raise refusal
    whole = [make_missing_like(like) if part is None else part for part in parts]
    joined = xr.concat(whole, xr.Variable("init", np.array(starts)), coords="minimal", compat="override").drop_attrs(
        deep=False
    )
    return PredictedReports(joined, np.stack(leads))


def _find_nearest(times: Array, when: Array) -> Array:
    """Position of the nearest of some ascending times."""
    after = np.clip(np.searchsorted(times, when), 1, max(len(times) - 1, 1))
    if len(times) < 2:
        return np.zeros(len(when), int)
    earlier = (when - times[after - 1]) <= (times[after] - when)
    return np.where(earlier, after - 1, after)


def _read_baseline(
    other: xr.Dataset, obs: xr.Dataset, height: xr.DataArray | None, name: str, split: bool, analysis: PredictedReports
) -> PredictedReports:
    """A baseline at the reports; without a surface of its own it has the analysis's, if it is on that grid."""
    if "obs" in other.dims:
        return PredictedReports(_align_with_reports(other, obs, name))
    whose = f"The baseline {name!r}"
    when = obs["time"].values
    source = TimedFields.from_dataset(
        assign_climatology_times(other, find_climatology_times(other, when[~np.isnat(when)]), whose),
        list_field_variables(obs),
        whose,
    )
    _require_instants(source, f"{whose}: ")
    own = find_surface_height(other, source.layout)
    readings = _read_at_reports(source, obs, height if own is None else own, split and source.times is not None)
    if "init" in readings.values.dims and analysis.lead is not None:
        return PredictedReports(readings.values.reindex(init=analysis.values["init"].values), None)
    return readings


def _align_with_reports(values: xr.Dataset, obs: xr.Dataset, name: str) -> xr.Dataset:
    if values.sizes["obs"] != obs.sizes["obs"]:
        raise DatasetError(
            f"The baseline {name!r} has {values.sizes['obs']} values along obs; expected one for each of the "
            f"{obs.sizes['obs']} reports, in their order."
        )
    return values


def _with_unresolved(
    pairs: dict[str, FieldPair], ds: xr.Dataset, source: TimedFields, obs: xr.Dataset
) -> dict[str, FieldPair]:
    """Pairs with the error of the autoencoder, where the members were decoded without it."""
    known = [name for name in pairs if name in source.fields.data_vars]
    if not known:
        return pairs
    some = source.fields[known] if source.valid is None else source.select(np.arange(1))[known]
    with_error = obs[[n for name in known for n in (name, f"{name}_flag") if n in obs]].assign(
        {f"{name}_error": ("obs", np.ones(obs.sizes["obs"])) for name in known}
    )
    unresolved = estimate_unresolved_error(ds, some, with_error, source.valid_times)
    return {
        name: replace(pair, unresolved={"analysis": unresolved[name]}) if name in unresolved else pair
        for name, pair in pairs.items()
    }


def make_pair(name: str, sources: Mapping[str, xr.Dataset], obs: xr.Dataset, levels: Array) -> FieldPair:
    """Forecasts of a quantity along ``obs``, and its good reports; by the nearest of `levels` (hPa) aloft.

    Parameters
    ----------
    name : str
    sources : mapping of str to Dataset
        Values along ``obs``, with or without ``member`` and ``init``, by source.
    obs : Dataset
        Observations in the schema.
    levels : array of float
        Empty for quantities near the ground.
    """
    good = (flags_of(obs, name) == Flag.GOOD).values
    error = obs.get(f"{name}_error", xr.full_like(obs[name], np.nan, dtype=float))
    upper = name in QUANTITIES and QUANTITIES[name].upper_air and "level" in obs.coords and len(levels) > 0
    where = _assign_levels(obs["level"].values, levels) if upper else None

    def placed(field: xr.DataArray, kept: Sequence[str] = ()) -> xr.DataArray:
        field = field.astype("f8").where(xr.DataArray(good, dims="obs"))
        field = field.drop_vars([c for c in field.coords if c not in kept])
        return field if where is None else field.where(where)

    forecasts = {source: placed(values[name], ["init"]) for source, values in sources.items() if name in values}
    truth = placed(obs[name], PLACES)
    truth.attrs = {k: v for k, v in obs[name].attrs.items() if k in ("units", "standard_name", "long_name")}
    return FieldPair(forecasts, truth, placed(error))


def _assign_levels(pressure: Array, levels: Array) -> xr.DataArray:
    """Whether each report belongs to each level that has reports: the nearest one in the logarithm of pressure."""
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.abs(np.log(pressure)[:, None] - np.log(levels)[None])
    index = np.where(np.isfinite(pressure), np.nan_to_num(apart, nan=np.inf).argmin(1), -1)
    present = np.unique(index[index >= 0])
    table = index[None] == present[:, None]
    return xr.DataArray(table, {"level": levels[present]}, ("level", "obs"))

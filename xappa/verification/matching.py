"""Bringing an analysis and its reference to the same names, coordinates and units."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xappa.errors import DatasetError, XappaError
from xappa.grids.axes import NAMES, Layout, format_time, recognise, refuse
from xappa.grids.conventions import decode_conventions, drop_repeated_meridian, find_encoding_problems
from xappa.grids.matching import find_nearest_positions
from xappa.grids.statistics import Statistic
from xappa.state.units import find_implausible_values, make_conversions, refuse_units
from xappa.valid_range import mask_outside_limits
from xappa.verification.missing import Gaps
from xappa.vocabulary import PAIR, VARIABLES

HALF_A_MINUTE = np.timedelta64(30, "s")
PRESSURE = 1e-2  # hPa
AXES = ("member", "time", "level", "latitude", "longitude")


@dataclass(frozen=True)
class CanonicalDataset:
    """A gridded Dataset in canonical form.

    Parameters
    ----------
    fields : Dataset
        By the names of the vocabulary, along ``member``, ``time``, ``level`` (hPa), ``latitude``, ``longitude``, and
        dimensions of forecasts where there are any.
    layout : Layout
        Original layout.
    statistics : mapping of str to Statistic
        Fields that are no instants, by name of the vocabulary.
    """

    fields: xr.Dataset
    layout: Layout
    statistics: Mapping[str, Statistic]


def prepare(
    ds: xr.Dataset, among: Collection[Hashable], whose: str = "", along: Sequence[str] = ()
) -> CanonicalDataset:
    """A gridded Dataset in canonical form.

    Parameters
    ----------
    ds : Dataset
    among : collection of str
        WeatherBench names of what it is compared with: these are converted to the vocabulary's units, others are left
        alone.
    whose : str
        Name in error messages; empty for the Dataset itself.
    along : sequence of str
        Dimensions of forecasts, which stand for the time and are kept.

    Raises
    ------
    DatasetError
        Listing every axis that is missing or not usable, or dimensions that are not understood.
    UnitsError
        Listing all that cannot be converted, or, once they are computed, values without units that are none of the
        vocabulary's.
    """
    try:
        return _prepare(ds, among, along)
    except XappaError as error:
        if not whose:
            raise
        raise type(error)(f"{whose}: {error}") from error


def _prepare(ds: xr.Dataset, among: Collection[Hashable], along: Sequence[str]) -> CanonicalDataset:
    ds = drop_repeated_meridian(decode_conventions(ds))
    layout = recognise(ds, need=("latitude", "longitude") if along else ("time", "latitude", "longitude"))
    maps, problems = make_conversions(layout, among)
    refuse(find_encoding_problems(ds, maps))
    refuse_units(problems)
    fields = to_canonical(mask_outside_limits(ds, maps, warn=True), layout, along)
    for user, forward in maps.items():
        name = layout.names[user]
        bare = layout.notation[user].units is None
        field = _require_plausible(fields[name], user) if bare else fields[name]
        fields[name] = forward.convert(field).assign_attrs({**field.attrs, "units": VARIABLES[name].units})
    found = {layout.names[user]: written.statistic for user, written in layout.notation.items()}
    return CanonicalDataset(fields, layout, {name: value for name, value in found.items() if value is not None})


def to_canonical(ds: xr.Dataset, layout: Layout, along: Sequence[str] = ()) -> xr.Dataset:
    """A Dataset by the names of the vocabulary: its known variables alone, along levels in hPa, be it but one.

    Parameters
    ----------
    ds : Dataset
    layout : Layout
        From `recognise`.
    along : sequence of str
        Dimensions of forecasts, which are kept; there is no time then.

    Raises
    ------
    DatasetError
        If fields have dimensions that are not understood.
    """
    axes = [axis for axis in NAMES if not (along and axis == "time")]
    spelt: dict[str, str] = {axis: name for axis in axes if (name := getattr(layout, axis)) is not None}
    ds = ds[list(layout.names)]
    ds = _drop_other_dims(ds, spelt, along)
    ds = ds.drop_vars([name for name in ds.coords if name not in spelt.values() and name != PAIR])
    ds = ds.rename_dims({dim: name_forecast_dim(k) for k, dim in enumerate(along)})
    for axis, name in spelt.items():
        if name not in ds.coords:
            continue
        if ds[name].ndim == 0:
            ds = _expand_level(ds, name, layout) if axis == "level" else ds.expand_dims(name)
        elif ds[name].dims != (name,):
            ds = ds.swap_dims({ds[name].dims[0]: name})
    own = {name: axis for axis, name in spelt.items() if name != axis}
    ds = ds.rename({name: axis for name, axis in own.items() if name in ds.coords or name in ds.dims})
    if "level" in ds.dims:
        ds = ds.assign_coords(level=("level", np.array(layout.hectopascals), {"units": "hPa"}))
    return ds.rename({user: known for user, known in layout.names.items() if user != known})


def name_forecast_dim(number: int) -> str:
    """Canonical name of a dimension of forecasts, which no user's name can equal."""
    return f"forecast {number}"


def _drop_other_dims(ds: xr.Dataset, spelt: Mapping[str, str], along: Sequence[str]) -> xr.Dataset:
    """A Dataset without other dimensions of size 1; refused where another dimension has more."""
    known = {dim for name in spelt.values() for dim in (ds[name].dims if name in ds.coords else (name,))} | {*along}
    others = {str(dim): size for dim, size in ds.sizes.items() if dim not in known}
    if many := {dim: size for dim, size in others.items() if size > 1}:
        listed = ", ".join(f"{dim!r} ({size})" for dim, size in many.items())
        first = next(iter(many))
        raise DatasetError(
            f"Dimensions that are not understood: {listed}; expected times, starts and leads of forecasts, levels, "
            f"latitude, longitude and members. Select or average over them first (ds.isel({first}=0), "
            f"ds.mean({first!r})); if {first!r} numbers the members of an ensemble, use ds.rename({first}='member')"
        )
    return ds.squeeze(list(others), drop=True) if others else ds


def _expand_level(ds: xr.Dataset, level: str, layout: Layout) -> xr.Dataset:
    """The quantities aloft along their one level, which a selection leaves on those near the surface too."""
    aloft = [user for user, name in layout.names.items() if VARIABLES[name].upper_air]
    return ds.drop_vars(level).assign({user: ds[user].expand_dims(level) for user in aloft})


def align_datasets(
    reference: xr.Dataset, analysis: xr.Dataset, what: str, gaps: Gaps | None = None
) -> tuple[xr.Dataset, xr.Dataset]:
    """Both where they meet: common variables, times and levels, and the part of the analysis's grid that both have.

    Parameters
    ----------
    reference, analysis : Dataset
        In canonical form, as `prepare` gives them.
    what : str
        Name of the reference in error messages.
    gaps : Gaps, optional
        Receives what the reference lacks.

    Raises
    ------
    DatasetError
        If they have no variable, time or level in common, if only one of them tells its levels, or if their grids
        differ by more than that one is a part of the other.
    """
    common = [str(name) for name in analysis.data_vars if name in reference.data_vars]
    if not common:
        raise DatasetError(
            f"The analysis and {what} have no variable in common: found {_list_names(analysis)} and "
            f"{_list_names(reference)}; "
            "rename variables to their WeatherBench names."
        )
    analysis, reference = analysis[common], reference[common]
    problems = _find_missing_levels(reference, analysis, what)
    for axis in ("latitude", "longitude", "time", "level"):
        if axis not in analysis.dims or axis not in reference.dims:
            continue
        have, want = reference[axis].values, analysis[axis].values
        if axis in ("latitude", "longitude"):
            index = find_nearest_positions(want.tolist(), have.tolist(), 360 if axis == "longitude" else None)
            if not _is_part(index, len(have)):
                problems.append(_describe_different_grid(have, want, axis))
                continue
        else:
            index = find_matching_positions(have, want)
            if (index < 0).all():
                problems.append(_describe_no_overlap(have, want, axis))
                continue
        if gaps is not None:
            gaps.add(what, axis, list(want[index < 0]), len(want))
        if not np.array_equal(index, np.arange(len(have))):
            analysis = analysis.isel({axis: index >= 0})
            reference = reference.isel({axis: index[index >= 0]})
        reference = reference.assign_coords({axis: analysis[axis]})
    if problems:
        raise DatasetError(f"The analysis cannot be compared with {what}:" + "".join(f"\n- {p}" for p in problems))
    return reference, analysis


def _is_part(index: np.ndarray, size: int) -> bool:
    """Whether the points that both have are a whole stretch of either, so that both are cut from one grid.

    Parameters
    ----------
    index : array of int
        Position of each point of one axis in the other, -1 where it is not there.
    size : int
        Size of the other.
    """
    there = np.flatnonzero(index >= 0)
    if not len(there) or (len(there) == 1 and min(len(index), size) > 1):
        return False
    steps = np.abs(np.diff(index[there]))
    whole = (np.diff(there) > 1).sum() <= 1  # a region across the seam is in two stretches
    return bool(len(there) == len(index) or (whole and ((steps == 1) | (steps == size - 1)).sum() >= len(steps) - 1))


def find_matching_positions(have: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Index of each wanted time or level (hPa) among those that are there, -1 where it is not."""
    if len(have) == 0:
        return np.full(len(want), -1)
    tolerance = HALF_A_MINUTE if have.dtype.kind == "M" else PRESSURE
    order = np.argsort(have, kind="stable")
    after = np.searchsorted(have[order], want)
    near = order[np.clip(np.stack([after - 1, after]), 0, len(have) - 1)]
    apart = np.abs((want - have[near]) / tolerance)
    index = np.take_along_axis(near, apart.argmin(0)[None], 0)[0]
    return np.where(apart.min(0) <= 1, index, -1)


def _require_plausible(field: xr.DataArray, user: str) -> xr.DataArray:
    """A field without units, which is refused where its values say that it has others; block by block if it is lazy."""

    def checked(block: xr.DataArray) -> xr.DataArray:
        levels = block["level"].values if "level" in block.dims else ()
        values = block.transpose("level", ..., missing_dims="ignore").values
        refuse_units(find_implausible_values(user, str(field.name), values[None], levels))
        return block

    return xr.map_blocks(checked, field, template=field)


def _find_missing_levels(reference: xr.Dataset, analysis: xr.Dataset, what: str) -> list[str]:
    """Quantities aloft of which but one side tells the levels."""
    problems = []
    for whose, ds, other in (("the analysis", analysis, reference), (what, reference, analysis)):
        bare = [name for name in ds.data_vars if "level" in other[name].dims and "level" not in ds[name].dims]
        if names := [str(name) for name in bare if VARIABLES[str(name)].upper_air]:
            problems.append(
                f"{whose} has no level for {', '.join(names)}; expected one in hPa or Pa: use .assign_coords(level=...)"
            )
    return problems


def _list_names(ds: xr.Dataset) -> str:
    return ", ".join(map(str, ds.data_vars)) or "none"


def _describe_different_grid(have: np.ndarray, want: np.ndarray, axis: str) -> str:
    return (
        f"not every {axis} of the analysis ({len(want)} from {want[0]:g} to {want[-1]:g}) is one of the other's "
        f"({len(have)} from {have[0]:g} to {have[-1]:g}); bring one to the other's grid first: ds.appa.regrid(other)"
    )


def _describe_no_overlap(have: np.ndarray, want: np.ndarray, axis: str) -> str:
    show = format_time if axis == "time" else "{:g}".format
    return (
        f"no {axis} in common: the analysis has {show(want[0])} to {show(want[-1])}, the other "
        f"{f'{show(have[0])} to {show(have[-1])}' if len(have) else 'none'}; choose others with ds.sel({axis}=...)"
    )

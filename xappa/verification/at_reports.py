"""Fields interpolated to reports, lazily, as `observe` and `assimilate` do."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import DatasetError
from xappa.grids.axes import recognise
from xappa.grids.conventions import decode_conventions, drop_repeated_meridian
from xappa.model.state import StateSpec
from xappa.observations.flags import Flag, flags_of
from xappa.observations.periods import EXTREMES
from xappa.observations.schema import quantities
from xappa.operators.composite import CompositeOperator
from xappa.operators.context import StateContext
from xappa.operators.geometry import SEA, STATION, list_variables_read
from xappa.operators.interpolate import Interpolate
from xappa.operators.sparse import SparseOperator
from xappa.state import derive_spec
from xappa.state.surface import find_surface_height, select_on_grid
from xappa.verification.matching import prepare
from xappa.vocabulary import VARIABLES

UNREAD = "unread"
"""Attribute of values at reports: how many good reports of each quantity cannot be read off the fields."""


def interpolate_to_reports(ds: xr.Dataset, obs: xr.Dataset, height: xr.DataArray | None = None) -> xr.Dataset:
    """Interpolate a Dataset to the places and times of reports, by the operator ``"interpolate"``.

    Parameters
    ----------
    ds : Dataset
        Fields in (time, latitude, longitude), with or without members and levels.
    obs : Dataset
        Observations in the one CF form.
    height : DataArray, optional
        Height of the surface of `ds` in m, on its grid, by which 2 m temperature is brought to the stations' heights.
        Default: the Dataset's own field of it, or else that of the model named in its attributes.

    Returns
    -------
    Dataset
        The quantities that both have, along ``obs`` (and ``member``), in the units of the vocabulary; missing where
        a report is rejected, or can't be read off the fields. Lazy where `ds` is.

    Raises
    ------
    DatasetError
        If they have no variable in common.
    ObservationError
        If no report lies inside the times.
    """
    ds = drop_repeated_meridian(decode_conventions(ds))
    prepared = prepare(ds, list_field_variables(obs))
    return read_fields(prepared.fields, obs, height if height is not None else find_surface_height(ds, prepared.layout))


def list_field_variables(obs: xr.Dataset) -> set[str]:
    """Variables of fields that reports can be compared with."""
    found = set()
    for name in quantities(obs):
        found.add(name)
        if name == STATION:
            found.add(SEA)
        if name in VARIABLES and VARIABLES[name].amount:
            found |= {other for other, variable in VARIABLES.items() if variable.amount}
        elif name.split("_", 1)[0] in EXTREMES:
            found.add(name.split("_", 1)[1])
    return found & set(VARIABLES)


def read_fields(fields: xr.Dataset, obs: xr.Dataset, height: xr.DataArray | None) -> xr.Dataset:
    """As `interpolate_to_reports`, of fields in canonical form along ``time``."""
    names = quantities(obs)
    wanted = [str(name) for name in fields.data_vars if name in list_field_variables(obs)]
    spec = derive_spec(fields[wanted], recognise(fields[wanted])) if wanted else None
    read = {name: list_variables_read(name, obs, spec) for name in names} if spec is not None else {}
    read = {name: variables for name, variables in read.items() if variables}
    if not read:
        raise DatasetError(
            f"The Dataset and the reports have no variable in common: found "
            f"{', '.join(map(str, fields.data_vars)) or 'none'} and {', '.join(names)}; "
            "use ds.rename, or read_observations(..., rename={...})."
        )
    surface = select_on_grid(height, fields["latitude"].values, fields["longitude"].values)
    with_error = _with_any_error(obs)
    assert spec is not None
    # Once for all, for what is wrong with all of them, and what is to be said.
    _, seen = Interpolate()(with_error, StateContext(spec, fields["time"].values, surface))
    found = {name: _read_quantity(name, with_error, fields[sorted(v)], surface) for name, v in read.items()}
    if "member" in fields.coords:
        found["member"] = fields["member"]
    unread = {name: _count_newly_rejected(name, obs, seen) for name in found if name in read}
    return xr.Dataset(found, dict(obs.coords), {UNREAD: {name: number for name, number in unread.items() if number}})


def _count_newly_rejected(name: str, obs: xr.Dataset, seen: xr.Dataset) -> int:
    """Number of good reports of a quantity that the operator cannot read: outside the times or levels, odd periods."""
    before, after = (np.asarray(flags_of(ds, name)) == Flag.GOOD for ds in (obs, seen))
    return int((before & ~after & obs[name].notnull().values).sum())


def _read_quantity(name: str, obs: xr.Dataset, fields: xr.Dataset, surface: Array | None) -> xr.DataArray:
    """Values of a quantity along ``obs``; a member at a time, since that is all that need be in memory."""
    spec, times = derive_spec(fields, recognise(fields)), fields["time"].values
    kept = [name, *(other for other in ("2m_temperature", SEA) if name == STATION and other in obs)]
    obs = obs[[n for base in kept for n in (base, f"{base}_flag", f"{base}_error") if n in obs]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frames = Interpolate()(obs, StateContext(spec, times, surface))[0].frames
    if len(frames):
        fields = fields.isel(time=frames)
    members = [fields.isel(member=k) for k in range(fields.sizes["member"])] if "member" in fields.dims else [fields]
    blocks = [[_order_axes(state[v]) for v in fields.data_vars] for state in members]
    lazy = any(isinstance(block, da.Array) for part in blocks for block in part)
    make: Any = dask.delayed(_build_reader, pure=True) if lazy else _build_reader
    apply: Any = dask.delayed(_apply, pure=True) if lazy else _apply
    first = [block[0] for block in blocks[0]]
    reader = make(name, obs, spec, times, surface, frames, first)
    size = obs.sizes["obs"]
    values = [apply(reader, size, *part) for part in blocks]
    columns = [da.from_delayed(v, (size,), "f8") if lazy else v for v in values]
    variable = VARIABLES.get(name)
    attrs = {} if variable is None else {k: v for k, v in variable.attrs.items() if k != "cell_methods"}
    if "member" not in fields.dims:
        return xr.DataArray(columns[0], dims="obs", attrs=attrs)
    return xr.DataArray((da if lazy else np).stack(columns), dims=("member", "obs"), attrs=attrs)


def _order_axes(field: xr.DataArray) -> Array | da.Array:
    """A field as (time, channel, latitude, longitude)."""
    levels = ("level",) if "level" in field.dims else ()
    values = field.transpose("time", *levels, "latitude", "longitude").data
    return values if levels else values[:, None]


def _build_reader(
    name: str,
    obs: xr.Dataset,
    spec: StateSpec,
    times: Array,
    surface: Array | None,
    frames: Array,
    first: Sequence[Array],
) -> SparseOperator | CompositeOperator | None:
    """How a quantity is read off states at `frames`, past what is missing in the first of them."""
    there = np.concatenate([np.isfinite(block) for block in first])
    # A first time that is missing altogether (of accumulations) says nothing about the others.
    mask = there | ~there.any(axis=(1, 2), keepdims=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, _ = Interpolate()(obs, StateContext(spec, times, surface, mask))
    if name not in found.names:
        return None
    return found.select(np.flatnonzero(found.variable == found.names.index(name))).reindex_times(frames)


def _apply(reader: SparseOperator | CompositeOperator | None, size: int, *blocks: Array) -> Array:
    values = np.full(size, np.nan)
    if reader is not None and len(reader):
        values[reader.observation] = reader.apply(np.concatenate([np.asarray(block) for block in blocks], axis=1))
    return values


def _with_any_error(obs: xr.Dataset) -> xr.Dataset:
    """Errors play no part in reading, but the operator asks for them."""
    names = quantities(obs)
    kept = obs[[n for name in names for n in (name, f"{name}_flag") if n in obs]]
    return kept.assign({f"{name}_error": ("obs", np.ones(obs.sizes["obs"])) for name in names})


def make_missing_like(values: xr.Dataset) -> xr.Dataset:
    """The same quantities, all missing."""
    return values.map(lambda field: xr.full_like(field, np.nan), keep_attrs=True)

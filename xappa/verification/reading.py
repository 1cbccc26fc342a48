"""Fields brought to reports by the operator, to be held against them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa.errors import DatasetError, XappaError
from xappa.grids import tidy
from xappa.grids.axes import Layout, recognise
from xappa.grids.conventions import once_round
from xappa.grids.matching import positions
from xappa.labels import spec_of, surface_height
from xappa.models.state import StateSpec
from xappa.observations import read_observations
from xappa.observations.flags import Flag, flags_of
from xappa.observations.names import QUANTITIES
from xappa.observations.quality import check
from xappa.operators.interpolate import interpolate
from xappa.operators.stencil import Stencil
from xappa.verification.matching import prepare
from xappa.verification.pairs import Pair
from xappa.verification.unresolved import unresolved_at

if TYPE_CHECKING:
    import pandas as pd


def at_reports(ds: xr.Dataset, obs: xr.Dataset, height: xr.DataArray | None = None) -> xr.Dataset:
    """What a Dataset says at the places and times of reports, by the operator ``"interpolate"``.

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
        The variables that both have, along ``obs`` (and ``member``), in the units of the vocabulary; missing where
        a report is rejected, or can't be read off the fields.

    Raises
    ------
    DatasetError
        If they have no variable in common.
    ObservationError
        If no report lies inside the times.
    """
    ds = once_round(tidy(ds))
    fields, layout = prepare(ds, obs.data_vars)
    return _read(fields, obs, height if height is not None else height_of(ds, layout))


def pairs_at_reports(
    ds: xr.Dataset, reference: xr.Dataset | pd.DataFrame, others: Mapping[str, xr.Dataset]
) -> dict[str, Pair]:
    """Forecasts at reports, and the reports, of each quantity that both have.

    Parameters
    ----------
    ds : Dataset
        The analysis.
    reference : Dataset or DataFrame
        Observations, in any form that `read_observations` takes.
    others : mapping of str to Dataset
        Baselines: fields, or values along ``obs``.
    """
    obs = check(read_observations(reference))
    fields, layout = prepare(ds, obs.data_vars)
    height = height_of(ds, layout)
    sources = {"analysis": _read(fields, obs, height)}
    for name, other in others.items():
        sources[name] = _along_obs(other, obs, name) if "obs" in other.dims else _baseline(other, obs, height)
    levels = fields["level"].values if "level" in fields.dims else np.zeros(0)
    pairs = {str(v): pair_of(str(v), sources, obs, levels) for v in sources["analysis"].data_vars}
    common = fields[list(pairs)]
    mask = _mask(common, spec_of(common, recognise(common)))
    unresolved = unresolved_at(ds, common, _with_any_error(obs, list(pairs)), mask)
    return {
        name: replace(pair, unresolved={"analysis": unresolved[name]}) if name in unresolved else pair
        for name, pair in pairs.items()
    }


def height_of(ds: xr.Dataset, layout: Layout) -> xr.DataArray | None:
    """Height of a Dataset's surface, m: its own field, or else that of the model which its attributes name."""
    height = surface_height(ds, spec_of(ds, layout), layout)
    if height is None and "2m_temperature" in layout.names.values():
        height = _model_height(str(ds.attrs.get("xappa_model", "")), layout)
    if height is None:
        return None
    grid = {"latitude": np.array(layout.latitudes), "longitude": np.array(layout.longitudes)}
    return xr.DataArray(height, grid, ("latitude", "longitude"))


def _model_height(model: str, layout: Layout) -> np.ndarray | None:
    if not model:
        return None
    from xappa.models.registry import load

    try:
        prior = load(model)
    except (XappaError, OSError):
        return None  # it was made with a model that is not here; the operator warns that the height is unknown
    rows = positions(layout.latitudes, prior.spec.latitude)
    columns = positions(layout.longitudes, prior.spec.longitude, 360)
    if prior.surface_height is None or rows is None or columns is None:
        return None
    return np.asarray(prior.surface_height, float)[np.ix_(rows, columns)]


def _read(fields: xr.Dataset, obs: xr.Dataset, height: xr.DataArray | None) -> xr.Dataset:
    common = [str(name) for name in fields.data_vars if name in obs]
    if not common:
        raise DatasetError(
            f"The Dataset and the reports have no variable in common: found "
            f"{', '.join(map(str, fields.data_vars)) or 'none'} and {', '.join(map(str, obs.data_vars))}; "
            "use ds.rename, or read_observations(..., rename={...})."
        )
    fields = fields[common]
    spec = spec_of(fields, recognise(fields))
    surface = None if height is None else height.values
    stencil, _ = interpolate(
        _with_any_error(obs, common), spec, fields["time"].values, surface, mask=_mask(fields, spec)
    )
    result = {}
    for name in common:
        part = stencil.select(stencil.variable == stencil.names.index(name)) if name in stencil.names else None
        result[name] = _apply(part, fields[name], spec.of(name)[0], obs.sizes["obs"])
    if "member" in fields.dims:
        result["member"] = fields["member"]
    return xr.Dataset(result, dict(obs.coords))


def _apply(part: Stencil | None, field: xr.DataArray, first: int, size: int) -> xr.DataArray:
    """Values of one field along ``obs``, a member at a time, since a member of fields is all that need be in memory."""
    part = None if part is None else replace(part, channel=part.channel - first)
    states = [field.isel(member=k) for k in range(field.sizes["member"])] if "member" in field.dims else [field]
    out = np.full((len(states), size), np.nan)
    for k, state in enumerate(states if part is not None and len(part) else []):
        levels = ("level",) if "level" in field.dims else ()
        values = state.transpose("time", *levels, "latitude", "longitude").values
        out[k, part.observation] = part.apply(values if levels else values[:, None])  # type: ignore[union-attr]
    attrs = {k: v for k, v in field.attrs.items() if k in ("units", "standard_name", "long_name")}
    if "member" not in field.dims:
        return xr.DataArray(out[0], dims="obs", attrs=attrs)
    return xr.DataArray(out, dims=("member", "obs"), attrs=attrs)


def _mask(fields: xr.Dataset, spec: StateSpec) -> np.ndarray:
    """Where each field has values: what is missing at the first time and member is taken to be missing always."""
    mask = np.ones(spec.shape, bool)
    for name, field in fields.data_vars.items():
        levels = ("level",) if "level" in field.dims else ()
        first = field.isel(time=0, member=0, missing_dims="ignore").transpose(*levels, "latitude", "longitude")
        there = np.isfinite(first.values)
        # A first time that is missing altogether (of accumulations) says nothing about the others.
        mask[list(spec.of(str(name)))] = (there | ~there.any()).reshape(-1, *spec.shape[1:])
    return mask


def _with_any_error(obs: xr.Dataset, names: list[str]) -> xr.Dataset:
    """Errors play no part in reading, but the operator asks for them."""
    quantities = obs[[n for name in names for n in (name, f"{name}_flag") if n in obs]]
    return quantities.assign({f"{name}_error": xr.ones_like(obs[name], dtype=float) for name in names})


def _baseline(other: xr.Dataset, obs: xr.Dataset, height: xr.DataArray | None) -> xr.Dataset:
    """A baseline at the reports; without a surface of its own it has the analysis's, if it is on that grid."""
    other = once_round(tidy(other))
    fields, layout = prepare(other, obs.data_vars)
    own = height_of(other, layout)
    if own is None and height is not None:
        rows = positions(layout.latitudes, height["latitude"].values.tolist())
        columns = positions(layout.longitudes, height["longitude"].values.tolist(), 360)
        if rows is not None and columns is not None:
            own = height.isel(latitude=rows, longitude=columns)
    return _read(fields, obs, own)


def _along_obs(values: xr.Dataset, obs: xr.Dataset, name: str) -> xr.Dataset:
    if values.sizes["obs"] != obs.sizes["obs"]:
        raise DatasetError(
            f"The baseline {name!r} has {values.sizes['obs']} values along obs; expected one for each of the "
            f"{obs.sizes['obs']} reports, in their order."
        )
    return values


def pair_of(name: str, sources: Mapping[str, xr.Dataset], obs: xr.Dataset, levels: np.ndarray) -> Pair:
    """Forecasts of a quantity along ``obs``, and its good reports; by the nearest of `levels` (hPa) aloft.

    Parameters
    ----------
    name : str
    sources : mapping of str to Dataset
        Values along ``obs``, with or without ``member``, by source.
    obs : Dataset
        Observations in the one form.
    levels : array of float
        Empty for quantities near the ground.
    """
    good = (flags_of(obs, name) == Flag.GOOD).values
    error = obs.get(f"{name}_error", xr.full_like(obs[name], np.nan, dtype=float))
    upper = name in QUANTITIES and QUANTITIES[name].upper_air and "level" in obs.coords and len(levels) > 0
    where = _by_level(obs["level"].values, levels) if upper else None

    def placed(field: xr.DataArray) -> xr.DataArray:
        field = field.astype("f8").where(xr.DataArray(good, dims="obs")).drop_vars(list(field.coords), errors="ignore")
        return field if where is None else field.where(where)

    forecasts = {source: placed(values[name]) for source, values in sources.items() if name in values}
    truth = placed(obs[name])
    truth.attrs = {k: v for k, v in obs[name].attrs.items() if k in ("units", "standard_name", "long_name")}
    return Pair(forecasts, truth, placed(error))


def _by_level(pressure: np.ndarray, levels: np.ndarray) -> xr.DataArray:
    """Whether each report belongs to each level that has reports: the nearest one in the logarithm of pressure."""
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.abs(np.log(pressure)[:, None] - np.log(levels)[None])
    index = np.where(np.isfinite(pressure), np.nan_to_num(apart, nan=np.inf).argmin(1), -1)
    present = np.unique(index[index >= 0])
    table = index[None] == present[:, None]
    return xr.DataArray(table, {"level": levels[present]}, ("level", "obs"))

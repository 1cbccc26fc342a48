"""The labels of latents: which fields they stand for, and how the user writes these."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import dask.array
import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import DatasetError, OptionError, suggest_names
from xappa.grids.axes import AXES, Layout, find_axis, recognise, refuse
from xappa.grids.matching import find_positions, order_output_columns, order_output_levels, order_output_rows
from xappa.grids.variable_encoding import VariableEncoding
from xappa.model.prior_checks import PREFIX
from xappa.model.state import StateSpec
from xappa.state.region import Region, choose_region
from xappa.state.selection import OutputSelection

LATENT = "latent"
SEA = "sea_mask"
VARIABLES = "xappa_variables"
HALF = {"dtype": "float16", "scale_factor": 1.0, "_FillValue": None}
"""Encoding of half precision. Sums of it overflow; with a scale and without fill value, xarray reads it wider."""


def label_latents(
    latents: dask.array.Array,
    dims: Sequence[str],
    ds: xr.Dataset,
    spec: StateSpec,
    layout: Layout,
    attrs: Mapping[str, Any],
    sea: dask.array.Array | None = None,
) -> xr.Dataset:
    """Latents with the times and members of `ds`, and all that is needed to write their fields as `ds` does.

    Parameters
    ----------
    latents : dask array, ([member,] time, *latent)
    dims : sequence of str
        Names of the dimensions of a latent state; each begins with ``latent_``.
    ds : Dataset
        Dataset that was encoded.
    spec : StateSpec
    layout : Layout
        Of `ds`.
    attrs : mapping
        Global attributes.
    sea : dask array of bool, (latitude, longitude), optional
        True where masked variables are not missing, on the model's grid.

    Returns
    -------
    Dataset
        ``latent`` ([member,] time, *dims), float32; its encoding says float16 where
        `latents` are that; the coordinates of the fields, in the user's
        names and order; ``sea_mask`` on them.
    """
    rows, latitudes = order_output_rows(layout, spec)
    columns, longitudes = order_output_columns(layout, spec)
    spelt = {axis: getattr(layout, axis) or axis for axis in AXES}
    time = np.atleast_1d(ds[layout.time].values)
    coords = {"time": time, "latitude": latitudes, "longitude": longitudes}
    units = {}
    if spec.levels:
        coords["level"] = order_output_levels(layout, spec.levels)[1]
        units = {"units": layout.level_units}
    members = [layout.member] if latents.ndim == 2 + len(dims) and layout.member else []
    if members and layout.member in ds.coords:
        coords["member"] = ds[layout.member].values
    labelled = {
        spelt[axis]: xr.Variable(spelt[axis], np.asarray(v), AXES[axis] | (units if axis == "level" else {}))
        for axis, v in coords.items()
    }
    about: dict[str, Any] = {"long_name": "Standardised latent state", "units": "1"}
    kept = HALF if latents.dtype == np.float16 else {}
    variables = {LATENT: xr.Variable([*members, spelt["time"], *dims], latents.astype("f4"), about, kept)}
    if sea is not None:
        about = {
            "long_name": f"Where {', '.join(spec.masked)} exists",
            "flag_meanings": "land sea",
            "flag_values": [0, 1],
        }
        variables[SEA] = xr.Variable([spelt["latitude"], spelt["longitude"]], sea[rows][:, columns], about)
    users = {layout.get_user_name(name): name for name in spec.variables}
    written = {
        user: {"name": name, **asdict(layout.notation.get(user, VariableEncoding()))} for user, name in users.items()
    }
    return xr.Dataset(variables, labelled, {"Conventions": "CF-1.11", **attrs, VARIABLES: json.dumps(written)})


@dataclass(frozen=True)
class DecodedSelection:
    """Selection of the fields to decode from latents, and their labels.

    Parameters
    ----------
    layout : Layout
        Layout of the user's Dataset.
    wanted : OutputSelection
        Variables and levels.
    spec : StateSpec
        Its channels, rows and columns, in the order of the result.
    channels, rows, columns : array of int
        Their positions in the model's state.
    place : tuple of array of int
        Rows and columns of ``sea_mask``.
    """

    layout: Layout
    wanted: OutputSelection
    spec: StateSpec
    channels: Array
    rows: Array
    columns: Array
    place: tuple[Array, Array]


def check_latents(latents: xr.Dataset) -> None:
    """Refuse a Dataset that does not hold latents, or not those of states alone.

    Raises
    ------
    DatasetError
    """
    if LATENT not in latents.data_vars or VARIABLES not in latents.attrs:
        have = ", ".join(map(repr, latents.data_vars)) or "no variables"
        raise DatasetError(
            f"This Dataset holds {have}; expected what ds.appa.encode makes: {LATENT!r} with its attributes. Keep "
            "these with xr.set_options(keep_attrs=True), or, where latents are joined, combine_attrs='override'"
        )
    found = find_axis(latents, "time"), find_axis(latents, "member")
    known = {*found, *(dim for name in found if name in latents.coords for dim in latents[name].dims)}
    more = [str(dim) for dim in latents[LATENT].dims if dim not in known and not str(dim).startswith(PREFIX)]
    if more:
        own = [str(dim) for dim in latents[LATENT].dims if str(dim).startswith(PREFIX)]
        raise DatasetError(
            f"{LATENT!r} has the dimensions {latents[LATENT].dims}; expected {', '.join(own)} beside times and "
            f"members: select one of {', '.join(map(repr, more))}, or mask fields after decoding"
        )


def check_dims(latents: xr.Dataset, dims: Sequence[str]) -> None:
    """Refuse latents that lack dimensions of those of their model, or have others.

    Raises
    ------
    DatasetError
    """
    found = {str(dim) for dim in latents[LATENT].dims if str(dim).startswith(PREFIX)}
    if found != set(dims):
        raise DatasetError(
            f"{LATENT!r} has the dimensions {latents[LATENT].dims}; expected {', '.join(dims)} beside times and "
            "members: keep all of these"
        )


def select_sea_mask(latents: xr.Dataset, part: DecodedSelection) -> xr.DataArray | None:
    """Where the masked variables are there, in the part that is wanted; None where the latents do not say.

    Latents that were joined have a mask a time, or a member, of which each holds for its own.
    """
    if SEA not in latents:
        return None
    sea, layout = latents[SEA], part.layout
    horizontal = [layout.latitude or "latitude", layout.longitude or "longitude"]
    # Of one row or column, a selection leaves no dimension.
    sea = sea.expand_dims([dim for dim in horizontal if dim not in sea.dims and latents.get(dim, sea).ndim == 0])
    if missing := [dim for dim in horizontal if dim not in sea.dims]:
        raise DatasetError(
            f"{SEA!r} has the dimensions {sea.dims}, and lacks {', '.join(missing)}; expected those of the fields: "
            f"drop it with latents.drop_vars({SEA!r})"
        )
    # Where latents were masked, or one piece lacks what another has, the mask is no number.
    sea = (sea.fillna(False) if sea.dtype.kind in "fO" else sea).astype(bool)
    return sea.isel(dict(zip(horizontal, part.place, strict=True))).drop_vars(list(sea.coords))


def select_decoded_fields(
    latents: xr.Dataset, spec: StateSpec, variables: str | Sequence[str] | None, region: Region | None
) -> DecodedSelection:
    """The part of the fields that is wanted of `latents`.

    Parameters
    ----------
    latents : Dataset
        As `label_latents` makes them, or selected from that, by latitude, longitude and level too.
    spec : StateSpec
        Specification of the model.
    variables : str or sequence of str, optional
        The user's names or WeatherBench names; default all.
    region : optional
        See `choose_region`.

    Raises
    ------
    DatasetError
        If the coordinates are not the model's.
    OptionError
        If a variable is unknown, or the region is not valid.
    """
    layout = _derive_layout(latents, spec)
    names = _resolve_names(variables, layout)
    part = choose_region(region, layout)
    latitudes = tuple(layout.latitudes[i] for i in part.rows)
    rows = find_positions(latitudes, spec.latitude)
    columns = find_positions(part.longitudes, spec.longitude, 360)
    if rows is None or columns is None:
        refuse(["latitudes or longitudes are not those of the model; keep the coordinates that encode made"])
    kept = [layout.hectopascals[i] for i in part.levels]
    channels = [
        k
        for name in names
        for k in spec.of(name)
        if (level := spec.channels[k][1]) is None or any(np.isclose(level, p) for p in kept)
    ]
    levels = tuple(sorted({level for k in channels if (level := spec.channels[k][1]) is not None}))
    lacking = [name for name in names if spec.levels_of(name) and not levels]
    if lacking:
        refuse([f"no level is left of {', '.join(lacking)}; select levels of {', '.join(map(str, spec.levels))} hPa"])
    kept_layout = replace(
        layout, latitudes=latitudes, longitudes=part.longitudes, levels=tuple(layout.levels[i] for i in part.levels)
    )
    state = StateSpec(
        tuple(spec.channels[k] for k in channels), latitudes, part.longitudes, spec.step_hours, spec.window, spec.masked
    )
    wanted = OutputSelection(names, levels)
    return DecodedSelection(
        kept_layout,
        wanted,
        state,
        np.array(channels),
        _to_indexer(rows),
        _to_indexer(columns),
        (part.rows, part.columns),
    )


def _to_indexer(found: Array | None) -> Array:
    return np.array([], int) if found is None else found


def _derive_layout(latents: xr.Dataset, spec: StateSpec) -> Layout:
    """Layout of the fields: axes by the coordinates, variables by the attributes; the model's own where missing."""
    layout = recognise(latents, need=("time",))
    names, notation = {}, {}
    for user, written in json.loads(latents.attrs[VARIABLES]).items():
        names[user] = written.pop("name")
        written["attrs"] = tuple(map(tuple, written["attrs"]))
        notation[user] = VariableEncoding(**written)
    own_levels = layout.level is None
    return replace(
        layout,
        names=names,
        notation=notation,
        latitudes=spec.latitude if layout.latitude is None else layout.latitudes,
        longitudes=spec.longitude if layout.longitude is None else layout.longitudes,
        levels=tuple(map(float, spec.levels)) if own_levels else layout.levels,
        level_units="hPa" if own_levels else layout.level_units,
    )


def _resolve_names(variables: str | Sequence[str] | None, layout: Layout) -> tuple[str, ...]:
    """WeatherBench names of the variables asked for."""
    known = dict(layout.names) | {name: name for name in layout.names.values()}
    if variables is None:
        return tuple(layout.names.values())
    asked = [variables] if isinstance(variables, str) else list(variables)
    wrong = [f"{name!r}{suggest_names(str(name), known)}" for name in asked if name not in known]
    if wrong or not asked:
        raise OptionError(
            f"variables={variables!r}: unknown {', '.join(wrong)}; expected some of {', '.join(layout.names)}"
            if wrong
            else f"variables={variables!r} asks for none; expected some of {', '.join(layout.names)}, or None for all"
        )
    return tuple(dict.fromkeys(known[name] for name in asked))

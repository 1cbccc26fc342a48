"""The latent form of a Dataset, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dask.array
import numpy as np
import xarray as xr

from xappa.alignment import with_xarray_defaults
from xappa.argument_types import check_arguments
from xappa.errors import DatasetError, OptionError
from xappa.grids import flatten_valid_time
from xappa.grids.axes import Layout, inspect, refuse
from xappa.grids.matching import find_grid_problems
from xappa.model.registry import load
from xappa.model.state import StateSpec
from xappa.options import get_options
from xappa.state import to_dataset
from xappa.state.latent_datasets import (
    LATENT,
    DecodedSelection,
    check_dims,
    check_latents,
    label_latents,
    select_decoded_fields,
    select_sea_mask,
)
from xappa.state.region import Region
from xappa.state.regridding import choose_method, describe_grid, find_coverage_problems
from xappa.state.selection import find_model_time_problems
from xappa.state.to_model import plan_assembly
from xappa.state.units import find_unit_problems, refuse_units
from xappa.state.validation import find_value_problems
from xappa.tasks import planning

if TYPE_CHECKING:
    from xappa.model.protocol import GenerativeModel, ModelLike

DTYPES = ("float16", "float32")


@check_arguments
@with_xarray_defaults
def encode(
    ds: xr.Dataset, model: ModelLike | None = None, *, dtype: str = "float16", device: str | None = None
) -> xr.Dataset:
    """The latent form of fields: hundreds of times fewer numbers (532 at 0.25 degrees).

    Returns at once; states are encoded one by one when values are asked for. Fields may be in any order and
    convention, in convertible units, with more variables and levels than the model's, and on another grid
    (they are regridded: bilinear, or conservative where the model's grid is at least twice as coarse).

    Parameters
    ----------
    ds : xarray.Dataset
        Fields.
    model : str or Path, optional
        Name (see `xappa.models`) or folder of the model. Default: the option ``default_model``.
    dtype : str, default "float16"
        In what they are stored: ``"float16"`` or ``"float32"`` (NetCDF knows no float16, Zarr does). They are
        handed out in float32, so that statistics do not overflow.
    device : str, optional
        In torch's words, such as ``"cpu"``. Default: an accelerator where there is one.

    Returns
    -------
    xarray.Dataset
        ``latent`` ([member,] time, latent_y, latent_x, latent_channel), of mean about 0 and deviation about 1;
        NaN for a state with missing values, except of sea surface temperature. ``sea_mask`` (latitude, longitude):
        where that is there at the first time. The coordinates of the fields, in their names, order and
        conventions; model, its hash, and names and units of the variables in the attributes.

    Raises
    ------
    xappa.errors.DatasetError
        If variables, levels, times or places that the model needs are missing; all reasons at once.
    xappa.errors.UnitsError
        If only units are wrong, or precipitation is over other hours than the model's.
    xappa.errors.OptionError
        If `dtype` is neither of the two.

    Examples
    --------
    >>> xappa.to_zarr(era5.appa.encode(), "latents.zarr")  # doctest: +SKIP
    """
    from xappa.streaming.graph import coding as streaming

    if dtype not in DTYPES:
        raise OptionError(f"dtype={dtype!r}: expected one of {', '.join(map(repr, DTYPES))}")
    prior = load(model, device=device)
    spec, ds = prior.spec, flatten_valid_time(ds)
    layout = _require_encodable(ds, spec)
    assemble, fields = plan_assembly(_chunk_by_time(ds, layout, spec), spec, layout, members=True)
    blocks = [_rechunk_by_state(field, layout) for field in fields]
    coder = streaming.Coder(planning.get_model_address(model, prior), prior.digest, device, prior.precision)
    times = np.atleast_1d(ds[layout.time].values)
    latents = streaming.encode(blocks, assemble, times, coder, prior.latent_shape, dtype)
    sea = streaming.make_sea_mask(blocks, assemble, spec.masked)
    method = choose_method(layout, spec) if find_grid_problems(layout, spec) else ""
    attrs = {
        "title": "Latent states encoded by xappa",
        **_describe_origin(prior),
        "xappa_model_address": planning.format_address(coder.model),
        "xappa_regridded": f"{method}, from {describe_grid(layout)}" if method else "",
    }
    return label_latents(latents, prior.latent_dims, ds, spec, layout, attrs, sea)


@check_arguments
@with_xarray_defaults
def decode(
    latents: xr.Dataset,
    variables: str | Sequence[str] | None = None,
    region: Region | None = None,
    *,
    model: ModelLike | None = None,
    device: str | None = None,
) -> xr.Dataset:
    """The fields of latents that `encode` made, or of some of their times, members, rows, columns and levels.

    Returns at once; states are decoded one by one when values are asked for, and of each only what is wanted is
    kept.

    Parameters
    ----------
    latents : xarray.Dataset
        What `encode` returned, or anything selected from it.
    variables : str or sequence of str, optional
        Names as in the Dataset that was encoded, or WeatherBench names. Default: all of the model's.
    region : mapping or pair, optional
        ``{"latitude": slice(30, 60), "longitude": slice(-10, 40), "level": (500, 850)}``: slices or pairs of
        bounds, any of the three, by these or the Dataset's own names; or ``((30, 60), (-10, 40))`` for latitudes
        and longitudes. Both bounds belong to the region. Bounds of latitude and level come in any order; those of
        longitude go eastwards from the first to the second, in any convention. Degrees; levels in the Dataset's
        units. Where the region lies across the seam of the longitudes, these ascend from its western bound.
        Default: everything.
    model : str or Path, optional
        Where the model of the latents is found, if no longer under the name or in the folder of then.
    device : str, optional
        As for `encode`.

    Returns
    -------
    xarray.Dataset
        ([member,] time, [level,] latitude, longitude); names, units, order and conventions as in the Dataset that
        was encoded, missing where its sea surface temperature was missing.

    Raises
    ------
    xappa.errors.DatasetError
        If `latents` does not hold whole latent states.
    xappa.errors.IntegrityError
        If `model` is not the one that made the latents.
    xappa.errors.OptionError
        If a variable is unknown, or `region` holds no point.

    Examples
    --------
    >>> latents.appa.decode("2m_temperature", region=((35, 70), (-10, 40)))  # doctest: +SKIP
    """
    from xappa.streaming.graph import coding as streaming

    check_latents(latents)
    known = latents.attrs["xappa_model_address"] or latents.attrs["xappa_model"]
    address = planning.get_model_address(str(known) if model is None else model)
    coder = streaming.Coder(address, str(latents.attrs["xappa_model_digest"]), device, get_options().precision)
    prior = coder.load()
    check_dims(latents, prior.latent_dims)
    part = select_decoded_fields(latents, prior.spec, variables, region)
    layout = part.layout
    time, member = str(layout.time), layout.member or "member"
    field = latents[LATENT]
    has_members = member in field.dims
    field = field.drop_vars(list(field.coords)).expand_dims([name for name in (member, time) if name not in field.dims])
    field = field.transpose(member, time, *prior.latent_dims)
    if field.shape[2:] != prior.latent_shape:
        raise DatasetError(
            f"{LATENT!r} has the sizes {field.shape[2:]} along {', '.join(prior.latent_dims)}; expected "
            f"{prior.latent_shape}: select times, members and places, but never part of a latent state"
        )
    times, clip = np.atleast_1d(latents[time].values), get_options().clip
    kept = (part.channels, part.rows, part.columns)
    fields = streaming.decode(dask.array.asarray(field.chunk().data), times, coder, kept, clip)
    numbers = latents[member].values if member in latents.coords else np.arange(fields.shape[0])
    attrs = {"title": "Fields decoded by xappa", **_describe_origin(prior), "xappa_clipped": str(clip)}
    ds = to_dataset(fields, part.spec, times, np.atleast_1d(numbers), layout, part.wanted, attrs)
    ds = _mask_land(ds, latents, part, [layout.get_user_name(name) for name in prior.spec.masked])
    return ds if has_members else ds.isel({member: 0}, drop=True)


def _require_encodable(ds: xr.Dataset, spec: StateSpec) -> Layout:
    """Layout of a Dataset whose values are states of the model; everything that is wrong is raised at once."""
    layout, problems = inspect(ds)
    if layout.time is not None and ds[layout.time].dtype.kind == "M":
        times = np.atleast_1d(ds[layout.time].values)
        problems += find_model_time_problems(times[~np.isnat(times)], spec)
    wrong = find_unit_problems(ds, spec, layout)
    more = [] if problems else find_coverage_problems(ds, spec, layout)
    problems += more + find_value_problems(ds, spec, layout, members=True)
    refuse([*problems, *wrong] if problems else [], "This Dataset cannot be encoded")
    refuse_units(wrong)
    return layout


def _chunk_by_time(ds: xr.Dataset, layout: Layout, spec: StateSpec) -> xr.Dataset:
    """The variables that the model needs, in Dask arrays of one time."""
    ds = ds[[user for user, name in layout.names.items() if name in spec.variables]]
    time = ds[layout.time]
    return ds.chunk({time.dims[0]: 1} if time.ndim else {})


def _rechunk_by_state(field: xr.DataArray, layout: Layout) -> dask.array.Array:
    """A field ([member,] time, [level,] latitude, longitude) in one chunk a state."""
    lead = 2 if layout.member in field.dims else 1
    return field.chunk({dim: 1 if place < lead else -1 for place, dim in enumerate(field.dims)}).data


def _describe_origin(prior: GenerativeModel) -> dict[str, str]:
    from xappa import __version__

    return {
        "source": f"xappa {__version__}, model {prior.name}",
        "xappa_version": __version__,
        "xappa_model": prior.name,
        "xappa_model_digest": prior.digest,
    }


def _mask_land(ds: xr.Dataset, latents: xr.Dataset, part: DecodedSelection, masked: Sequence[str]) -> xr.Dataset:
    """Fields that are missing where those that were encoded were missing."""
    present = [name for name in masked if name in ds]
    sea = select_sea_mask(latents, part) if present else None
    if sea is None:
        return ds
    return ds.assign({name: ds[name].where(sea).transpose(*ds[name].dims) for name in present})

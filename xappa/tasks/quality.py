"""Quality control against a model's climatology or a background: what the checks need, read off fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import dask
import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.alignment import with_xarray_defaults
from xappa.argument_types import check_arguments
from xappa.errors import CheckWarning, OptionError, warn
from xappa.grids import flatten_valid_time
from xappa.grids.axes import recognise
from xappa.grids.bilinear import compute_bilinear_weights
from xappa.model.registry import load
from xappa.model.state import StateSpec
from xappa.observations.errors.defaults import with_default_errors
from xappa.observations.errors.tables import Errors
from xappa.observations.flags import flags_of
from xappa.observations.qc import Quality, check, choose_quality, run_quality_control
from xappa.observations.qc.batch import Background
from xappa.observations.qc.control import BY_CLIMATOLOGY, NOT_CHECKED
from xappa.observations.qc.index import ReportIndex
from xappa.observations.qc.position_checks import PRESSURES, REPORTED
from xappa.observations.read import Source, read_observations
from xappa.observations.schema import quantities
from xappa.observations.user_variables import user_defined_names
from xappa.tasks.planning import get_model_address
from xappa.tasks.qc_reference import FieldBackground, ModelBackground

if TYPE_CHECKING:
    from xappa.model.protocol import GenerativeModel, ModelLike


@check_arguments
@with_xarray_defaults
def quality_control(
    obs: Source,
    quality: str | Quality = "standard",
    *,
    model: ModelLike | None = None,
    background: xr.Dataset | xr.DataArray | None = None,
    error: Errors | None = None,
) -> xr.Dataset:
    """Flag reports that cannot be believed; none is removed, and none stops a run.

    `assimilate` does the same. Call it where reports are averaged or thinned first, or to look at what is rejected.

    Parameters
    ----------
    obs : Dataset, DataFrame, path, or a list or dict of these
        Reports, as `read_observations` takes them.
    quality : str or Quality, default "standard"
        ``"none"``, ``"standard"``, ``"strict"`` or an object `xappa.Quality`.
    model : str, Path or Prior, optional
        Model whose climatology and surface reports are compared with. Default: the option ``default_model``.
    background : Dataset or DataArray, optional
        Fields that reports are compared with instead of the climatology, on any latitude-longitude grid and at any
        times, with or without members. The deviation of its errors is the spread of at least 3 members; otherwise that
        of the model's climate. Members that are missing at a report are left out there. What the background does not
        tell at all (gaps, other times, places or variables) is compared with the climatology: a `CheckWarning` and the
        attributes ``reports_checked_by_climatology`` and ``reports_not_checked`` (JSON, by quantity) count it; of lazy
        reports the warning comes, without numbers, as they are computed.
    error : mapping, str or float, optional
        Error deviations of reports that bring none, as for `assimilate`; they are used for the checks alone.

    Returns
    -------
    Dataset
        The observations with ``<name>_flag`` for every quantity, which `xappa.summary` counts; lazy where the values
        are.

    Raises
    ------
    OptionError
        If there are no checks of that name, or `background` is no Dataset.
    ObservationError, UnitsError
        If the source cannot be read as a whole.

    Examples
    --------
    >>> import xappa
    >>> checked = xappa.quality_control("synop.bufr", xappa.Quality(background=4.0))  # doctest: +SKIP
    >>> xappa.summary(checked)  # doctest: +SKIP
    """
    chosen = choose_quality(quality)
    reports = read_observations(obs, unknown=user_defined_names(error))
    index = ReportIndex(reports)
    reports = check(reports, index)
    of_model = (chosen.background, chosen.buddies, chosen.model_height, chosen.station_pressure)
    if all(option is None for option in of_model):
        controlled = run_quality_control(with_default_errors(reports, error), chosen, index=index)
    else:
        prior = load(model)
        known = with_default_errors(reports, error)
        controlled = check_against_model(prior, get_model_address(model, prior), known, chosen, background, index=index)
    counts = {key: controlled.attrs[key] for key in (BY_CLIMATOLOGY, NOT_CHECKED) if key in controlled.attrs}
    reports = reports.assign_attrs(counts)
    for name in quantities(reports):
        reports = reports.assign({f"{name}_flag": flags_of(controlled, name)})
        reports[name] = reports[name].assign_attrs(_without_error(controlled[name].attrs, name, reports))
    return reports


def _without_error(attrs: dict, name: str, reports: xr.Dataset) -> dict:
    related = attrs.get("ancillary_variables", "").split()
    kept = [other for other in related if other != f"{name}_error" or other in reports]
    return attrs | {"ancillary_variables": " ".join(kept)}


def check_against_model(
    prior: GenerativeModel,
    address: str | GenerativeModel,
    reports: xr.Dataset,
    quality: Quality,
    background: xr.Dataset | xr.DataArray | None = None,
    surface: Array | None = None,
    index: ReportIndex | None = None,
) -> xr.Dataset:
    """Reports checked against a model, and a background where there is one.

    Parameters
    ----------
    prior : GenerativeModel
    address : str
        Name or folder of the model, from which a worker loads it again.
    reports : Dataset
        Observations in the schema, checked by themselves, with errors.
    quality : Quality
    background : Dataset or DataArray, optional
    surface : array of float, (latitude, longitude), optional
        Height of the surface on the model's grid, m. Default: the model's own.
    index : ReportIndex, optional
        Index of the coordinates of the reports, where it is there already.

    Returns
    -------
    Dataset
        The same with flags.
    """
    found: Background = ModelBackground(address, prior.digest, prior.spec)
    if background is not None:
        lazy = any(dask.is_dask_collection(reports[name].data) for name in quantities(reports))
        fields = flatten_valid_time(_to_dataset(background))
        found = FieldBackground(fields, recognise(fields), found, already_warned=lazy)
    height = prior.surface_height if surface is None else surface
    at_reports = None if height is None else _interpolate_field(reports, np.asarray(height, float), prior.spec)
    reduced = [name for name in PRESSURES if name in REPORTED or name not in prior.spec.variables]
    window = max(prior.spec.step, _HOUR)
    controlled = run_quality_control(
        reports, quality, background=found, surface=at_reports, reduced=reduced, window=window, index=index
    )
    if background is not None:
        _warn_not_checked(controlled)
    return controlled


def _to_dataset(background: xr.Dataset | xr.DataArray) -> xr.Dataset:
    if isinstance(background, xr.Dataset):
        return background
    if isinstance(background, xr.DataArray) and background.name is not None:
        return background.to_dataset()
    raise OptionError(
        f"background: found {type(background).__name__}{' without a name' if hasattr(background, 'name') else ''}; "
        "expected an xarray Dataset, or a DataArray named like its variable"
    )


def _warn_not_checked(obs: xr.Dataset) -> None:
    """Say, in one warning, which reports could not be compared with the background that was given."""
    counts = {key: json.loads(obs.attrs.get(key, "{}")) for key in (BY_CLIMATOLOGY, NOT_CHECKED)}
    listed = {key: ", ".join(f"{name} {n}" for name, n in found.items()) for key, found in counts.items()}
    said = []
    if listed[BY_CLIMATOLOGY]:
        said.append(f"compared with the model's climatology instead: {listed[BY_CLIMATOLOGY]}")
    if listed[NOT_CHECKED]:
        said.append(f"with nothing, as its climatology does not tell them either: {listed[NOT_CHECKED]}")
    if said:
        warn(
            "The background says nothing of some reports (it has gaps, or other times, places or variables; numbers "
            f"of reports by quantity); {'; '.join(said)}",
            CheckWarning,
        )


_HOUR = np.timedelta64(1, "h")
BLOCK = 2**19
"""Reports whose places are located at once."""


def _interpolate_field(obs: xr.Dataset, field: Array, spec: StateSpec) -> Array:
    """A field (latitude, longitude) of the model's grid at the places of reports, bilinear; NaN outside."""
    latitude, longitude = (np.asarray(obs[name].values, float) for name in ("latitude", "longitude"))
    found = np.full(len(latitude), np.nan)
    for first in range(0, len(found), BLOCK):
        rows = slice(first, first + BLOCK)
        around = compute_bilinear_weights(latitude[rows], longitude[rows], spec.latitude, spec.longitude)
        values = (field.reshape(-1)[around.cell] * around.weight).sum(axis=1)
        found[rows] = np.where(around.inside, values, np.nan)
    return found

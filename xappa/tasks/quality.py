"""Quality control against a model's climatology or a background: what the checks need, read off fields."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dask
import numpy as np
import xarray as xr

from xappa.alignment import aligned
from xappa.errors import ObservationError
from xappa.grids import tidy
from xappa.grids.axes import Layout, recognise
from xappa.grids.bilinear import corners
from xappa.labels import spec_of, surface_height, to_array
from xappa.models.registry import load
from xappa.models.state import StateSpec
from xappa.observations.errors_table import Errors, with_errors
from xappa.observations.flags import flags_of
from xappa.observations.form import build, quantities
from xappa.observations.own import own_names
from xappa.observations.quality import Quality, check, choose_quality, control
from xappa.observations.quality.batch import Array, Background, Batch
from xappa.observations.quality.places import PRESSURES, REPORTED
from xappa.observations.read import Source, read_observations
from xappa.operators.interpolate import interpolate
from xappa.operators.stencil import Stencil
from xappa.tasks.planning import model_address

if TYPE_CHECKING:
    from xappa.models.model import Model

DEFAULT_ERRORS = "ecmwf-like"
STATES_BYTES = 64e6
"""Of the mean states that are held at once when reports are compared with the climate."""
LEAST_MEMBERS = 3
"""Members from which the spread of a background is taken; fewer say nothing of its error."""


@aligned
def quality_control(
    obs: Source,
    quality: str | Quality = "standard",
    *,
    model: str | Path | None = None,
    background: xr.Dataset | None = None,
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
    model : str or Path, optional
        Model whose climatology and surface reports are compared with. Default: the option ``default_model``.
    background : Dataset, optional
        Fields that reports are compared with instead of the climatology, on any latitude-longitude grid and at any
        times, with or without members. The deviation of its errors is the spread of at least 3 members; otherwise that
        of the model's climate.
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
        If there are no checks of that name.
    ObservationError, UnitsError
        If the source cannot be read as a whole.

    Examples
    --------
    >>> import xappa
    >>> checked = xappa.quality_control("synop.bufr", xappa.Quality(background=4.0))  # doctest: +SKIP
    >>> xappa.summary(checked)  # doctest: +SKIP
    """
    chosen = choose_quality(quality)
    reports = check(read_observations(obs, unknown=own_names(error)))
    of_model = (chosen.background, chosen.buddies, chosen.model_height, chosen.station_pressure)
    if all(option is None for option in of_model):
        controlled = control(with_errors(reports, error or DEFAULT_ERRORS), chosen)
    else:
        prior = load(model)
        controlled = controlled_by(
            prior, model_address(model), with_errors(reports, error or DEFAULT_ERRORS), chosen, background
        )
    for name in quantities(reports):
        reports = reports.assign({f"{name}_flag": flags_of(controlled, name)})
        reports[name] = reports[name].assign_attrs(_without_error(controlled[name].attrs, name, reports))
    return reports


def _without_error(attrs: dict, name: str, reports: xr.Dataset) -> dict:
    related = attrs.get("ancillary_variables", "").split()
    kept = [other for other in related if other != f"{name}_error" or other in reports]
    return attrs | {"ancillary_variables": " ".join(kept)}


def controlled_by(
    prior: Model,
    address: str,
    reports: xr.Dataset,
    quality: Quality,
    background: xr.Dataset | None = None,
    surface: Array | None = None,
) -> xr.Dataset:
    """Reports checked against a model, and a background where there is one.

    Parameters
    ----------
    prior : Model
    address : str
        Name or folder of the model, from which a worker loads it again.
    reports : Dataset
        Observations in the one form, checked by themselves, with errors.
    quality : Quality
    background : Dataset, optional
    surface : array of float, (latitude, longitude), optional
        Height of the surface on the model's grid, m. Default: the model's own.

    Returns
    -------
    Dataset
        The same with flags.
    """
    found: Background = ModelBackground(address, prior.digest, prior.spec)
    if background is not None:
        background = tidy(background)
        found = FieldBackground(background, recognise(background), found)
    height = prior.surface_height if surface is None else surface
    at_reports = None if height is None else _at(reports, np.asarray(height, float), prior.spec)
    reduced = [name for name in PRESSURES if name in REPORTED or name not in prior.spec.variables]
    window = max(prior.spec.step, _HOUR)
    return control(reports, quality, background=found, surface=at_reports, reduced=reduced, window=window)


_HOUR = np.timedelta64(1, "h")


@dataclass(frozen=True)
class ModelBackground:
    """The climatology of a model, and its deviation.

    Parameters
    ----------
    address, digest : str
        Which model; it is loaded where it is used.
    spec : StateSpec
    """

    address: str
    digest: str
    spec: StateSpec

    def __dask_tokenize__(self) -> tuple[str, str]:
        return ("xappa.ModelBackground", self.digest)

    def __call__(self, batch: Batch) -> Mapping[str, tuple[Array, Array]]:
        """Mean and deviation (N,) by quantity."""
        prior = load(self.address)
        parts = _in_groups(batch, self.spec.step, _times_at_once(prior))
        return _joined(batch, ((rows, self._found(prior, batch.part(rows))) for rows in parts))

    def _found(self, prior: Model, batch: Batch) -> dict[str, tuple[Array, Array]]:
        times = _around(batch.time, self.spec.step)
        stencil = _stencil(batch, self.spec, times, prior.surface_height, prior.mask)
        if stencil is None:
            return {}
        # Deviations of neighbouring cells are taken as one, an upper bound of that of their mean.
        row, column = np.divmod(stencil.cell, self.spec.shape[-1])
        deviation = (np.abs(stencil.weight) * prior.scale[stencil.channel, row, column]).sum(axis=1)
        return _by_quantity(batch, stencil, stencil.apply(prior.climatology(times)), deviation)


@dataclass(frozen=True)
class FieldBackground:
    """Fields with or without members; where they don't say how wrong they are, the climate's deviation.

    Parameters
    ----------
    fields : Dataset
    layout : Layout
    climate : callable
        Background that gives deviations.
    """

    fields: xr.Dataset
    layout: Layout
    climate: Background

    def __dask_tokenize__(self) -> tuple[str, str]:
        return ("xappa.FieldBackground", dask.base.tokenize(self.fields, self.climate))

    def __call__(self, batch: Batch) -> Mapping[str, tuple[Array, Array]]:
        """Mean and deviation (N,) by quantity, window by window, so that few fields are in memory."""
        return _joined(batch, ((rows, self._found(batch.part(rows))) for rows in batch.windows()))

    def _found(self, batch: Batch) -> Mapping[str, tuple[Array, Array]]:
        layout = self.layout
        spec = spec_of(self.fields, layout, set(batch.value) & set(layout.names.values()) or None)
        times = np.atleast_1d(self.fields[layout.time].values)
        near = _brackets(times, batch.time, spec.step)
        if not len(near):
            return {}
        fields = (
            self.fields.isel({self.fields[layout.time].dims[0]: near}) if self.fields[layout.time].ndim else self.fields
        )
        height = surface_height(self.fields, spec, layout)
        member = None if layout.member is None else self.fields[layout.member].dims[0]
        number = 1 if member is None else fields.sizes[member]
        states = (
            to_array(fields if member is None else fields.isel({member: [k]}), spec, layout) for k in range(number)
        )
        first = next(states)
        stencil = _stencil(batch, spec, times[near], height, np.isfinite(first).all(axis=0))
        if stencil is None:
            return {}
        seen = np.stack([stencil.apply(np.nan_to_num(state)) for state in (first, *states)])
        if number >= LEAST_MEMBERS:
            return _by_quantity(batch, stencil, seen.mean(axis=0), seen.std(axis=0, ddof=1))
        climate = self.climate(batch)
        found = _by_quantity(batch, stencil, seen.mean(axis=0), np.zeros(len(stencil)))
        return {name: (mean, climate[name][1]) for name, (mean, _) in found.items() if name in climate}


def _times_at_once(prior: Model) -> float:
    """Times whose mean states are held together; any number where the mean is the same at all of them."""
    return np.inf if prior.normalisation.constant_mean else STATES_BYTES / prior.scale.nbytes


def _in_groups(batch: Batch, step: np.timedelta64, most: float) -> Iterator[slice]:
    """Neighbouring windows whose reports lie within so many times, or one window."""
    first = last = None
    for rows in batch.windows():
        if first is None or last is None:
            first = rows
        elif (batch.time[rows].max() - batch.time[first].min()) / step + 2 > most:
            yield slice(first.start, last.stop)
            first = rows
        last = rows
    if first is not None and last is not None:
        yield slice(first.start, last.stop)


def _joined(
    batch: Batch, parts: Iterable[tuple[slice, Mapping[str, tuple[Array, Array]]]]
) -> dict[str, tuple[Array, Array]]:
    """Means and deviations of a batch from those of its parts."""
    joined: dict[str, tuple[Array, Array]] = {}
    for rows, found in parts:
        for name, columns in found.items():
            whole = joined.setdefault(name, (np.full(len(batch), np.nan), np.full(len(batch), np.nan)))
            for values, column in zip(whole, columns, strict=True):
                values[rows] = column
    return joined


def _around(time: Array, step: np.timedelta64) -> Array:
    """Model times from before the first to after the last report."""
    length = step / np.timedelta64(1, "s")
    seconds = time.astype("datetime64[s]").astype(np.int64)
    first, last = np.floor(seconds.min() / length), np.ceil(seconds.max() / length)
    return (np.arange(first, last + 1) * length).astype(np.int64).astype("datetime64[s]")


def _brackets(times: Array, when: Array, step: np.timedelta64) -> Array:
    """Positions of the times that lie round the reports."""
    return np.flatnonzero((times >= when.min() - step) & (times <= when.max() + step))


def _stencil(batch: Batch, spec: StateSpec, times: Array, height: Array | None, mask: Array) -> Stencil | None:
    """How the good reports of a batch are read off fields at `times`; None if none can be."""
    instant = batch.kind < 0
    names = [name for name in batch.value if name in spec.variables and (instant & batch.good(name)).any()]
    if not names:
        return None
    coordinates = {"time": batch.time, "latitude": batch.latitude, "longitude": batch.longitude}
    coordinates |= {"level": batch.level, "altitude": batch.altitude}
    values = {name: np.where(instant & batch.good(name), 0.0, np.nan) for name in names}
    network = build(coordinates, values, {name: np.ones(len(batch)) for name in names})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # heights that are not known are the operator's to mention
        try:
            return interpolate(network, spec, times, surface_height=height, mask=mask)[0]
        except ObservationError:  # no report of this window is inside the grid's times
            return None


def _by_quantity(batch: Batch, stencil: Stencil, mean: Array, deviation: Array) -> dict[str, tuple[Array, Array]]:
    found = {}
    for code, name in enumerate(stencil.names):
        rows = np.flatnonzero(stencil.variable == code)
        columns = np.full((2, len(batch)), np.nan)
        columns[:, stencil.observation[rows]] = mean[rows], deviation[rows]
        found[name] = (columns[0], columns[1])
    return found


def _at(obs: xr.Dataset, field: Array, spec: StateSpec) -> Array:
    """A field (latitude, longitude) of the model's grid at the places of reports, bilinear; NaN outside."""
    latitude, longitude = (np.asarray(obs[name].values, float) for name in ("latitude", "longitude"))
    around = corners(latitude, longitude, spec.latitude, spec.longitude)
    return np.where(around.inside, (field.reshape(-1)[around.cell] * around.weight).sum(axis=1), np.nan)

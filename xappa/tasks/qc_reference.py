"""Reference of quality control: a model's climatology, or fields of the user."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import dask
import numpy as np
import xarray as xr

from xappa._typing import Array
from xappa.errors import CheckWarning, ObservationError, warn
from xappa.grids.axes import Layout
from xappa.model.registry import load
from xappa.model.state import StateSpec
from xappa.observations.qc.batch import Background, ComparisonBasis, ReportBatch
from xappa.observations.schema import build_observations
from xappa.operators.context import StateContext
from xappa.operators.geometry import LEAST_SHARE
from xappa.operators.interpolate import interpolate
from xappa.operators.sparse import SparseOperator
from xappa.state import derive_spec, get_surface_height, to_array

if TYPE_CHECKING:
    from xappa.model.protocol import GenerativeModel

STATES_BYTES = 64e6
"""Size of the mean states that are held at once when reports are compared with the climate."""
LEAST_MEMBERS = 3
"""Members from which the spread of a background is taken; fewer say nothing of its error."""


@dataclass(frozen=True)
class ModelBackground:
    """The climatology of a model, and its deviation.

    Parameters
    ----------
    address : str or GenerativeModel
    digest : str
        Name or folder of the model, which is loaded where it is used.
    spec : StateSpec
    """

    address: str | GenerativeModel
    digest: str
    spec: StateSpec

    def __dask_tokenize__(self) -> tuple[str, str]:
        return ("xappa.ModelBackground", self.digest)

    def __call__(self, batch: ReportBatch) -> Mapping[str, tuple[Array, Array]]:
        """Mean and deviation (N,) by quantity."""
        prior = load(self.address)
        parts = _split_groups(batch, self.spec.step, _count_concurrent_times(prior))
        return _merge_parts(batch, ((rows, self._evaluate(prior, batch.select(rows))) for rows in parts))

    def _evaluate(self, prior: GenerativeModel, batch: ReportBatch) -> dict[str, tuple[Array, Array]]:
        times = _list_model_times(batch.time, self.spec.step)
        stencil = _build_operator(batch, self.spec, times, prior.surface_height, prior.mask)
        if stencil is None:
            return {}
        # Deviations of neighbouring cells are taken as one, an upper bound of that of their mean.
        scale = prior.scale.reshape(len(prior.scale), -1)[stencil.channel, stencil.cell]
        deviation = (np.abs(stencil.weight) * scale).sum(axis=1)
        return _split_by_quantity(batch, stencil, stencil.apply(prior.climatology(times)), deviation)


@dataclass(frozen=True)
class FieldBackground:
    """Fields with or without members; of what they don't tell, the climate.

    Members that are missing at a report are left out there. Of fewer than 3 the deviation is the climate's, and where
    there is none (a gap, another time or region, another variable) the mean is so too.

    Parameters
    ----------
    fields : Dataset
    layout : Layout
    climate : callable
        Background that serves for the rest.
    already_warned : bool, default False
        Whether what the fields do not tell is said as it is found, for reports that Dask reads.
    """

    fields: xr.Dataset
    layout: Layout
    climate: Background
    already_warned: bool = False

    def __dask_tokenize__(self) -> tuple[str, str]:
        return ("xappa.FieldBackground", dask.base.tokenize(self.fields, self.climate))

    def __call__(self, batch: ReportBatch) -> Mapping[str, tuple[Array, Array]]:
        """Mean and deviation (N,) by quantity, window by window, so that few fields are in memory."""
        found = _merge_parts(batch, ((rows, self._evaluate(batch.select(rows))) for rows in batch.list_windows()))
        nothing = np.full(len(batch), np.nan)
        found = {name: found.get(name, (nothing, nothing)) for name in batch.value}
        known = {name: np.isfinite(columns).all(axis=0) for name, columns in found.items()}
        if all((known[name] | ~batch.find_good(name)).all() for name in found):
            return found
        climate = self.climate(batch)
        for name, (mean, deviation) in climate.items():
            own = found[name]
            batch.basis[name][np.isnan(own[0])] = ComparisonBasis.CLIMATOLOGY
            found[name] = (
                np.where(np.isnan(own[0]), mean, own[0]),
                np.where(known[name], own[1], deviation),
            )
        if self.already_warned:
            _warn_of_gaps(batch, found)
        return found

    def _evaluate(self, batch: ReportBatch) -> Mapping[str, tuple[Array, Array]]:
        layout = self.layout
        wanted = set(batch.value) & set(layout.names.values())
        if not wanted:
            return {}
        spec = derive_spec(self.fields, layout, wanted)
        times = np.atleast_1d(self.fields[layout.time].values)
        near = _find_brackets(times, batch.time, spec.step)
        if not len(near):
            return {}
        fields = (
            self.fields.isel({self.fields[layout.time].dims[0]: near}) if self.fields[layout.time].ndim else self.fields
        )
        height = get_surface_height(self.fields, spec, layout)
        member = None if layout.member is None else self.fields[layout.member].dims[0]
        number = 1 if member is None else fields.sizes[member]
        states = [
            to_array(fields if member is None else fields.isel({member: [k]}), spec, layout) for k in range(number)
        ]
        # Where no state has a value (such as of the sea over land), none is to be read; elsewhere it is a gap.
        mask = np.any([np.isfinite(state).any(axis=0) for state in states], axis=0)
        stencil = _build_operator(batch, spec, times[near], height, mask)
        if stencil is None:
            return {}
        seen = np.stack([_without_gaps(stencil, state, mask) for state in states])
        sound = np.isfinite(seen)
        count = sound.sum(axis=0)
        mean = np.where(sound, seen, 0.0).sum(axis=0) / np.where(count, count, np.nan)
        square = np.where(sound, (seen - mean) ** 2, 0.0).sum(axis=0)
        enough = count >= LEAST_MEMBERS
        deviation = np.where(enough, np.sqrt(square / np.where(enough, count - 1, 1)), np.nan)
        return _split_by_quantity(batch, stencil, mean, deviation)


def _without_gaps(stencil: SparseOperator, state: Array, mask: Array) -> Array:
    """Values of an operator applied to a state; NaN if any number that it needs is missing."""
    gaps = ~np.isfinite(state) & mask
    found = stencil.apply(np.nan_to_num(state, posinf=0.0, neginf=0.0))
    if not gaps.any():
        return found
    share = replace(stencil, weight=np.abs(stencil.weight), offset=np.zeros(len(stencil))).apply(gaps.astype(float))
    return np.where(share > LEAST_SHARE, np.nan, found)


def _warn_of_gaps(batch: ReportBatch, found: Mapping[str, tuple[Array, Array]]) -> None:
    """Warn, without numbers, so that one window says no other than the next, of what the background does not tell."""
    if any((batch.find_good(name) & (batch.basis[name] != ComparisonBasis.BACKGROUND)).any() for name in found):
        warn(
            "The background says nothing of some of the reports that are read now (it has gaps, or other times, places "
            "or variables): they are compared with the model's climatology instead. xappa.quality_control on "
            "obs.compute() counts them",
            CheckWarning,
        )


def _count_concurrent_times(prior: GenerativeModel) -> float:
    """Times whose mean states are held together; any number where the mean is the same at all of them."""
    return np.inf if prior.constant_mean else STATES_BYTES / prior.scale.nbytes


def _split_groups(batch: ReportBatch, step: np.timedelta64, most: float) -> Iterator[slice]:
    """Neighbouring windows whose reports lie within so many times, or one window."""
    first = last = None
    for rows in batch.list_windows():
        if first is None or last is None:
            first = rows
        elif (batch.time[rows].max() - batch.time[first].min()) / step + 2 > most:
            yield slice(first.start, last.stop)
            first = rows
        last = rows
    if first is not None and last is not None:
        yield slice(first.start, last.stop)


def _merge_parts(
    batch: ReportBatch, parts: Iterable[tuple[slice, Mapping[str, tuple[Array, Array]]]]
) -> dict[str, tuple[Array, Array]]:
    """Means and deviations of a batch from those of its parts."""
    joined: dict[str, tuple[Array, Array]] = {}
    for rows, found in parts:
        for name, columns in found.items():
            whole = joined.setdefault(name, (np.full(len(batch), np.nan), np.full(len(batch), np.nan)))
            for values, column in zip(whole, columns, strict=True):
                values[rows] = column
    return joined


def _list_model_times(time: Array, step: np.timedelta64) -> Array:
    """Model times from before the first to after the last report."""
    length = step / np.timedelta64(1, "s")
    seconds = time.astype("datetime64[s]").astype(np.int64)
    first, last = np.floor(seconds.min() / length), np.ceil(seconds.max() / length)
    return (np.arange(first, last + 1) * length).astype(np.int64).astype("datetime64[s]")


def _find_brackets(times: Array, when: Array, step: np.timedelta64) -> Array:
    """Positions of the times that lie round the reports."""
    return np.flatnonzero((times >= when.min() - step) & (times <= when.max() + step))


def _build_operator(
    batch: ReportBatch, spec: StateSpec, times: Array, height: Array | None, mask: Array
) -> SparseOperator | None:
    """Observation operator of the good reports of a batch at `times`; None if none can be used."""
    instant = batch.kind < 0
    names = [name for name in batch.value if name in spec.variables and (instant & batch.find_good(name)).any()]
    if not names:
        return None
    coordinates = {"time": batch.time, "latitude": batch.latitude, "longitude": batch.longitude}
    coordinates |= {"level": batch.level, "altitude": batch.altitude}
    values = {name: np.where(instant & batch.find_good(name), 0.0, np.nan) for name in names}
    network = build_observations(coordinates, values, {name: np.ones(len(batch)) for name in names})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # heights that are not known are the operator's to mention
        try:
            return interpolate(network, StateContext(spec, times, height, mask))[0]
        except ObservationError:  # no report of this window is inside the grid's times
            return None


def _split_by_quantity(
    batch: ReportBatch, stencil: SparseOperator, mean: Array, deviation: Array
) -> dict[str, tuple[Array, Array]]:
    found = {}
    for code, name in enumerate(stencil.names):
        rows = np.flatnonzero(stencil.variable == code)
        columns = np.full((2, len(batch)), np.nan)
        columns[:, stencil.observation[rows]] = mean[rows], deviation[rows]
        found[name] = (columns[0], columns[1])
    return found

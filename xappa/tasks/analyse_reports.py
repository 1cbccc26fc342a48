"""From files of reports to a scored analysis: the whole way, as the command ``xappa assimilate`` goes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from xappa.argument_types import check_arguments
from xappa.binning.superob import superob
from xappa.errors import OptionError
from xappa.observations import read_observations
from xappa.observations.errors.defaults import count_without_error, warn_without_error, with_default_errors
from xappa.observations.errors.tables import Errors
from xappa.observations.flags import Flag, with_flag
from xappa.observations.qc import Quality, check
from xappa.observations.qc.table import Summary
from xappa.observations.schema import concat, quantities
from xappa.streaming.graph.diagnostics import diagnostics
from xappa.streaming.store.zarr import to_zarr
from xappa.tasks.assimilate import assimilate
from xappa.tasks.climatology import climatology
from xappa.tasks.cross_validation import score_withheld
from xappa.tasks.quality import quality_control
from xappa.tasks.template import template
from xappa.verification.blocks import is_from_swath, withhold_reports
from xappa.verification.table import to_table

if TYPE_CHECKING:
    from xappa.model.protocol import ModelLike
    from xappa.observations.read import One
    from xappa.observations.readers.station_tables import Table
    from xappa.operators.sources import Choice

SUPEROBS = ("auto", "none")
PASS = "1h"
"""Time within which reports of a swath in one box are averaged: less than a satellite takes to come again."""


@dataclass(frozen=True)
class Outcome:
    """Use of the reports, and scores of the analysis; as text, the tables of the command line.

    Parameters
    ----------
    counts : Dataset
        ``reports`` (variable, status), of the reports that were not withheld.
    scores : Dataset or None
        At the withheld reports, over ``metric`` and ``source``; None if nothing was withheld.
    withheld : int
        Withheld reports.
    store : Path or None
        Path of the analysis.
    analysis : Dataset
        Its fields.
    used, held : Dataset
        The reports that were used, and those that were withheld.
    """

    counts: xr.Dataset
    scores: xr.Dataset | None
    withheld: int
    store: Path | None
    analysis: xr.Dataset
    used: xr.Dataset
    held: xr.Dataset

    def __str__(self) -> str:
        reports = self.counts["reports"]
        table = reports.isel(status=(reports > 0).any("variable").values).to_dataframe()["reports"].unstack()
        parts = [f"Reports, by what became of them\n{Summary.of(table)}"]
        if self.scores is not None:
            parts.append(f"At withheld stations and blocks ({self.withheld} reports)\n" + to_table(self.scores))
        if self.store is not None:
            parts.append(f"Analysis: {self.store}")
        return "\n\n".join(parts)


@check_arguments
def assimilate_reports(
    sources: Sequence[str | Path] | Mapping[str, One],
    start: str,
    end: str,
    *,
    operator: Choice | Mapping[str, Choice] | None = None,
    stations: Table | Sequence[Table] | None = None,
    variables: Sequence[str] | None = None,
    superobs: str | float = "auto",
    members: int = 8,
    steps: int | None = None,
    withhold_fraction: float = 0.0,
    model: ModelLike | None = None,
    error: Errors | None = None,
    quality: str | Quality = "standard",
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Read reports, withhold some of them, assimilate the others, and say how good the analysis is.

    Parameters
    ----------
    sources : sequence of path, or mapping
        Files that `read_observations` reads, or these and Datasets by name. Files are called by their stem.
    start, end : str
        First and last time of the analysis.
    operator : str, operator, function, or dict of these by source, optional
        As for `assimilate`.
    stations : table or list of tables, optional
        Places and heights of stations, as `read_observations` takes them.
    variables : sequence of str, optional
        Quantities to use, as they were reported. Default: all, and what is derived from them.
    superobs : "auto", "none" or float, default "auto"
        Whether reports are averaged over boxes of the model's grid: sources that name no station (swaths), none, or
        all sources over so many degrees.
    members : int
    steps : int, optional
        Steps of the sampler.
    withhold_fraction : float
        Share of the stations, and of blocks of 4 degrees of sources that name none, that is kept for the scores.
    model : str, Path or Prior, optional
    error : str or mapping, optional
        Observation errors, as for `assimilate`. Quantities of which no error is known are not used.
    quality : str or Quality, default "standard"
    seed : int
        Of what is withheld and of the members.
    out : path, optional
        Store that receives the analysis. That of the same run is continued, or left alone if it is complete.
    overwrite : bool, default False
        Replace a store that is there.

    Returns
    -------
    Outcome
        Reports used and rejected, by reason; errors at what was withheld of the model's climatology, of
        inverse-distance interpolation of the other reports (8 neighbours, power 2), of the analysis, and of the
        analysis with its residuals at the reports used interpolated in the same way.
    """
    wanted = template(start, end, model)
    reports = prepare_reports(
        sources,
        stations=stations,
        variables=variables,
        superobs=superobs,
        model=model,
        error=error,
        quality=quality,
    )
    grid = {name: wanted[name].values for name in ("latitude", "longitude")}
    used, held = withhold_reports(
        reports, withhold_fraction, seed, latitudes=grid["latitude"], longitudes=grid["longitude"]
    )
    analysis = assimilate(wanted, used, operator, members=members, steps=steps, model=model, quality="none", seed=seed)
    counts = diagnostics(analysis)[["reports"]].compute()
    store = None
    if out is not None:
        store = to_zarr(analysis, out, overwrite=overwrite)
        analysis = xr.open_zarr(store)
    analysis = analysis.load()
    scores = None
    if held.sizes["obs"]:
        scores = score_withheld(analysis, used, held, climatology(wanted, model=model), operator, model=model)
    return Outcome(counts, scores, held.sizes["obs"], store, analysis, used, held)


def prepare_reports(
    sources: Sequence[str | Path] | Mapping[str, One],
    *,
    stations: Table | Sequence[Table] | None = None,
    variables: Sequence[str] | None = None,
    superobs: str | float = "auto",
    model: ModelLike | None = None,
    error: Errors | None = None,
    quality: str | Quality = "standard",
) -> xr.Dataset:
    """Reports of all sources, checked, averaged where they are dense, with errors; see `assimilate_reports`."""
    if isinstance(superobs, str) and superobs not in SUPEROBS:
        raise OptionError(f"superobs={superobs!r}: expected {', '.join(map(repr, SUPEROBS))} or a number of degrees")
    reports = read_observations(_name_sources(sources), stations=stations)
    if variables is not None:
        reports = _select_variables(reports, variables)
    checked = quality_control(reports, quality, model=model, error=error)
    known = _with_known_errors(with_default_errors(checked, error))
    warn_without_error(known, count_without_error(known))
    return _superob_dense(known, superobs, model)


def _name_sources(sources: Sequence[str | Path] | Mapping[str, One]) -> Mapping[str, One]:
    if isinstance(sources, Mapping):
        return sources
    names = [Path(source).stem for source in sources]
    twice = {name for name in names if names.count(name) > 1}
    return {str(source) if name in twice else name: source for name, source in zip(names, sources, strict=True)}


def _select_variables(reports: xr.Dataset, variables: Sequence[str]) -> xr.Dataset:
    """Some quantities, as they were reported: what made them unused is forgotten."""
    missing = [name for name in variables if name not in quantities(reports)]
    if missing:
        raise OptionError(
            f"variables: the reports have no {', '.join(map(repr, missing))}; found {', '.join(quantities(reports))}"
        )
    kept = [f"{name}{ending}" for name in variables for ending in ("", "_error") if f"{name}{ending}" in reports]
    return check(reports[kept])


def _with_known_errors(reports: xr.Dataset) -> xr.Dataset:
    """Quantities of which no error is known are flagged."""
    for name in quantities(reports):
        error = reports.get(f"{name}_error")
        if error is None or not bool((error > 0).any()):
            reports = with_flag(reports, name, np.ones(reports.sizes["obs"], bool), Flag.NO_ERROR)
    return reports


def _superob_dense(reports: xr.Dataset, superobs: str | float, model: ModelLike | None) -> xr.Dataset:
    if superobs == "none":
        return reports
    if not isinstance(superobs, str):
        return superob(reports, superobs, PASS, model=model)
    swath = is_from_swath(reports)
    if not swath.any():
        return reports
    means = superob(reports.isel(obs=swath), "model", PASS, model=model)
    return means if swath.all() else concat([reports.isel(obs=~swath), means])

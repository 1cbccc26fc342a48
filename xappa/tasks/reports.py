"""From files of reports to a scored analysis: the whole way, as the command ``xappa assimilate`` goes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import xarray as xr

from xappa.observations import read_observations
from xappa.observations.errors_table import with_errors
from xappa.observations.quality import check
from xappa.streaming import diagnostics, to_zarr
from xappa.tasks.assimilate import DEFAULT_ERRORS, assimilate
from xappa.tasks.climatology import climatology
from xappa.tasks.template import template
from xappa.verification.stations import inverse_distance, withhold
from xappa.verification.table import to_table
from xappa.verification.verify import verify


@dataclass(frozen=True)
class Outcome:
    """What became of the reports, and how good the analysis is; as text, the tables of the command line.

    Parameters
    ----------
    counts : Dataset
        ``reports`` (variable, status), of the reports that were not withheld.
    scores : Dataset or None
        From `verify`, at the withheld stations, over ``metric`` and ``source``; None if nothing was withheld.
    withheld : int
        Reports of the withheld stations.
    store : Path or None
        Where the analysis was written.
    """

    counts: xr.Dataset
    scores: xr.Dataset | None
    withheld: int
    store: Path | None

    def __str__(self) -> str:
        reports = self.counts["reports"]
        table = reports.isel(status=(reports > 0).any("variable").values).to_dataframe()["reports"].unstack()
        parts = ["Reports, by what became of them\n" + table.to_string()]
        if self.scores is not None:
            parts.append(f"At withheld stations ({self.withheld} reports)\n" + to_table(self.scores))
        if self.store is not None:
            parts.append(f"Analysis: {self.store}")
        return "\n\n".join(parts)


def assimilate_reports(
    sources: Sequence[str | Path],
    start: str,
    end: str,
    *,
    members: int = 8,
    withhold_fraction: float = 0.0,
    model: str | Path | None = None,
    error: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
) -> Outcome:
    """Read reports, withhold some stations, assimilate the others, and say how good the analysis is.

    Parameters
    ----------
    sources : sequence of path
        Files that `read_observations` reads.
    start, end : str
        First and last time of the analysis.
    members : int
    withhold_fraction : float
        Share of the stations that is kept for the scores.
    model : str or Path, optional
    error : str, optional
        Name of a table of observation errors.
    seed : int
        Of the stations withheld and of the members.
    out : path, optional
        Store that receives the analysis; replaced if there.

    Returns
    -------
    Outcome
        Reports used and rejected, by reason; errors at the withheld stations of the model's climatology, of
        inverse-distance interpolation of the other stations (8 neighbours, power 2), and of the analysis.
    """
    reports = with_errors(check(read_observations(list(sources))), error or DEFAULT_ERRORS)
    used, withheld = withhold(reports, fraction=withhold_fraction, seed=seed)
    wanted = template(start, end, model)
    analysis = assimilate(wanted, used, members=members, model=model, error=error, seed=seed)
    counts = diagnostics(analysis)[["reports"]].compute()
    store = None
    if out is not None:
        store = to_zarr(analysis, out, overwrite=True)
        analysis = xr.open_zarr(store, consolidated=False)
    scores = None
    if withheld.sizes["obs"]:
        scores = withheld_scores(analysis.load(), used, withheld, climatology(wanted, model=model))
    elif store is None:
        analysis.load()
    return Outcome(counts, scores, withheld.sizes["obs"], store)


def withheld_scores(analysis: xr.Dataset, used: xr.Dataset, withheld: xr.Dataset, baseline: xr.Dataset) -> xr.Dataset:
    """Errors at withheld stations: climatology, interpolation of the other stations, analysis."""
    names = [str(name) for name in analysis.data_vars if name in withheld]
    neighbours = xr.Dataset({name: inverse_distance(used, withheld, name) for name in names})
    metrics = ["rmse", "bias", "crps", "spread", "error", "expected", "count"]
    if analysis.sizes["member"] < 2:
        metrics = ["rmse", "bias", "crps", "error", "count"]
    baselines = {"climatology": baseline, "inverse distance": neighbours}
    return verify(analysis[names], withheld, metrics=metrics, baselines=baselines)

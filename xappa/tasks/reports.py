"""From files of reports to a scored analysis: the whole way, as the command ``xappa assimilate`` goes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from xappa.observations import read_observations
from xappa.observations.errors_table import with_errors
from xappa.observations.quality import check, flag_counts
from xappa.streaming import diagnostics, to_zarr
from xappa.tasks.assimilate import DEFAULT_ERRORS, assimilate
from xappa.tasks.climatology import climatology
from xappa.tasks.template import template
from xappa.verification.stations import inverse_distance, withhold
from xappa.verification.table import to_table
from xappa.verification.verify import verify


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
) -> str:
    """Read reports, withhold some stations, assimilate the others, and say how good the analysis is.

    Returns
    -------
    str
        How many reports were used and rejected, and why; scores at the withheld stations, beside the model's
        climatology and inverse-distance interpolation of the other stations.
    """
    raise NotImplementedError

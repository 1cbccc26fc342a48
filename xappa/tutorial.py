"""Examples to learn from: a piece of a simulated atmosphere, and networks that observe it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import xarray as xr

from xappa import platforms
from xappa.argument_types import check_arguments
from xappa.observations import concat
from xappa.vocabulary import VARIABLES


def nature_run() -> xr.Dataset:
    """48 hours of the simulated atmosphere that the embedded model was *not* trained on.

    Returns
    -------
    Dataset
        All variables of the embedded model, 6-hourly (time: 8) on its grid (latitude: 48, longitude: 96), with
        surface geopotential and land fraction.

    Examples
    --------
    >>> import xappa
    >>> xappa.tutorial.nature_run().sizes["time"]
    8
    """
    ds = xr.open_zarr(Path(str(resources.files("xappa.data") / "nature-run.zarr")), consolidated=False)
    # Without consolidated metadata the order is that of a folder's listing, which differs between file systems.
    order = list(VARIABLES)
    return ds[sorted(ds.data_vars, key=lambda name: (order.index(name) if name in order else len(order), name))]


@check_arguments
def network(ds: xr.Dataset, *, stations: int = 1200, soundings: int = 300, seed: int = 0) -> xr.Dataset:
    """Places and times of a surface and a radiosonde network: dense over land, sparse over sea, off the grid.

    Parameters
    ----------
    ds : Dataset
        Gives times, levels, land fraction and surface geopotential, as `nature_run` does.
    stations : int
        Surface stations and ships; they report every 6 h 2 m temperature, 10 m wind and sea-level pressure, each at a
        height of its own.
    soundings : int
        Radiosonde stations; they report every 12 h temperature and wind on the levels of `ds`.
    seed : int

    Returns
    -------
    Dataset
        Observations without values: zero where something is observed, missing elsewhere. Give it to
        ``ds.appa.observe``.
    """
    rng = np.random.default_rng(seed)
    surface = platforms.stations(ds, stations, seed=rng)
    return concat([surface, platforms.radiosondes(ds, soundings, seed=rng)])

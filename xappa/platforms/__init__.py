"""Observing networks for twin experiments: places and times to give to ``ds.appa.observe``.

Each generator takes a Dataset, which says when and where there is something to observe, and returns observations in
the schema with 0 where something is to be observed and the rest missing. The same seed gives the same network.
"""

from xappa.platforms.buoys import buoys
from xappa.platforms.gridded import columns, values
from xappa.platforms.masks import satellite_cells, satellite_steps, split, station_cells
from xappa.platforms.orbit import ORBITS, Orbit
from xappa.platforms.stations import radiosondes, stations
from xappa.platforms.swaths import swaths

__all__ = [
    "ORBITS",
    "Orbit",
    "buoys",
    "columns",
    "radiosondes",
    "satellite_cells",
    "satellite_steps",
    "split",
    "station_cells",
    "stations",
    "swaths",
    "values",
]

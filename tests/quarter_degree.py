"""The user's sentence at 0.25°: real reports, networks of the official layout, Dask chunks, Zarr; says what it took."""

from __future__ import annotations

import json
import resource
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import xarray as xr

import xappa
from tests.official_project import Project

SYNOP = "real/synop-global-20181102/perf_synop.bufr"
ASCAT = "real/ascat-metopa-20150702/ascat_20150702_084200_metopa_45145_eps_o_250_2300_ovw.l2.nc"
SHIFT = np.datetime64("2018-11-02T10", "s") - np.datetime64("2015-07-02T08", "s")
"""The orbit is of another year, and is moved to the day of the stations' reports: 10:42 to 12:24."""
ERRORS = {
    "2m_temperature": 2.0,
    "10m_u_component_of_wind": 2.0,
    "10m_v_component_of_wind": 2.0,
    "mean_sea_level_pressure": 150.0,
    "surface_pressure": 150.0,
    "total_precipitation": 1e-3,
    "wind_speed": 2.0,
}


def wind_speed(state: xr.Dataset) -> xr.DataArray:
    u, v = state["10m_u_component_of_wind"], state["10m_v_component_of_wind"]
    return (u**2 + v**2) ** 0.5


def write_project(root: Path) -> None:
    """Networks of random weights with few channels; grid, channels, factor and files are those of the official ones."""
    project = Project()
    project.ae |= {
        "lat_channels": 4,
        "shape": [721, 1440],
        "resize": 32,
        "hid_channels": [4] * 6,
        "hid_blocks": [1] * 6,
    }
    project.backbone |= {"blanket_size": 2}
    project.train |= {"blanket_size": 2}
    project.write(root)


def main(data: Path, out: Path) -> None:
    """Analyse the reports under `data`, write the result and the model to `out`, and print time and memory."""
    write_project(out / "project")
    ascat = xappa.read_observations(data / ASCAT)[["wind_speed"]]
    obs = {
        "synop": xappa.read_observations(data / SYNOP),
        "ascat": ascat.assign_coords(time=ascat.time + SHIFT),
    }
    ds = xappa.template("2018-11-02T11", "2018-11-02T12", model=out / "project")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The height of the model's surface", UserWarning)
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        begin = time.monotonic()
        analysis = ds.appa.assimilate(
            obs,
            {"synop": "interpolate", "ascat": wind_speed},
            model=out / "project",
            error=ERRORS,
            members=2,
            guidance="dps",
            steps=1,
            seed=0,
            device="cpu",
            memory="32GB",
        )
        planned = time.monotonic() - begin
        xappa.to_zarr(analysis, out / "analysis.zarr")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    report = {
        "planned": planned,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "gigabytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9,
        "chunks": {name: variable.data.chunksize for name, variable in analysis.items()},
        "reports": json.loads(analysis.attrs["xappa_reports"]),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

"""NetCDF files that several threads open, read and close at once; in a process of its own, which a fault can end."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

pytest.importorskip("netCDF4")

THREADS, TIMES = 4, 25

SCRIPT = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy as np
from xappa._compat.netcdf import load_netcdf
from xappa.observations.readers.netcdf_handles import open_shared_groups

def read(path):
    for _ in range({TIMES}):
        ds = open_shared_groups(Path(path))["/"].compute(scheduler="threads", num_workers=2)
        assert all((ds[name] == np.arange(ds.sizes["x"])).all() for name in "abcd"), path
        assert (load_netcdf(path)["a"] == np.arange(ds.sizes["x"])).all(), path

with ThreadPoolExecutor({THREADS}) as pool:
    list(pool.map(read, sys.argv[1:]))
"""


def test_files_that_threads_open_read_and_close_at_once(tmp_path):
    paths = [str(tmp_path / f"{i}.nc") for i in range(THREADS)]
    for path in paths:
        values = {name: ("x", np.arange(20_000.0)) for name in "abcd"}
        texts = {"s": ("x", np.array([f"station {i}" for i in range(20_000)], object))}
        chunks = {name: {"chunksizes": (2_000,), "zlib": True} for name in values}
        xr.Dataset(values | texts).to_netcdf(path, engine="netcdf4", encoding=chunks)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", SCRIPT, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]

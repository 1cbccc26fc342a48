"""An analysis of the tiny model, what its store holds, processes that write it: shared by tests of `xappa.to_zarr`."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import xarray as xr

import xappa
from xappa.segments import Independent

ROOT = Path(__file__).resolve().parents[1]


def analysis(model: Path, steps: int = 2, seed: int = 0, last: str = "2001-03-17T18", **options) -> xr.Dataset:
    times = pd.date_range("2001-03-13", periods=6, freq="12h")
    obs = pd.DataFrame({"time": times, "lat": 10.0, "lon": 5.0, "variable": "2m_temperature", "observation": 287.0})
    ds = xappa.template("2001-03-13T00", last, model=model)
    settings = {"model": model, "members": 3, "seed": seed, "steps": steps, "sampler": "lms"}
    settings |= {"segments": Independent(4, 2), "chunks": {"member": 2}}
    return ds.appa.assimilate(obs, error={"2m_temperature": 1.0}, **(settings | options))


def contents(store: Path) -> dict[str, str]:
    """Hashes of the files, but for the seconds that it took."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and "seconds" not in path.parts
    }


PROGRAM = """
import sys
from tests.stores import analysis
import xappa
found = analysis(sys.argv[1])
print("planned", flush=True)
xappa.to_zarr(found, sys.argv[2], chunks={"time": 4})
print("done", flush=True)
"""


def start(model: Path, store: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, str(model), str(store)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def until(condition, process: subprocess.Popen) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.002)

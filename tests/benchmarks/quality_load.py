"""Quality control and plans of many reports: processor seconds and peak memory, beside another version of xappa.

OMP_NUM_THREADS=1 python -m tests.benchmarks.quality_load [OTHER] [reports]

OTHER is a folder with the other version, such as a worktree of commit 193067c.
Without it this version is measured alone.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

STATIONS, DAYS = 100, 10
"""Reports of each station, on average, and days over which they are."""


def table(size: int) -> pd.DataFrame:
    """Temperatures of stations all over the globe, at any minute."""
    rng = np.random.default_rng(0)
    number = max(size // STATIONS, 100)
    latitude, longitude = np.degrees(np.arcsin(rng.uniform(-1, 1, number))), rng.uniform(0, 360, number)
    station, minute = rng.integers(0, number, size), rng.integers(0, DAYS * 1440, size)
    columns = {
        "time": np.datetime64("2018-11-01T00", "s") + minute * np.timedelta64(60, "s"),
        "lat": latitude[station],
        "lon": longitude[station],
        "station": np.array([f"s{k}" for k in range(number)], object)[station],
        "2m_temperature": 288 - 40 * np.sin(np.radians(latitude[station])) ** 2 + rng.normal(0, 3, size),
    }
    return pd.DataFrame(columns).assign(elev=10.0)


def measure(what: str, size: int) -> None:
    """Print what one of the two takes, as JSON, in this process."""
    import xappa

    warnings.simplefilter("ignore")
    obs, ds = xappa.read_observations(table(size)), xappa.template("2018-11-01T00", "2018-11-10T18")
    calls = {"quality_control": xappa.quality_control, "plan": lambda obs: ds.appa.plan(obs, seed=0)}
    calls[what](obs.isel(obs=slice(0, 100)))
    begin = time.process_time()
    calls[what](obs)
    seconds = time.process_time() - begin
    print(json.dumps({"seconds": seconds, "gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}))


def main() -> None:
    """Measure both versions, each call in a process of its own, and print ratios."""
    if sys.argv[1:2] in (["quality_control"], ["plan"]):
        measure(sys.argv[1], int(sys.argv[2]))
        return
    folders = [word for word in sys.argv[1:] if not word.isdigit()]
    size = next((int(word) for word in sys.argv[1:] if word.isdigit()), 1_000_000)
    for what in ("quality_control", "plan"):
        found = []
        for folder in (*folders, "."):
            command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), what, str(size)]
            path = os.environ | {"PYTHONPATH": str(Path(folder).resolve())}
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=path)
            found.append(json.loads(done.stdout.splitlines()[-1]))
        for key in ("seconds", "gigabytes"):
            numbers = [row[key] for row in found]
            ratio = f"  (ratio {numbers[-1] / numbers[0]:.2f})" if folders else ""
            print(f"{what:16} {size} reports  {key}: {' -> '.join(f'{n:.2f}' for n in numbers)}{ratio}", flush=True)


if __name__ == "__main__":
    main()

"""What streaming takes: peak memory for longer and longer times, Dask's share of the work, the call, and workers.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.streaming days 30 60 120
    OMP_NUM_THREADS=1 python -m tests.benchmarks.streaming quick 365 730
    OMP_NUM_THREADS=1 python -m tests.benchmarks.streaming drawn 365 730
    OMP_NUM_THREADS=1 python -m tests.benchmarks.streaming share 34
    OMP_NUM_THREADS=1 python -m tests.benchmarks.streaming call path/to/a/model/of/0.25/degrees
    OMP_NUM_THREADS=1 python -m tests.benchmarks.streaming full path/to/a/model/of/0.25/degrees
    OMP_NUM_THREADS=1 python -m tests.benchmarks.streaming workers 1 2

``days``: the embedded model, ``effort="preview"``, 4 members, 6-hourly reports of 60 stations, written to Zarr.
``quick``: the same with one step of the sampler. ``drawn``: the same with latents that are drawn instead of sampled,
all else as it is. ``full``: so with 6 states of 2 members. ``share``: the processor's time outside sampling, decoding
and writing. ``call``: until a lazy year of 20 members is there. ``workers``: two batches of members on clusters of so
many processes. Each measurement has a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

START = pd.Timestamp("2001-01-01")
MEMBERS = 4


def reports(days: int) -> pd.DataFrame:
    """2 m temperature of 60 stations, every six hours: a climate that varies with latitude."""
    rng = np.random.default_rng(0)
    latitude, longitude = rng.uniform(-80, 80, 60), rng.uniform(0, 360, 60)
    times = pd.date_range(START, periods=4 * days, freq="6h")
    values = 300 - 45 * np.sin(np.deg2rad(latitude)) ** 2 + rng.standard_normal((len(times), 60))
    return pd.DataFrame(
        {
            "time": times.repeat(60),
            "lat": np.tile(latitude, len(times)),
            "lon": np.tile(longitude, len(times)),
            "variable": "2m_temperature",
            "observation": values.ravel(),
            "error": 2.0,
        }
    )


def analysis(days: int, members: int = MEMBERS, **options: Any) -> xr.Dataset:
    """So many days of the embedded model."""
    import xappa

    ds = xappa.template(START, START + pd.Timedelta(days=days) - pd.Timedelta("6h"), model="speedy")
    return ds.appa.assimilate(
        reports(days), members=members, effort="preview", quality="none", seed=0, device="cpu", **options
    )


def draw() -> None:
    """Draw latents where they would be sampled."""
    from xappa.sampling import sampling_tasks

    def drawn(plan: Any, members: tuple[int, ...], *rest: Any) -> sampling_tasks.SamplingResult:
        shape = (len(members), len(plan.times), *sampling_tasks.load_model(plan).latent_shape)
        latents = np.random.default_rng(0).standard_normal(shape, "f4")
        return sampling_tasks.SamplingResult(
            members, latents, {"sigma": np.zeros(plan.sampler.evaluations), "seconds": np.array(0.0)}
        )

    sampling_tasks._sample = drawn


def peak() -> float:
    """Largest resident set of this process, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1.0 if sys.platform == "darwin" else 1024.0)


def written(result: xr.Dataset) -> dict[str, float]:
    """Write a result, and what it took."""
    import xappa

    begin, clock = time.process_time(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        store = xappa.to_zarr(result, Path(folder) / "a.zarr", progress=False)
        size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    return {
        "peak_GB": peak() / 1e9,
        "cpu_s": time.process_time() - begin,
        "elapsed_s": time.monotonic() - clock,
        "store_GB": size / 1e9,
    }


def days(count: str) -> dict[str, float]:
    """Sample, decode and write."""
    return written(analysis(int(count)))


def quick(count: str) -> dict[str, float]:
    """Sample with one step, decode and write: evaluations as large, and fewer."""
    return written(analysis(int(count), steps=1))


def drawn(count: str) -> dict[str, float]:
    """Decode and write."""
    draw()
    return written(analysis(int(count)))


def full(model: str) -> dict[str, float]:
    """Six states of two members at 0.25°, decoded by the real decoder."""
    import xappa

    draw()
    ds = xappa.template("2021-03-21T00", "2021-03-21T05", model=model)
    return written(ds.appa.sample(model=model, members=2, seed=0, device="cpu"))


def share(count: str) -> dict[str, float]:
    """Processor's time outside of sampling, decoding and writing, on one thread."""
    import dask

    from xappa.sampling import sampling_tasks
    from xappa.streaming.store.regions import Writer

    spent: dict[str, float] = {}

    def timed(name: str, function: Callable) -> Callable:
        def run(*args: Any, **options: Any) -> Any:
            begin = time.process_time()
            try:
                return function(*args, **options)
            finally:
                spent[name] = spent.get(name, 0.0) + time.process_time() - begin

        return run

    sampling_tasks._sample = timed("sampling_s", sampling_tasks._sample)
    sampling_tasks.decode = timed("decoding_s", sampling_tasks.decode)
    Writer.__call__ = timed("writing_s", Writer.__call__)  # type: ignore[method-assign]
    begin = time.process_time()
    result = analysis(int(count))
    spent["call_s"] = time.process_time() - begin
    with dask.config.set(scheduler="synchronous"):
        total = written(result)["cpu_s"]
    inside = spent["sampling_s"] + spent["decoding_s"]
    return spent | {"total_s": total, "rest_of_compute": (total - inside - spent["writing_s"]) / inside}


def call(model: str) -> dict[str, float]:
    """Seconds of the processor until each lazy result is there: a year of 20 members at the model's own step.

    The reports are those of 60 stations every six hours of the year: 87,600.
    """
    import xappa

    ds = xappa.template("2021-01-01", "2021-12-31T23", model=model)
    one = ds.isel(time=slice(3))
    table = reports(365)
    table["time"] += pd.Timestamp("2021-01-01") - START
    tasks: dict[str, Callable[[], xr.Dataset]] = {
        "sample": lambda: ds.appa.sample(model=model, members=20, seed=0),
        "assimilate": lambda: ds.appa.assimilate(table, model=model, members=20, seed=0),
        "assimilate_quality_none": lambda: ds.appa.assimilate(table, model=model, members=20, seed=0, quality="none"),
        "filter": lambda: ds.isel(time=slice(0, 25)).appa.filter(table, model=model, members=20, seed=0),
        "forecast": lambda: one.appa.forecast("240h", obs=table, model=model, members=20, seed=0),
    }
    one.appa.sample(model=model, seed=0)  # the networks are loaded
    found = {}
    for name, task in tasks.items():
        begin = time.process_time()
        result = task()
        found[name] = time.process_time() - begin
        if name == "sample":
            year = result
    begin = time.process_time()
    latents = year.appa.encode(model=model)
    found["encode"] = time.process_time() - begin
    begin = time.process_time()
    latents.appa.decode(model=model)
    found["decode"] = time.process_time() - begin
    begin = time.process_time()
    year[["2m_temperature"]].appa.regrid(1.0)
    found["regrid"] = time.process_time() - begin
    return found | {"TB": year.nbytes / 1e12, "reports": float(len(table))}


def workers(count: str) -> dict[str, float]:
    """Two batches of two members of three days on so many worker processes."""
    import dask
    from distributed import Client, LocalCluster

    def used() -> float:
        return time.process_time()

    with (
        dask.config.set({"distributed.worker.memory.terminate": False}),
        LocalCluster(
            n_workers=int(count), threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
        ) as cluster,
        Client(cluster) as client,
    ):
        client.compute(analysis(1, chunks={"member": 2})).result()  # packages and networks are loaded
        own, before = time.process_time(), sum(client.run(used).values())
        found = written(analysis(3, chunks={"member": 2}))
        spent = sum(client.run(used).values()) - before
        own = time.process_time() - own
    return {"workers_cpu_s": spent, "client_and_scheduler_cpu_s": own, "elapsed_s": found["elapsed_s"]}


KINDS: dict[str, Callable[[str], dict[str, float]]] = {
    "days": days, "quick": quick, "drawn": drawn, "share": share, "call": call, "full": full, "workers": workers
}  # fmt: skip


def main() -> None:
    """Measure what is asked for, each in its own process."""
    if sys.argv[1] == "--here":
        found = KINDS[sys.argv[2]](sys.argv[3])
        print(json.dumps({name: round(value, 4) for name, value in found.items()}))
        return
    kind, arguments = sys.argv[1], sys.argv[2:]
    for argument in arguments:
        command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.streaming", "--here", kind, argument]
        with tempfile.TemporaryDirectory() as folder:  # nothing is found that was sampled before
            environment = os.environ | {"XAPPA_CACHE": folder}
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        print(f"{kind} {argument}  load {os.getloadavg()[0]:.1f}  {done.stdout.splitlines()[-1]}", flush=True)


if __name__ == "__main__":
    main()

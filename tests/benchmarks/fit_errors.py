"""What `FitWarning` finds: networks whose errors are as stated, a third of it, or three times it: docs/benchmarks.md.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.fit_errors --out fit.jsonl --efforts errors preview standard

``errors`` asks for the errors alone, which no analysis is needed for; the others make analyses. Each appends a line to
``--out``; those that are there are not made again. The table that is printed is that of the page. The truth is 48 hours
of a simulated atmosphere that the embedded model was not trained on; `networks` numbers the seeds of places, and noise
and analyses have the same.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import xappa
from tests.benchmarks.networks import SURFACE, UPPER_AIR, channel_deviation, network, to_observations
from xappa.errors import FitWarning
from xappa.platforms.domain import NetworkDomain
from xappa.sampling.sampling_tasks import load_model
from xappa.sampling.stated_errors import detect_misstated_errors
from xappa.streaming.graph.diagnostics import find_run

NOISE = {"right": 1.0, "small": 3.0, "large": 1 / 3, "one": 1.0, "shuffled": 1.0}
"""Cases, with the noise in units of the stated error: stated right, too small, too large; too small of one variable
(three times the noise); values exchanged among the places, which are those of no atmosphere."""
UNITS = {
    name: "Pa" if name == "mean_sea_level_pressure" else "K" if name == "2m_temperature" else "m/s" for name in SURFACE
}
SCATTERED = (20, 40, 80, 160)


def networks(ds: xr.Dataset) -> Iterator[tuple[str, int, xr.Dataset]]:
    """Kind, seed, and places: 12 of scattered places, 8 of stations, 8 of stations and soundings, 8 of columns (A)."""
    for seed in range(12):
        yield "scattered", seed, _scattered(ds.isel(time=[seed % ds.sizes["time"]]), SCATTERED[seed % 4], seed)
    for seed in range(8):
        few = ds.isel(time=slice(seed % 7, seed % 7 + 1 + seed % 2))
        yield "stations", seed, xappa.platforms.stations(few, (100, 200, 400, 800)[seed % 4], seed=seed)
    for seed in range(8):
        few = ds.isel(time=[2 * (seed % 4)])
        yield "mixed", seed, xappa.tutorial.network(few, stations=150, soundings=(20, 40)[seed % 2], seed=seed)
    for seed in range(8):
        yield "columns", seed, _columns(ds.isel(time=[seed]), seed)


def _scattered(ds: xr.Dataset, places: int, seed: int) -> xr.Dataset:
    """A table of random places on the sphere."""
    rng = np.random.default_rng([seed, places])
    where = {
        "time": ds["time"].values[0],
        "lat": np.degrees(np.arcsin(rng.uniform(-1, 1, places))),
        "lon": rng.uniform(-180, 180, places),
    }
    ground = NetworkDomain.from_dataset(ds)
    assert ground.height is not None
    near = ds[["latitude", "longitude"]].sel(
        latitude=xr.DataArray(where["lat"], dims="obs"),
        longitude=xr.DataArray(where["lon"] % 360, dims="obs"),
        method="nearest",
    )
    row, column = (np.searchsorted(np.sort(ds[n].values), near[n].values) for n in ("latitude", "longitude"))
    table = pd.DataFrame(where).assign(elev=ground.height[row, column])
    for name in SURFACE:
        table[name] = {"2m_temperature": 280.0, "mean_sea_level_pressure": 101300.0}.get(name, 0.0)
    return xappa.read_observations(table, error=SURFACE, units=UNITS)


def _columns(ds: xr.Dataset, seed: int) -> xr.Dataset:
    model = xappa.load("speedy")
    deviation = channel_deviation(model.scale, np.array(model.spec.latitude), model.mask)
    land = model.statistics["land"]
    drawn = network("A", model.spec, deviation, land=land, mask=model.mask, times=1, seed=seed)
    return to_observations(drawn, model.spec, ds["time"].values)


def reports(ds: xr.Dataset, places: xr.Dataset, case: str, seed: int) -> xr.Dataset:
    """Reports of the network, with the stated errors and the noise of the case."""
    stated = {name: error for name, error in (SURFACE | UPPER_AIR).items() if name in places}
    if "specific_humidity" in stated:
        stated["specific_humidity"] = float(places["specific_humidity_error"].max())
    noise = {name: NOISE.get(case, 1.0) * error for name, error in stated.items()}
    if case == "one":
        noise[sorted(stated)[seed % len(stated)]] *= 3
    obs = ds.appa.observe(places, error=noise, seed=seed)
    for name, error in stated.items():
        if case == "shuffled":
            known = np.flatnonzero(obs[name].notnull())
            obs[name].values[known] = obs[name].values[np.random.default_rng(seed).permutation(known)]
        obs[f"{name}_error"] = (obs[name].dims, np.full(obs[name].shape, error))
    return obs


def analyse(ds: xr.Dataset, obs: xr.Dataset, effort: str, seed: int, quality: str) -> dict:
    """What is warned of, chi-squared, and processor seconds."""
    begin = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        analysis = ds.appa.assimilate(
            obs, effort="preview" if effort == "errors" else effort, seed=seed, quality=quality
        )
        if effort == "errors":
            plan, _ = find_run(analysis).parts[0]
            middle = time.process_time()
            found = detect_misstated_errors(load_model(plan), plan.stencil, plan.times)
            said = [] if found is None else [f"{found.name} {found.factor:.2g}"]
            return {"said": said, "checking": time.process_time() - middle}
        analysis["2m_temperature"].compute(scheduler="synchronous")
    said = [str(w.message) for w in caught if w.category is FitWarning]
    chi_squared = float(xappa.diagnostics(analysis)["chi_squared"].mean())
    return {"said": said, "chi_squared": chi_squared, "seconds": time.process_time() - begin}


def main() -> None:
    """Analyse, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--efforts", nargs="+", default=["errors"], choices=["errors", "preview", "standard"])
    parser.add_argument("--cases", nargs="+", default=list(NOISE))
    parser.add_argument("--every", type=int, default=1, help="one in so many networks")
    parser.add_argument("--kinds", nargs="+", default=["scattered", "stations", "mixed", "columns"])
    parser.add_argument("--quality", default="standard", choices=["standard", "none"])
    args = parser.parse_args()
    lines = [json.loads(line) for line in args.out.open()] if args.out.exists() else []
    done = {tuple(line["key"]) for line in lines}
    truth = xappa.tutorial.nature_run()
    for kind, seed, places in islice(networks(truth), None, None, args.every):
        if kind not in args.kinds:
            continue
        times = places["time"].values
        ds = truth.sel(time=slice(times.min(), times.max()))
        for case in args.cases:
            obs = reports(ds, places, case, seed)
            for effort in args.efforts:
                key = (kind, seed, case, effort, args.quality)
                if key in done:
                    continue
                lines.append({"key": key} | analyse(ds, obs, effort, seed, args.quality))
                with args.out.open("a") as file:
                    print(json.dumps(lines[-1]), file=file)
    print_table(lines)


def print_table(lines: list[dict]) -> None:
    """A row a case and effort, as Markdown."""
    frame = pd.DataFrame(
        [dict(zip(("kind", "seed", "case", "effort", "quality"), r["key"], strict=True)) | r for r in lines]
    )
    frame["warned"] = frame["said"].map(bool)
    print("| noise | effort | quality control | runs | warn | by kind |\n|---|---|---|---|---|---|")
    for (case, effort, quality), rows in frame.groupby(["case", "effort", "quality"], sort=False):
        kinds = ", ".join(f"{k} {part.sum()}/{len(part)}" for k, part in rows.groupby("kind", sort=False)["warned"])
        print(f"| {case} | {effort} | {quality} | {len(rows)} | {rows['warned'].mean():.0%} | {kinds} |")
    print(frame.groupby("effort")[[c for c in ("checking", "seconds", "chi_squared") if c in frame]].describe().T)


if __name__ == "__main__":
    main()

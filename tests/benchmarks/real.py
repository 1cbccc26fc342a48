"""Real reports, assimilated with the embedded model and scored at what was withheld: docs/benchmarks.md.

    python -m tests.benchmarks.real REPORTS --out real.json --members 8
    python -m tests.benchmarks.real REPORTS --out real.json --into docs/benchmarks.md

The first makes the analyses (cases that are in ``--out`` are not made again; ``--cases`` chooses some) and prints the
tables as Markdown. With ``--into`` they take the place of those that are in a file between the lines
``<!-- scores -->`` and ``<!-- end of scores -->``. ``--keep FOLDER`` keeps analyses and reports, for the figure.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.sparse import csr_array, diags_array, vstack
from scipy.sparse.linalg import lsqr

import xappa
from xappa.observations.flags import Flag, flags_of
from xappa.operators import Footprint, Sounder, StateContext, choose_operator
from xappa.operators.sounder import HIRS
from xappa.tasks.analyse_reports import Outcome, assimilate_reports, prepare_reports
from xappa.tasks.climatology import climatology
from xappa.tasks.cross_validation import predict_reports

ASCAT = "ascat-metopa-20150702/ascat_20150702_084200_metopa_45145_eps_o_250_2300_ovw.l2.nc"
RADIANCES = "hirs-metopa-20181122/M02-HIRS-HIRxxx1B-NA-1.0-20181122114854.000000000Z-20181122132602-1304602.bufr"
MARKS = "<!-- scores -->", "<!-- end of scores -->"
COLUMNS = ("climatology", "inverse distance", "analysis", "analysis, residuals interpolated")
FACTORS = {"Pa": (0.01, "hPa"), "kg kg-1": (1000.0, "g kg-1"), "m2 s-2": (1 / 9.80665, "gpm")}
SMOOTHNESS = (0.03, 0.1, 0.3, 1.0, 3.0)


def wind_speed(state: xr.Dataset) -> xr.DataArray:
    """Wind speed at 10 m."""
    u, v = state["10m_u_component_of_wind"], state["10m_v_component_of_wind"]
    return ((u**2 + v**2 + 0.01) ** 0.5).rename("10m_wind_speed")


@dataclass(frozen=True)
class Case:
    """Files under the folder of real data, times, and options of `assimilate_reports`."""

    files: tuple[str, ...]
    start: str
    end: str
    options: dict[str, Any] = field(default_factory=dict)
    tables: tuple[str, ...] = ()

    def arguments(self, root: Path) -> tuple[list[Path], dict[str, Any]]:
        """Sources, and options with the tables of stations."""
        tables = {"stations": [root / "stations" / name for name in self.tables]} if self.tables else {}
        return [root / file for file in self.files], {**self.options, **tables}


CASES = {
    "SYNOP": Case(("synop-global-20181102/perf_synop.bufr",), "2018-11-02T12", "2018-11-02T12"),
    "METAR": Case(
        ("metar-global-2019-2020/metar_20190701_1200.txt",), "2019-07-01T12", "2019-07-01T12", tables=("master.txt",)
    ),
    "TEMP": Case(("temp-global-20081208/temp.bufr",), "2008-12-08T12", "2008-12-08T12"),
    "ASCAT, components": Case((ASCAT,), "2015-07-02T06", "2015-07-02T12"),
    "ASCAT, speed": Case(
        (ASCAT,),
        "2015-07-02T06",
        "2015-07-02T12",
        {"variables": ["wind_speed"], "operator": wind_speed, "error": {"wind_speed": 2.0}},
    ),
}
HIRS_CHANNELS = {number: curve for number, curve in HIRS.items() if number > 1}
"""Channels that peak below the top of the embedded model."""


def sounder() -> Any:
    """Brightness temperatures over the instrument's field of view at nadir."""
    return Footprint(radius=10.0) @ Sounder(HIRS_CHANNELS)


def rows_of(outcome: Outcome) -> list[dict[str, Any]]:
    """Scores of a case, a row a quantity and level."""
    assert outcome.scores is not None
    rows = []
    for name, scores in outcome.scores.data_vars.items():
        levels = scores["level"].values.tolist() if "level" in scores.dims else [None]
        for level in levels:
            here = scores if level is None else scores.sel(level=level)
            rmse = {str(s): float(here.sel(metric="rmse", source=s)) for s in here["source"].values}
            rest = {m: float(here.sel(metric=m, source="analysis")) for m in ("spread", "error", "count")}
            rows.append({"name": str(name), "level": level, "units": scores.attrs["units"], **rmse, **rest})
    return rows


def best_on_grid(outcome: Outcome) -> dict[str, float]:
    """Error at the withheld reports of the field on the model's grid that fits the used ones best.

    Departures from climatology that are bilinear between grid points, penalised for differences between neighbours as
    much as serves the withheld reports: no analysis on this grid can know that. Surface quantities only.
    """
    prior, base = xappa.load(), climatology(outcome.analysis)
    height, mask = prior.surface_height, np.ones(prior.spec.shape, bool)
    found = {}
    for name in ("2m_temperature", "mean_sea_level_pressure"):
        if name not in outcome.used or name not in outcome.held:
            continue
        parts = []
        for obs in (outcome.used, outcome.held):
            obs = obs[[key for key in (name, f"{name}_flag", f"{name}_error") if key in obs]]
            reader = choose_operator("interpolate")
            stencil, _ = reader(obs, StateContext(prior.spec, outcome.analysis.time.values, height, mask=mask))
            entries = stencil.weight.shape[1]
            index = (np.repeat(np.arange(len(stencil)), entries), stencil.cell.ravel())
            matrix = csr_array((stencil.weight.ravel(), index), shape=(len(stencil), height.size))
            climate = predict_reports(base, obs)[name].values[stencil.observation]
            parts.append((matrix, stencil.value - climate))
        rough = _differences(*height.shape)
        errors = []
        for weight in SMOOTHNESS:
            fit = lsqr(vstack([parts[0][0], weight * rough]), np.append(parts[0][1], np.zeros(rough.shape[0])))[0]
            errors.append(float(np.sqrt(np.mean((parts[1][1] - parts[1][0] @ fit) ** 2))))
        found[name] = min(errors)
    return found


def _differences(rows: int, columns: int) -> csr_array:
    """Differences between neighbours of a grid that is periodic in longitude."""
    cell = np.arange(rows * columns).reshape(rows, columns)
    pairs = [(cell, np.roll(cell, -1, 1)), (cell[:-1], cell[1:])]
    first, second = (np.concatenate([p[k].ravel() for p in pairs]) for k in (0, 1))
    row = np.tile(np.arange(len(first)), 2)
    values = np.repeat([1.0, -1.0], len(first))
    tiny = diags_array(np.full(rows * columns, 1e-3))
    return vstack([csr_array((values, (row, np.append(first, second))), shape=(len(first), rows * columns)), tiny])


def radiances(file: Path) -> dict[str, Any]:
    """HIRS: read, checked, averaged, and held against the operator on the model's climatology."""
    begin = time.process_time()
    obs = prepare_reports([file], error={"brightness_temperature": 2.0})
    fields = climatology(xappa.template("2018-11-22T12", "2018-11-22T12"))
    name = "brightness_temperature"
    seen = predict_reports(fields, obs, sounder())[name].values
    good = (flags_of(obs, name) == Flag.GOOD).values & np.isfinite(seen)
    departure, channel = (obs[name].values - seen)[good], obs["channel"].values[good].astype(int)
    counts = json.loads(obs.attrs["superob_reports"])[name]
    rows = [
        {
            "channel": number,
            "peak": HIRS_CHANNELS[number][0],
            "count": int((channel == number).sum()),
            "mean": float(departure[channel == number].mean()),
            "std": float(departure[channel == number].std()),
        }
        for number in np.unique(channel).tolist()
    ]
    return {"rows": rows, "read": counts, "superobs": obs.sizes["obs"], "seconds": time.process_time() - begin}


def run_case(name: str, root: Path, members: int, steps: int | None, keep: Path | None) -> dict[str, Any]:
    """Scores of one case, and what became of its reports."""
    if name == "HIRS":
        return radiances(root / RADIANCES)
    case = CASES[name]
    sources, options = case.arguments(root)
    begin = time.process_time()
    outcome = assimilate_reports(
        sources, case.start, case.end, members=members, steps=steps, withhold_fraction=0.15, seed=0, **options
    )
    seconds = time.process_time() - begin
    good = outcome.counts["reports"].sel(status="good").to_series()
    result = {"rows": rows_of(outcome), "seconds": seconds, "used": {str(k): int(v) for k, v in good.items() if v > 0}}
    if name in ("SYNOP", "METAR"):
        for key, value in best_on_grid(outcome).items():
            next(row for row in result["rows"] if row["name"] == key)["best on the grid"] = value
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        stem = name.replace(", ", "-").lower()
        surface = [v for v in outcome.analysis.data_vars if "level" not in outcome.analysis[v].dims]
        outcome.analysis[surface].to_netcdf(keep / f"{stem}-analysis.nc")
        for which, obs in (("used", outcome.used), ("held", outcome.held)):
            bare = obs.assign_attrs({k: str(v) for k, v in obs.attrs.items()})
            bare.to_netcdf(keep / f"{stem}-{which}.nc")
    return result


def tables(results: dict[str, Any], members: int) -> str:
    """All results as Markdown."""
    columns = (*COLUMNS, "best on the grid")
    out = [
        f"RMSE at the withheld reports, {members} members.",
        "",
        "| | units | " + " | ".join(columns) + " | reports' error | withheld |",
        "|---|---|" + "---|" * (len(columns) + 2),
    ]
    for case, result in results.items():
        if case == "HIRS":
            continue
        for row in result["rows"]:
            factor, units = FACTORS.get(row["units"], (1.0, row["units"]))
            label = f"{case}: {row['name'].replace('_', ' ')}" + (
                "" if row["level"] is None else f", {row['level']:g} hPa"
            )
            cells = [_number(row.get(key), factor) for key in (*columns, "error")]
            out.append(f"| {label} | {units} | " + " | ".join(cells) + f" | {row['count']:.0f} |")
    if "HIRS" in results:
        hirs = results["HIRS"]
        out += [
            "",
            f"HIRS: {hirs['read'].get('good', 0)} brightness temperatures of 19 channels read and found good, "
            f"{hirs['superobs']} superobs; reported minus operator on the model's climatology, K.",
            "",
            "| channel | " + " | ".join(str(row["channel"]) for row in hirs["rows"]) + " |",
            "|---|" + "---|" * len(hirs["rows"]),
            "| peak, hPa | " + " | ".join(f"{row['peak']:g}" for row in hirs["rows"]) + " |",
            "| superobs | " + " | ".join(str(row["count"]) for row in hirs["rows"]) + " |",
            "| mean | " + " | ".join(f"{row['mean']:.1f}" for row in hirs["rows"]) + " |",
            "| deviation | " + " | ".join(f"{row['std']:.1f}" for row in hirs["rows"]) + " |",
        ]
    return "\n".join(out)


def _number(value: float | None, factor: float) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{value * factor:.3g}"


def put(text: str, file: Path) -> None:
    """Replace what stands between the marks of a file."""
    old = file.read_text(encoding="utf-8")
    before, rest = old.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    new = file.with_suffix(".part")
    new.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}", encoding="utf-8")
    os.replace(new, file)


def main() -> None:
    parser = argparse.ArgumentParser(description="Assimilate real reports and print the table of scores.")
    parser.add_argument("data", type=Path, help="folder of real data")
    parser.add_argument("--out", type=Path, required=True, help="JSON file of results; cases in it are not run again")
    parser.add_argument("--cases", nargs="+", default=[*CASES, "HIRS"], choices=[*CASES, "HIRS"])
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--steps", type=int, help="steps of the sampler (default: the model's)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where analyses and reports are kept")
    parser.add_argument("--into", type=Path, metavar="FILE", help="Markdown file whose table is replaced")
    args = parser.parse_args()
    results = json.loads(args.out.read_text()) if args.out.exists() else {}
    for name in args.cases:
        if name not in results:
            results[name] = run_case(name, args.data, args.members, args.steps, args.keep)
            new = args.out.with_suffix(".part")
            new.write_text(json.dumps(results, indent=1))
            os.replace(new, args.out)
    text = tables({name: results[name] for name in (*CASES, "HIRS") if name in results}, args.members)
    if args.into is not None:
        put(text, args.into)
    print(text)


if __name__ == "__main__":
    main()

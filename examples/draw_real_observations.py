"""Draw the figure of docs/real-observations.md from what the benchmark of real reports keeps.

python -m tests.benchmarks.real REPORTS --out real.json --keep real
python examples/draw_real_observations.py real real.json docs/real-observations.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes

SOURCES = {
    "climatology": "0.75",
    "analysis": "tab:blue",
    "inverse distance": "tab:orange",
    "analysis, residuals interpolated": "tab:cyan",
}


def east(longitude: xr.DataArray) -> np.ndarray:
    """Longitudes from -180 to 180."""
    return (longitude.values + 180) % 360 - 180


def good(obs: xr.Dataset, name: str) -> xr.Dataset:
    """Reports of a quantity that were not rejected."""
    there = obs[name].notnull()
    return obs.isel(obs=(there & (obs[f"{name}_flag"] == 0) if f"{name}_flag" in obs else there).values)


def field_map(axes: Axes, folder: Path, stem: str, name: str, scale: float, units: str, colours: str) -> None:
    """Mean of the members, and the reports, in the colours of the field: used as dots, withheld as rings."""
    analysis = xr.open_dataset(folder / f"{stem}-analysis.nc")[name].isel(time=0).mean("member") * scale
    analysis = analysis.assign_coords(longitude=east(analysis.longitude)).sortby("longitude")
    limits = {"vmin": float(analysis.quantile(0.01)), "vmax": float(analysis.quantile(0.99)), "cmap": colours}
    drawn = axes.pcolormesh(analysis.longitude, analysis.latitude, analysis, shading="nearest", **limits)
    for which, size, edge in (("used", 3, "none"), ("held", 9, "black")):
        obs = good(xr.open_dataset(folder / f"{stem}-{which}.nc"), name)
        dots = {"s": size, "edgecolors": edge, "linewidths": 0.35}
        axes.scatter(east(obs.longitude), obs.latitude, c=obs[name].values * scale, **dots, **limits)
    axes.set(xlim=(-180, 180), ylim=(-90, 90), xticks=range(-180, 181, 60), yticks=range(-90, 91, 30))
    plt.colorbar(drawn, ax=axes, label=units, shrink=0.8, pad=0.02)


def swath_map(axes: Axes, folder: Path, stem: str) -> None:
    """Superobs of a swath: speed of those used, and rings round those withheld."""
    names = "10m_u_component_of_wind", "10m_v_component_of_wind"
    limits = {"vmin": 0.0, "vmax": 16.0, "cmap": "viridis"}
    for which, size, edge in (("used", 14, "none"), ("held", 22, "red")):
        obs = good(xr.open_dataset(folder / f"{stem}-{which}.nc"), names[0])
        speed = np.hypot(*(obs[name].values for name in names))
        dots = {"s": size, "marker": "s", "edgecolors": edge, "linewidths": 1.0}
        drawn = axes.scatter(east(obs.longitude), obs.latitude, c=speed, **dots, **limits)
    axes.set(xlim=(-180, 180), ylim=(-90, 90), xticks=range(-180, 181, 60), yticks=range(-90, 91, 30))
    axes.set_facecolor("0.95")
    plt.colorbar(drawn, ax=axes, label="m s$^{-1}$", shrink=0.8, pad=0.02)


def bars(axes: Axes, results: dict) -> None:
    """Errors at what was withheld, relative to those of climatology."""
    wanted = {
        "SYNOP": ("2m_temperature", "mean_sea_level_pressure", "10m_u_component_of_wind"),
        "METAR": ("2m_temperature", "mean_sea_level_pressure", "10m_u_component_of_wind"),
        "TEMP": ("temperature", "u_component_of_wind"),
        "ASCAT, components": ("10m_u_component_of_wind",),
        "ASCAT, speed": ("wind_speed",),
    }
    short = {"2m_temperature": "T2m", "mean_sea_level_pressure": "MSLP", "10m_u_component_of_wind": "u10"}
    short |= {"temperature": "T500", "u_component_of_wind": "u500", "wind_speed": "speed"}
    rows = []
    for case, names in wanted.items():
        for name in names:
            found = [row for row in results.get(case, {}).get("rows", []) if row["name"] == name]
            rows += [(f"{case.split(',')[0]} {short[name]}", row) for row in found if row["level"] in (None, 500.0)]
    place = np.arange(len(rows))
    for k, (source, colour) in enumerate(SOURCES.items()):
        values = [row[source] / row["climatology"] for _, row in rows]
        axes.barh(place + 0.2 * (k - 1.5), values, 0.2, color=colour, label=source)
    axes.set(yticks=place, yticklabels=[label for label, _ in rows], xlabel="RMSE / RMSE of climatology")
    axes.invert_yaxis()
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0.0, -0.14), ncol=2, frameon=False)


def draw(folder: Path, results: dict, out: Path) -> None:
    """The figure: two maps of SYNOP, one of ASCAT, and the errors."""
    figure, axes = plt.subplots(2, 2, figsize=(12, 7.2), constrained_layout=True)
    field_map(axes[0, 0], folder, "synop", "2m_temperature", 1.0, "K", "RdYlBu_r")
    axes[0, 0].set_title("SYNOP, 2 m temperature, 2 November 2018, 12 UTC", fontsize=10)
    field_map(axes[0, 1], folder, "synop", "mean_sea_level_pressure", 0.01, "hPa", "PuOr")
    axes[0, 1].set_title("SYNOP, mean sea level pressure", fontsize=10)
    swath_map(axes[1, 0], folder, "ascat-components")
    axes[1, 0].set_title("ASCAT superobs, wind speed, 2 July 2015 (red: withheld blocks)", fontsize=10)
    bars(axes[1, 1], results)
    axes[1, 1].set_title("At withheld reports", fontsize=10)
    figure.savefig(out, dpi=110)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the figure of docs/real-observations.md.")
    parser.add_argument("folder", type=Path, help="what the benchmark kept")
    parser.add_argument("results", type=Path, help="its JSON file")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    draw(args.folder, json.loads(args.results.read_text()), args.out)

"""The demonstration: observe 48 hours of a simulated atmosphere, assimilate the reports, score, draw."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import xarray as xr

from xappa import tutorial
from xappa.argument_types import check_arguments
from xappa.errors import MissingDependency, translate_write_errors
from xappa.streaming.store.zarr import to_zarr
from xappa.tasks.assimilate import assimilate
from xappa.tasks.climatology import climatology
from xappa.tasks.observe import observe
from xappa.verification.stations import withhold
from xappa.verification.table import to_table
from xappa.verification.verify import verify

ERRORS = "speedy-twin"


@check_arguments
def run_demo(out: str | Path, *, members: int = 8, seed: int = 0, overwrite: bool = False) -> str:
    """Run the demonstration.

    Parameters
    ----------
    out : path
        Folder that receives ``analysis.zarr``, ``scores.txt`` and ``demo.png``.
    members : int
    seed : int
        Seed of the network, its errors, the stations withheld, and the members.
    overwrite : bool, default False
        Replace an ``analysis.zarr`` of another run.

    Returns
    -------
    str
        Tables of scores, as text.

    Raises
    ------
    MissingDependency
        If there is no matplotlib for the figure; before anything is computed.
    """
    if find_spec("matplotlib") is None:
        raise MissingDependency("The demo draws a figure, for which matplotlib is needed: pip install 'xappa[plot]'")
    out = Path(out)
    with translate_write_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    truth = tutorial.nature_run().load()
    reports = observe(truth, tutorial.network(truth, seed=seed), error=ERRORS, seed=seed)
    used, withheld = withhold(reports, fraction=0.15, seed=seed)
    analysis = assimilate(truth, used, members=members, seed=seed)
    store = to_zarr(analysis, out / "analysis.zarr", overwrite=overwrite)
    analysis = xr.open_zarr(store).load()

    baselines = {"climatology": climatology(truth)}
    text = "\n\n".join(
        [
            f"Analysis of {used.sizes['obs']} reports, {members} members -> {store}",
            "At grid points, against the truth\n" + to_table(verify(analysis, truth, baselines=baselines)),
            "At withheld stations, against their reports\n" + to_table(verify(analysis, withheld, baselines=baselines)),
        ]
    )
    (out / "scores.txt").write_text(text + "\n")
    draw(truth, analysis, used, out / "demo.png")
    return f"{text}\n\nFigure: {out / 'demo.png'}"


def draw(truth: xr.Dataset, analysis: xr.Dataset, reports: xr.Dataset, file: Path) -> None:
    """Four maps of 500 hPa height at the middle of the window, with surface stations (small) and soundings."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    time = truth.time.values[truth.sizes["time"] // 2]
    height = {"level": 500, "time": time}
    metres = 9.80665 * 10  # of geopotential a decametre of height
    ensemble = analysis["geopotential"].sel(height) / metres
    mean, exact = ensemble.mean("member"), truth["geopotential"].sel(height) / metres
    error, spread = mean - exact, ensemble.std("member", ddof=1)
    now = reports.isel(obs=(reports.time == time).values)
    soundings, surface = (now.isel(obs=(now.level.notnull() == aloft).values) for aloft in (True, False))
    fig, axes = plt.subplots(2, 2, figsize=(12, 6.6), layout="constrained", sharex=True, sharey=True)
    limit = float(max(abs(error).max(), spread.max()))
    panels = (
        ("Truth: 500 hPa height", exact, dict(cmap="viridis", vmin=float(exact.min()), vmax=float(exact.max()))),
        (
            f"Mean of {ensemble.sizes['member']} members",
            mean,
            dict(cmap="viridis", vmin=float(exact.min()), vmax=float(exact.max())),
        ),
        ("Error of the mean, with the stations", error, dict(cmap="RdBu_r", vmin=-limit, vmax=limit)),
        ("Spread of the members, with the stations", spread, dict(cmap="magma_r", vmin=0, vmax=limit)),
    )
    for ax, (title, field, style) in zip(axes.flat, panels, strict=True):
        image = ax.pcolormesh(field.longitude, field.latitude, field, shading="nearest", **style)
        # The model's own coastline: nothing has to be downloaded.
        land = truth["land_sea_mask"]
        ax.contour(land.longitude, land.latitude, land, [0.5], colors="0.2", linewidths=0.6)
        fig.colorbar(image, ax=ax, label="dam", shrink=0.85)
        ax.set(title=title, xlim=(0, 356.25), ylim=(-88, 88))
    for ax in axes[1]:
        ax.plot(surface.longitude % 360, surface.latitude, ".", color="0.45", ms=0.7)
        ax.plot(soundings.longitude % 360, soundings.latitude, ".", color="0.1", ms=2.5)
        ax.set_xlabel("longitude (degrees east)")
    for ax in axes[:, 0]:
        ax.set_ylabel("latitude (degrees north)")
    fig.suptitle(f"xappa: analysis of a simulated atmosphere, {str(time)[:16]} UTC")
    fig.savefig(file, dpi=110)
    plt.close(fig)

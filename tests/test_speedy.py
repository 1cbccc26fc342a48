"""The embedded model: what it holds, what it can do, the demonstration, real reports."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import xappa
from tests.installed import needs
from xappa import demo, tutorial
from xappa.errors import IntegrityError, MissingDependency
from xappa.model import registry
from xappa.tasks.analyse_reports import assimilate_reports

DATA = Path(str(resources.files("xappa.data")))


def test_contents() -> None:
    spec = xappa.load("speedy").spec
    assert spec.shape == (39, 48, 96)
    assert spec.step_hours == 6
    assert spec.levels_of("temperature") == (100, 200, 300, 500, 700, 850, 925)
    assert spec.levels_of("specific_humidity") == (300, 500, 700, 850, 925)
    surface = [name for name, level in spec.channels if level is None]
    assert surface == [
        "2m_temperature",
        "10m_u_component_of_wind",
        "10m_v_component_of_wind",
        "mean_sea_level_pressure",
        "sea_surface_temperature",
        "total_precipitation_6hr",
    ]


def test_sizes() -> None:
    assert sum(f.stat().st_size for f in (DATA / "speedy").iterdir()) < 40e6
    assert sum(f.stat().st_size for f in (DATA / "nature-run.zarr").rglob("*") if f.is_file()) < 5e6


def test_networks_are_half_precision_and_statistics_single() -> None:
    from safetensors.numpy import load_file

    for part in ("autoencoder", "tangent", "denoiser"):
        tensors = load_file(DATA / "speedy" / f"{part}.safetensors")
        assert {v.dtype for v in tensors.values() if v.ndim} == {np.dtype("f2")}
    statistics = load_file(DATA / "speedy" / "statistics.safetensors")
    assert {statistics[k].dtype for k in ("annual", "diurnal", "scale", "error")} == {np.dtype("f4")}


def test_the_card_names_the_hash_of_the_test_period() -> None:
    record = json.loads((DATA / "speedy" / "model.json").read_text())
    assert record["about"]["test_period_sha256"] in (DATA / "speedy" / "README.md").read_text()


def test_the_autoencoder_keeps_the_nature_run() -> None:
    """Held-out states come back within the error that the model directory states (a window, so with some leeway)."""
    import torch

    model, truth = xappa.load("speedy"), tutorial.nature_run().load()
    times = truth.time.values.astype("datetime64[s]")
    fields = np.stack([truth[n].sel(level=lev).values if lev else truth[n].values for n, lev in model.spec.channels], 1)
    x = torch.from_numpy(model.standardise(fields, times))[None]
    error = (model.decode(model.encode(x, times), times) - x).numpy()[0] * model.mask
    found = np.sqrt((error**2).mean((0, 2, 3)))
    stated = np.sqrt((model.error**2 * model.mask).mean((1, 2)))
    assert (found < 1.5 * stated).all()
    assert np.sqrt((found**2).mean()) < 0.15


def test_a_file_that_the_registry_does_not_know_is_refused(monkeypatch) -> None:
    entry = registry.read_registry()["speedy"]
    wrong = {**entry.files, "model.json": "0" * 64}
    monkeypatch.setattr(registry, "read_registry", lambda: {"speedy": registry.RegistryEntry("speedy", wrong)})
    registry._load.cache_clear()
    with pytest.raises(IntegrityError, match=r"model\.json: expected sha256 0{64}"):
        xappa.load("speedy")
    registry._load.cache_clear()


def test_remote_models_go_through_the_same_check(tmp_path, monkeypatch, tiny_model) -> None:
    import pooch

    files = {f.name: pooch.file_hash(str(f)) for f in tiny_model.iterdir() if f.suffix in (".json", ".safetensors")}
    entry = registry.RegistryEntry("tiny", files, url="http://localhost/models/")
    monkeypatch.setattr(registry, "read_registry", lambda: {"tiny": entry})
    monkeypatch.setenv("XAPPA_CACHE", str(tmp_path))
    copied = []

    def deliver(url: str, output_file: str, pooch) -> None:
        name = url.rsplit("/", 1)[1]
        copied.append(name)
        Path(output_file).write_bytes((tiny_model / name).read_bytes())

    monkeypatch.setattr(pooch.core, "choose_downloader", lambda *args, **kwargs: deliver)
    assert xappa.load("tiny").name == "tiny"
    assert sorted(copied) == sorted(files)
    copied.clear()
    xappa.fetch("tiny")
    assert not copied, "what is in the cache is not fetched again"


def test_a_demo_without_matplotlib_is_refused_before_anything_is_computed(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install 'xappa\[plot\]'"):
        demo.run_demo(tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_demonstration(tmp_path) -> None:
    text = demo.run_demo(tmp_path, members=2, seed=0)
    assert "At withheld stations" in text
    assert (tmp_path / "demo.png").stat().st_size > 50_000
    analysis = xr.open_zarr(tmp_path / "analysis.zarr", consolidated=False)
    truth = tutorial.nature_run().load()
    scores = analysis.appa.verify(truth, metrics=["rmse"], baselines={"climatology": _climatology(truth)})
    for name in ("2m_temperature", "mean_sea_level_pressure", "temperature", "u_component_of_wind", "geopotential"):
        rmse = scores[name].sel(metric="rmse")
        assert (rmse.sel(source="analysis") < 0.6 * rmse.sel(source="climatology")).all(), name


def _climatology(ds: xr.Dataset) -> xr.Dataset:
    from xappa.tasks.climatology import climatology

    return climatology(ds)


@pytest.mark.slow
def test_real_reports(shared, tmp_path) -> None:
    """Raw SYNOP reports of the world: better than climatology at the withheld stations, for every variable."""
    needs("eccodes")
    file = shared("real/synop-global-20181102/perf_synop.bufr")
    when = "2018-11-02T12"
    outcome = assimilate_reports(
        [file], when, when, members=2, steps=8, withhold_fraction=0.15, out=tmp_path / "a.zarr"
    )
    assert outcome.scores is not None
    names = ("2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind", "mean_sea_level_pressure")
    for name in names:
        rmse = outcome.scores[name].sel(metric="rmse").to_series()
        assert rmse["analysis"] < 0.8 * rmse["climatology"], name
        assert int(outcome.scores[name].sel(metric="count", source="analysis")) > 900
    for name in ("2m_temperature", "mean_sea_level_pressure"):
        rmse = outcome.scores[name].sel(metric="rmse").to_series()
        assert rmse["analysis, residuals interpolated"] < 0.9 * rmse["analysis"], name
        assert rmse["analysis, residuals interpolated"] < rmse["inverse distance"], name
    assert not set(outcome.used.station.values) & set(outcome.held.station.values) - {""}
    # Some of the wrong reports are of stations that are withheld.
    used, held = (part.appa.summary()["out_of_range"] for part in (outcome.used, outcome.held))
    found = used.add(held, fill_value=0)
    assert (found[["2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind"]] >= 1).all()
    reports = outcome.counts["reports"].sel(status="out_of_range").to_series()
    assert reports[used.index].to_dict() == used.to_dict()
    assert "out_of_range" in str(outcome)
    assert "inverse distance" in str(outcome)

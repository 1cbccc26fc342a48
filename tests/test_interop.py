"""What users do with a result: xarray's, Dask's and other packages' tools on a lazy analysis and on its store."""

from __future__ import annotations

import html
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.sampling import sampling_tasks

pytestmark = pytest.mark.usefixtures("nothing_on_disk")

T = "2m_temperature"


@pytest.fixture(scope="module")
def result(tiny_model) -> xr.Dataset:
    """Lazy analysis: two members, six times."""
    ds = xappa.template("2001-03-13T00", "2001-03-14T06", model=tiny_model)
    rows = {"lat": [10.0, -33.0], "lon": [5.0, 359.0], "variable": T, "observation": [287.0, 283.0], "error": 0.5}
    obs = pd.DataFrame({"time": pd.to_datetime(["2001-03-13T00", "2001-03-14T06"]), **rows})
    return ds.appa.assimilate(obs, model=tiny_model, members=2, steps=3, seed=0, device="cpu")


@pytest.fixture(scope="module")
def loaded(result) -> xr.Dataset:
    return result.compute(scheduler="synchronous")


@pytest.fixture(scope="module")
def store(result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("interop") / "analysis.zarr"
    xappa.to_zarr(result, path)
    return path


@pytest.fixture
def samplings(monkeypatch) -> list:
    """Calls that sample."""
    calls: list = []
    whole = sampling_tasks._sample
    monkeypatch.setattr(sampling_tasks, "_sample", lambda *args: calls.append(args) or whole(*args))
    sampling_tasks._CACHE.clear()
    return calls


# Stores


def test_a_store_opens_without_options(store, loaded, recwarn) -> None:
    found = xr.open_zarr(store)
    assert not [str(w.message) for w in recwarn if "consolidated" in str(w.message)]
    assert all(dask.is_dask_collection(variable.data) for variable in found.values())
    xr.testing.assert_equal(found.compute(), loaded)
    for name, variable in loaded.variables.items():
        kept = {k: v for k, v in variable.attrs.items() if k != "units" or name != "time"}
        assert kept.items() <= found[name].attrs.items()
    assert found.attrs["xappa_run"] == loaded.attrs["xappa_run"]
    xr.testing.assert_equal(xr.open_dataset(store, engine="zarr", chunks=None).load(), loaded)


@pytest.mark.parametrize("version", [2, 3])
def test_written_by_hand(result, loaded, tmp_path, version) -> None:
    result.to_zarr(tmp_path / "a.zarr", zarr_format=version, consolidated=False)
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "a.zarr", consolidated=False).compute(), loaded)


def test_netcdf(result, loaded, tmp_path) -> None:
    pytest.importorskip("netCDF4")
    result.to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as found:
        xr.testing.assert_equal(found, loaded)


def test_tensorstore_reads_the_store(store, loaded) -> None:
    tensorstore = pytest.importorskip("tensorstore", reason="tensorstore, another reader of Zarr, is not installed")
    for name in (T, "temperature", "sea_surface_temperature", "latitude"):
        place = {"driver": "file", "path": str(store / name)}
        array = tensorstore.open({"driver": "zarr3", "kvstore": place}, open=True, read=True).result()
        np.testing.assert_array_equal(array.read().result(), loaded[name].values)
        assert list(array.domain.labels) == list(loaded[name].dims)


def test_zarrs_reads_the_store(store, loaded) -> None:
    pytest.importorskip("zarrs", reason="zarrs, another reader of Zarr, is not installed")
    # The codecs of a process are its configuration's: a process of its own.
    code = (
        "import sys, numpy, xarray, zarr, zarrs\n"
        "zarr.config.set({'codec_pipeline.path': 'zarrs.ZarrsCodecPipeline'})\n"
        "found = xarray.open_zarr(sys.argv[1]).load()\n"
        "numpy.savez(sys.argv[2], **{name: found[name].values for name in found})\n"
    )
    out = store.parent / "zarrs.npz"
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", code, store, out], check=True)
    with np.load(out) as found:
        assert set(found) == set(loaded)
        for name in found:
            np.testing.assert_array_equal(found[name], loaded[name])


def test_xbatcher_over_the_store(store, loaded) -> None:
    xbatcher = pytest.importorskip("xbatcher", reason="xbatcher is not installed")
    found = xr.open_zarr(store)[[T]]
    batches = xbatcher.BatchGenerator(found, {"time": 2, "latitude": 8, "longitude": 16}, preload_batch=False)
    assert len(batches) == 3
    for k, batch in enumerate(batches):
        xr.testing.assert_equal(batch.compute(), loaded[[T]].isel(time=slice(2 * k, 2 * k + 2)))


# Lazy results


def test_map_blocks(result, loaded, samplings) -> None:
    template = result[[T]]
    warmer = xr.map_blocks(lambda block: block[[T]] + 1, result[[T]], template=template)
    assert not samplings
    xr.testing.assert_allclose(warmer.compute(), loaded[[T]] + 1)
    assert len(samplings) == 1


REDUCTIONS: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "rolling": lambda ds: ds.rolling(time=3, center=True).mean(),
    "resample": lambda ds: ds.resample(time="1D").mean(),
    "groupby": lambda ds: ds.groupby("time.hour").mean(),
    "statistics": lambda ds: ds.std("member"),
    "quantile": lambda ds: ds.chunk(member=-1).quantile(0.5, "member"),
    "interpolation": lambda ds: ds.interp(latitude=[0.0], longitude=[7.0]),
    "weighted": lambda ds: ds.weighted(np.cos(np.deg2rad(ds.latitude))).mean(("latitude", "longitude")),
    "stacked": lambda ds: ds.stack(sample=("member", "time")).mean("sample"),
}


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_are_lazy_and_right(result, loaded, samplings, name) -> None:
    lazy = REDUCTIONS[name](result[[T, "temperature"]])
    assert not samplings
    found = lazy.compute()
    assert len(samplings) == 1, "sampled once for two variables and all chunks"
    xr.testing.assert_allclose(found, REDUCTIONS[name](loaded[[T, "temperature"]]), rtol=1e-5)


def test_load_and_persist(result, loaded, samplings) -> None:
    xr.testing.assert_identical(result.copy().load(), loaded)
    (kept,) = dask.persist(result[[T]])
    assert len(samplings) == 1
    sampling_tasks._CACHE.clear()
    xr.testing.assert_identical(kept.compute(), loaded[[T]])
    assert len(samplings) == 1, "what is persisted is not sampled again"


def test_pickled_here_and_computed_elsewhere(result, loaded, tmp_path) -> None:
    again = pickle.loads(pickle.dumps(result))
    assert dask.base.tokenize(again) == dask.base.tokenize(result)
    xr.testing.assert_identical(again.compute(), loaded)
    (tmp_path / "lazy.pickle").write_bytes(pickle.dumps(result))
    code = (
        "import pickle, sys, torch\n"
        "torch.set_num_threads(int(sys.argv[3]))\n"
        "ds = pickle.load(open(sys.argv[1], 'rb'))\n"
        "assert ds.appa is not None\n"
        "ds[['2m_temperature']].compute(scheduler='synchronous').to_netcdf(sys.argv[2], engine='scipy')\n"
    )
    import torch

    arguments = [tmp_path / "lazy.pickle", tmp_path / "a.nc", str(torch.get_num_threads())]
    root = Path(__file__).resolve().parents[1]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, cwd=root)
    with xr.open_dataset(tmp_path / "a.nc", engine="scipy") as found:
        xr.testing.assert_equal(found, loaded[[T]])


def test_the_graph_can_be_drawn(result, tmp_path) -> None:
    pytest.importorskip("graphviz", reason="graphviz for Python is not installed")
    if shutil.which("dot") is None:
        pytest.skip("graphviz's program dot is not installed")
    dask.visualize(result[T].isel(time=0), filename=str(tmp_path / "graph"), format="svg")
    assert "xappa-sample" in html.unescape((tmp_path / "graph.svg").read_text())


def test_the_layers_of_the_graph_are_named(result) -> None:
    layers = {name.rpartition("-")[0] for name in result[T].data.dask.layers}
    assert {"xappa-decode", "xappa-pick"} <= layers


# Labels


def test_cf_xarray_understands_the_labels(result, store) -> None:
    import cf_xarray  # noqa: F401

    for ds in (result, xr.open_zarr(store)):
        assert {axis: ds.cf.axes[axis] for axis in "TZYX"} == {
            "T": ["time"], "Z": ["level"], "Y": ["latitude"], "X": ["longitude"]
        }  # fmt: skip
        assert ds.cf.coordinates["vertical"] == ["level"]
        assert ds.cf["realization"].name == "member"
        assert ds.cf.standard_names["air_pressure_at_mean_sea_level"] == ["mean_sea_level_pressure"]
        assert set(ds.cf.standard_names["air_temperature"]) == {T, "temperature"}
        assert ds["temperature"].cf.sel(vertical=500, method="nearest").sizes == {
            "member": 2, "time": 6, "latitude": 8, "longitude": 16
        }  # fmt: skip
        assert ds.cf.guess_coord_axis().cf.axes.keys() == ds.cf.axes.keys()

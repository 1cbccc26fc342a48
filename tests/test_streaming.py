"""Lazy results: what is made at the call, what is computed, how often."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.model.state import StateSpec
from xappa.sampling import sampling_tasks
from xappa.sampling.spec import SamplingSpec
from xappa.segments import Chain, Independent
from xappa.state import to_dataset
from xappa.streaming.graph.lazy import build_graph
from xappa.streaming.graph.slices import SliceLayer

pytestmark = pytest.mark.usefixtures("nothing_on_disk")

TIMES = pd.date_range("2001-03-13", periods=4, freq="6h")
SHORT = Independent(windows=4, overlap=2)  # 10 times of the tiny model, which share 6 with the next


def reports() -> pd.DataFrame:
    rows = {"time": TIMES[[0, 1, 3]], "lat": [10.0, -33.0, 85.0], "lon": [5.0, 359.0, 180.0]}
    return pd.DataFrame({**rows, "variable": "2m_temperature", "observation": [287.0, 283.0, 284.0], "error": 0.5})


def analysis(tiny_model: Path, last: str = "2001-03-13T18", obs: pd.DataFrame | None = None, **options) -> xr.Dataset:
    ds = xappa.template("2001-03-13T00", last, model=tiny_model)
    settings = {"model": tiny_model, "members": 3, "seed": 0, "steps": 2, "sampler": "lms", "segments": SHORT}
    return ds.appa.assimilate(reports() if obs is None else obs, **(settings | options))


@pytest.fixture
def calls(tiny_model, monkeypatch) -> dict[str, int]:
    """States that were decoded, one by one, and states that were denoised, member by member."""
    model = xappa.load(tiny_model)
    found = {"decoded": 0, "denoised": 0}
    decode, denoise = sampling_tasks._decode_one, type(model.denoiser).forward

    def decoding(*args):
        found["decoded"] += 1
        return decode(*args)

    def denoising(self, x, *args):
        found["denoised"] += x.shape[0]
        return denoise(self, x, *args)

    monkeypatch.setattr(sampling_tasks, "_decode_one", decoding)
    monkeypatch.setattr(type(model.denoiser), "forward", denoising)
    sampling_tasks._CACHE.clear()
    return found


@pytest.fixture(scope="module")
def year() -> tuple[SamplingSpec, StateSpec]:
    """Plan of a year of hourly states of the official model's size."""
    levels = (50, 100, 150, 200, 250, 300, 400, 500, 600, 700, 850, 925, 1000)
    names = ("temperature", "u_component_of_wind", "v_component_of_wind", "geopotential", "specific_humidity")
    surface = ("2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind", "mean_sea_level_pressure")
    channels = [(name, None) for name in surface] + [(name, level) for name in names for level in levels]
    spec = StateSpec(tuple(channels), tuple(np.linspace(90, -90, 721)), tuple(np.arange(1440) / 4), 1, 24)
    times = np.datetime64("2021-01-01", "s") + spec.step * np.arange(8772)
    guidance, sampler = xappa.guidance.MMPS(), xappa.samplers.LMS()
    plan = SamplingSpec(
        "model", "digest", None, times, None, guidance, sampler, "symmetrical", 0, segments=Independent()
    )
    return plan, spec


class TestGraphs:
    """Layers that are written out only as far as they are needed."""

    def test_a_year_of_hourly_quarter_degree_states_is_no_graph_of_tasks(self, year) -> None:
        plan, spec = year
        run = build_graph(plan, tuple(range(20)), spec, 8760, None, False, latent_shape=(24, 48, 64))
        ds = to_dataset(run.fields, spec, plan.times[:8760], np.arange(20))
        assert ds.nbytes > 5e13
        layers = ds["temperature"].data.dask.layers
        heavy = {k: v for k, v in layers.items() if k.startswith(("xappa-latents", "xappa-decode", "xappa-pick"))}
        assert len(heavy) == 3
        assert not any(layer.is_materialized() for layer in heavy.values())
        written_out = sum(len(layer) for layer in layers.values() if layer.is_materialized())
        # times, members, and sampling tasks: 3 batches of 56 segments
        assert written_out == 8760 + 20 + 3 * 56
        assert len(pickle.dumps(ds["temperature"].data.dask)) < 10e6

    def test_one_state_needs_a_handful_of_tasks(self, year) -> None:
        plan, spec = year
        run = build_graph(plan, tuple(range(20)), spec, 8760, None, False, latent_shape=(24, 48, 64))
        ds = to_dataset(run.fields, spec, plan.times[:8760], np.arange(20))
        one = ds[["temperature", "2m_temperature"]].isel(member=3).sel(time="2021-12-05T05")
        tasks = dict(dask.optimize(one)[0].__dask_graph__())
        assert len(tasks) < 12
        assert sum(str(key).startswith("xappa-sample") for key in tasks) <= 2

    def test_tasks_grow_with_chunks_and_nothing_else(self, tiny_model) -> None:
        def count(**options) -> int:
            return len(dict(analysis(tiny_model, "2001-03-17T18", **options)["temperature"].data.dask))

        assert count(chunks=4) < count(chunks=1)
        many = reports()
        many = pd.concat([many.assign(lon=many.lon + k) for k in range(50)])
        ds = xappa.template("2001-03-13T00", "2001-03-17T18", model=tiny_model)
        options = {"model": tiny_model, "members": 3, "seed": 0, "steps": 2, "segments": SHORT, "chunks": 1}
        dense = ds.appa.assimilate(many, quality="none", **options)["temperature"].data.dask
        assert len(dict(dense)) == count(chunks=1)

    def test_sampling_keeps_its_key_where_one_chunk_alone_needs_it(self, tiny_model) -> None:
        """Or two computes at the same time, on two workers, would be two samplings for the scheduler."""
        found = analysis(tiny_model, chunks={"member": 3})[["2m_temperature"]]
        keys = []
        for member in (0, 1):
            (one,) = dask.optimize(found.isel(member=[member], time=[0]))
            keys.append({key for key in one.__dask_graph__() if str(key).startswith("xappa-sample-")})
        assert len(keys[0]) == 1
        assert keys[0] == keys[1]

    def test_chunks_that_cannot_be_honoured(self, tiny_model) -> None:
        with pytest.raises(xappa.errors.OptionError, match="'latitude' cannot be split"):
            analysis(tiny_model, chunks={"latitude": 4})
        for wrong in (0, {"time": -1}, {"member": 1.5}, True):
            with pytest.raises(xappa.errors.OptionError, match="chunks="):
                analysis(tiny_model, chunks=wrong)


class TestCalls:
    """What is returned at once."""

    def test_every_task_returns_what_is_not_computed_yet(self, tiny_model, calls, monkeypatch) -> None:
        model = type(xappa.load(tiny_model))
        encode = model.encode
        monkeypatch.setattr(model, "encode", lambda *args: pytest.fail("encoded"))
        options = {"model": tiny_model, "steps": 2, "seed": 0}
        ds = xappa.template("2001-03-13T00", "2001-03-14T18", model=tiny_model)
        prior = ds.appa.sample(members=2, **options)
        latents = prior.appa.encode(model=tiny_model)
        lazy = {
            "assimilate": analysis(tiny_model),
            "filter": ds.appa.filter(reports(), **options),
            "forecast": prior.isel(time=slice(2)).appa.forecast("24h", **options),
            "forecast of reports": ds.isel(time=slice(4)).appa.forecast("24h", obs=reports(), **options),
            "sample": prior,
            "encode": latents,
            "decode": latents.appa.decode(model=tiny_model),
            "regrid": prior.appa.regrid(30.0),
        }
        for name, result in lazy.items():
            assert all(dask.is_dask_collection(v.data) for v in result.values()), name
        assert calls == {"decoded": 0, "denoised": 0}
        monkeypatch.setattr(model, "encode", encode)
        for name, result in lazy.items():
            found = result.isel(time=[0]).compute()
            assert all(np.isfinite(v).any() for v in found.values()), name

    def test_independent_segments_need_nothing_of_each_other(self, tiny_model) -> None:
        def needs(segments: object) -> list[int]:
            graph = analysis(tiny_model, "2001-03-20T18", segments=segments)["2m_temperature"].data.dask
            sampling_layers = [name for name in graph.layers if str(name).startswith("xappa-sample-")]

            def count(name: str) -> int:
                return sum((other in sampling_layers) + count(other) for other in graph.dependencies[name])

            assert all(len(graph.layers[name]) == 1 for name in sampling_layers)
            return sorted(count(name) for name in sampling_layers)

        assert needs(SHORT) == [0] * 7
        # three members are one batch: each link needs the one before
        assert needs(Chain(6)) == [0, 1, 2, 3]

    def test_latents_are_keyed_by_what_they_depend_on(self, tiny_model, tmp_path) -> None:
        def keys(**options) -> set[str]:
            layers = analysis(tiny_model, **options)["2m_temperature"].data.dask.layers
            return {name for name in layers if str(name).startswith("xappa-sample-")}

        base = keys()
        assert len(base) == 1
        assert keys(chunks=2) == base
        assert keys(grid="ds") == base
        with xappa.set_options(dress=True, clip=False):
            assert keys() == base, "decoding alone knows of them"
        other = shutil.copytree(tiny_model, tmp_path / "model")
        assert keys(model=other) == base, "the same weights in another folder"
        record = json.loads((other / "model.json").read_text())
        record["schedule"]["sigma_max"] *= 2
        (other / "model.json").write_text(json.dumps(record))
        changed = [
            keys(model=other), keys(seed=1), keys(members=4), keys(steps=3), keys(guidance="mmps"),
            keys(stitching="causal"), keys(operator="nearest"), keys(obs=reports().assign(error=0.7)),
            keys(last="2001-03-14T18"), keys(obs=reports().assign(observation=280.0)),
        ]  # fmt: skip
        assert len(set.union(base, *changed)) == 1 + len(changed)


class TestWork:
    """How much is sampled and decoded."""

    def test_a_whole_result_is_decoded_once(self, tiny_model, calls, tmp_path) -> None:
        found = analysis(tiny_model)
        assert calls == {"decoded": 0, "denoised": 0}
        found.compute()
        assert calls["decoded"] == 3 * 4
        sampled = calls["denoised"]
        found[["2m_temperature", "temperature"]].isel(latitude=slice(2), time=1).compute()
        assert calls == {"decoded": 3 * 4 + 3, "denoised": sampled}, "latents are kept"

    def test_writing_decodes_each_state_once(self, tiny_model, calls, tmp_path) -> None:
        found = analysis(tiny_model, "2001-03-16T18")
        xappa.to_zarr(found, tmp_path / "a.zarr", chunks={"time": 3})
        assert calls["decoded"] == 3 * 16
        # 3 members, 2 steps, and segments of 4, 4 and 3 windows
        assert calls["denoised"] == 3 * 2 * 11

    def test_variables_and_regions_of_a_compute_share_a_state(self, tiny_model, calls) -> None:
        found = analysis(tiny_model).isel(member=[1], time=[2])
        north, south = found["temperature"].isel(latitude=slice(4, None)), found["2m_temperature"].isel(latitude=0)
        dask.compute(north, south, found["sea_surface_temperature"])
        assert calls["decoded"] == 1

    def test_only_the_batch_and_segments_that_are_needed_are_sampled(self, tiny_model, calls) -> None:
        def cost(select, **options) -> int:
            sampling_tasks._CACHE.clear()
            calls["denoised"] = 0
            select(analysis(tiny_model, "2001-03-20T18", guidance="mmps", **options)["2m_temperature"]).compute()
            return calls["denoised"]

        whole = cost(lambda v: v)
        last = cost(lambda v: v.isel(time=-1))
        assert last < 0.3 * whole, "December needs no January"
        assert cost(lambda v: v.isel(member=0), chunks={"member": 1}) < 0.4 * whole
        chained = cost(lambda v: v.isel(time=-1), segments="chain")
        assert chained > last

    @pytest.mark.parametrize("choice", [{"member": [1]}, {"time": [0]}, {"member": 2, "time": slice(-3, None)}])
    def test_writing_samples_what_is_written_and_no_more(self, tiny_model, calls, tmp_path, choice) -> None:
        """Not for the diagnostics either."""
        found = analysis(tiny_model, "2001-03-20T18", chunks={"member": 1})[["2m_temperature"]].isel(choice)
        found.compute()
        expected = dict(calls)
        sampling_tasks._CACHE.clear()
        store = xappa.to_zarr(found, tmp_path / "a.zarr")
        assert calls == {name: 2 * count for name, count in expected.items()}
        learned = xr.open_zarr(store, group="diagnostics")
        np.testing.assert_array_equal(learned["member"], np.atleast_1d(found["member"]))
        assert np.isfinite(learned["seconds"]).all()

    def test_writing_a_forecast_of_what_is_not_computed_yet(self, tiny_model, tmp_path) -> None:
        states = analysis(tiny_model, chunks={"member": 1}).isel(time=slice(2))
        ahead = states.appa.forecast("12h", model=tiny_model, members=3, steps=2, seed=0)
        store = xappa.to_zarr(ahead, tmp_path / "a.zarr")
        xr.testing.assert_equal(xr.open_zarr(store).compute(), ahead.compute())
        assert xr.open_zarr(store, group="diagnostics").sizes["member"] == 3

    def test_chunks_do_not_change_bits(self, tiny_model) -> None:
        one, four = (analysis(tiny_model, "2001-03-16T18", chunks=n).compute() for n in (1, 4))
        xr.testing.assert_identical(one, four.assign_attrs(one.attrs))

    def test_a_result_survives_pickling(self, tiny_model) -> None:
        found = analysis(tiny_model)["2m_temperature"].isel(time=0)
        xr.testing.assert_identical(pickle.loads(pickle.dumps(found)).compute(), found.compute())

    def test_persist_and_visualise(self, tiny_model) -> None:
        found = analysis(tiny_model)["2m_temperature"].isel(time=slice(2))
        (kept,) = dask.persist(found)
        np.testing.assert_array_equal(kept, found)
        layer = next(v for v in found.data.dask.layers.values() if isinstance(v, SliceLayer))
        assert set(layer) == layer.get_output_keys()
        assert all(key in layer for key in layer)
        assert len(layer) == len(list(layer)) == 12
        with pytest.raises(KeyError):
            layer[("other", 0, 0, 0, 0, 0)]

    def test_unsorted_selections_and_gaps(self, tiny_model) -> None:
        found = analysis(tiny_model, "2001-03-16T18")["2m_temperature"]
        whole = found.compute()
        np.testing.assert_array_equal(
            found.isel(time=[9, 2, 5], member=[2, 0]), whole.isel(time=[9, 2, 5], member=[2, 0])
        )
        gaps = xappa.template("2001-03-13T00", "2001-03-16T18", model=tiny_model).isel(time=[0, 7, 15])
        options = {"model": tiny_model, "members": 3, "seed": 0, "steps": 2, "sampler": "lms"}
        options |= {"segments": SHORT, "chunks": 2}
        part = gaps.appa.assimilate(reports(), **options)["2m_temperature"]
        np.testing.assert_array_equal(part, whole.isel(time=[0, 7, 15]))


class TestDiagnostics:
    """Of which run they are."""

    def test_of_a_selection(self, tiny_model, calls) -> None:
        found = analysis(tiny_model, chunks={"member": 1})
        every = xappa.diagnostics(found).compute()
        done = calls["denoised"]
        sampling_tasks._CACHE.clear()
        some = xappa.diagnostics(found.isel(member=[2, 0])).compute()
        assert calls["denoised"] == done * 5 / 3
        xr.testing.assert_allclose(some.drop_vars("seconds"), every.drop_vars("seconds").isel(member=[0, 2]))
        mean = xappa.diagnostics(found.mean("member", keep_attrs=True))
        assert mean["member"].values.tolist() == [0, 1, 2]

    @pytest.mark.parametrize("in_memory", [False, True])
    def test_runs_that_were_put_together_have_none(self, tiny_model, tmp_path, caplog, in_memory) -> None:
        def run(**options) -> xr.Dataset:
            found = analysis(tiny_model, **options)[["2m_temperature"]].isel(time=slice(-1, None))
            return found.compute() if in_memory else found

        later = {"obs": reports().assign(time=TIMES[0] + pd.Timedelta("1D"))}
        together = {
            "the members 1,": xr.concat([run(members=[k]) for k in (0, 1)], "member"),
            "times from before": xr.concat(
                [analysis(tiny_model)[["2m_temperature"]], run(last="2001-03-14T18", **later)], "time"
            ),
        }
        if not in_memory:
            together["fields that other runs sampled"] = xr.concat([run(seed=k) for k in (0, 1)], "member")
        for k, (reason, found) in enumerate(together.items()):
            with pytest.raises(xappa.errors.DatasetError, match=f"{reason}.* call xappa.diagnostics on its result"):
                xappa.diagnostics(found)
            store = xappa.to_zarr(found, tmp_path / f"{k}.zarr")
            assert f"{k}.zarr holds no diagnostics" in caplog.text
            assert not (store / "diagnostics").exists()
            xr.testing.assert_equal(xr.open_zarr(store).compute(), found.compute())

    def test_means_are_of_their_run(self, tiny_model) -> None:
        found = analysis(tiny_model, "2001-03-14T18").isel(time=slice(1, None))
        days = found.resample(time="D").mean(keep_attrs=True)
        assert xappa.diagnostics(days)["member"].values.tolist() == [0, 1, 2]


PROGRAM = """
import sys
from xappa.segments import Chain, Independent
from tests.test_streaming import analysis
for segments in (Independent(6), Chain(6)):
    found = analysis(sys.argv[1], "2001-03-20T18", segments=segments)
    data = found["temperature"].data
    print(found.attrs["xappa_run"], data.name, sorted(k for k in data.dask.layers))
"""


def test_tokens_are_the_same_in_every_process(tiny_model) -> None:
    root = Path(__file__).resolve().parents[1]
    outputs = []
    for hashing in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hashing, "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tiny_model)],
            env=environment, cwd=root, capture_output=True, text=True, check=True,
        )  # fmt: skip
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    assert outputs[0].count("xappa-sample-") == 2 * 4

"""`xappa.to_zarr` goes on after a kill: the same bits, nothing sampled twice."""

from __future__ import annotations

import signal
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr
import zarr

import xappa
from tests.stores import analysis, contents, start, until
from xappa.sampling import sampling_tasks
from xappa.segments import Chain, Independent
from xappa.streaming.store.regions import Writer

pytestmark = pytest.mark.usefixtures("nothing_on_disk")


def chunks_of(store: Path) -> list[Path]:
    return [
        path for path in store.rglob("*") if path.is_file() and "c" in path.parts and "diagnostics" not in path.parts
    ]


class TestKilled:
    """Real processes, really killed."""

    @pytest.mark.slow
    def test_it_goes_on_and_the_store_has_the_same_bits(self, tiny_model, finished, tmp_path) -> None:
        store, beside = tmp_path / "a.zarr", tmp_path / "a.zarr.xappa"
        whole = xr.open_zarr(finished).compute()
        moments = [
            lambda: (store / "zarr.json").exists(),
            lambda: any(beside.glob("*.npz")),
            lambda: len(chunks_of(store)) > 30,
        ]
        kept = 0
        for moment in moments:
            process = start(tiny_model, store)
            until(moment, process)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert len(list(beside.glob("*.npz"))) >= kept, "what was sampled is kept"
            kept = len(list(beside.glob("*.npz")))
            if (store / "temperature" / "zarr.json").exists():
                self._require_right_or_missing(store, whole)
        assert kept >= 1
        process = start(tiny_model, store)
        assert process.wait(timeout=300) == 0
        assert contents(store) == contents(finished)
        assert not beside.exists()

    def _require_right_or_missing(self, store: Path, whole: xr.Dataset) -> None:
        for name, field in whole.data_vars.items():
            if not (store / str(name) / "zarr.json").exists():
                continue
            there = zarr.open_array(store / str(name), mode="r")[...]
            for member in range(3):
                for first in range(0, field.sizes["time"], 4):
                    part, right = (x[member, first : first + 4] for x in (there, field.values))
                    assert np.isnan(part).all() or np.array_equal(part, right, equal_nan=True)

    @pytest.mark.parametrize(("segments", "count"), [(Independent(4, 2), 4), (Chain(6, 3), 2)])
    def test_nothing_is_sampled_twice(self, tiny_model, tmp_path, monkeypatch, segments, count) -> None:
        """Interrupted after some was sampled: the rest goes on from what is kept."""
        calls, sampled = [], sampling_tasks._sample
        whole = xappa.to_zarr(analysis(tiny_model, segments=segments), tmp_path / "whole.zarr", chunks={"time": 4})
        monkeypatch.setattr(sampling_tasks, "_sample", lambda *args: calls.append(args[1]) or sampled(*args))
        written = []

        def fail(self, region, values):
            written.append(region)
            if len(written) > 8:
                raise KeyboardInterrupt
            return real(self, region, values)

        real = Writer.__call__
        monkeypatch.setattr(Writer, "__call__", fail)
        store = tmp_path / "a.zarr"
        # Threads would go on sampling while what was kept is counted.
        with dask.config.set(scheduler="synchronous"), pytest.raises(KeyboardInterrupt):
            xappa.to_zarr(analysis(tiny_model, segments=segments), store, chunks={"time": 4})
        before = len(calls)
        assert 2 <= before == len(list(store.with_name("a.zarr.xappa").glob("*.npz")))
        monkeypatch.setattr(Writer, "__call__", real)
        assert not sampling_tasks._CACHE._values, "what is beside the store isn't in memory as well"
        xappa.to_zarr(analysis(tiny_model, segments=segments), store, chunks={"time": 4})
        assert len(calls) == 2 * count, "two batches of each segment"
        assert {len(members) for members in calls} == {1, 2}
        assert contents(store) == contents(whole)

    def test_a_complete_store_is_left_alone(self, tiny_model, finished, monkeypatch) -> None:
        before = contents(finished)
        monkeypatch.setattr(Writer, "__call__", lambda *args: pytest.fail("written again"))
        xappa.to_zarr(analysis(tiny_model), finished, chunks={"time": 4})
        assert contents(finished) == before

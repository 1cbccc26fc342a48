"""Stores that `xappa.to_zarr` refuses: of another run or process, without permission, without room."""

from __future__ import annotations

import errno
import os
import signal
from collections import namedtuple

import numpy as np
import pytest
import xarray as xr
import zarr

import xappa
from tests.stores import analysis, contents, start, until
from xappa.errors import DatasetError, OptionError, StoreError
from xappa.sampling import sampling_tasks
from xappa.streaming.store import location as stores
from xappa.streaming.store.regions import Writer

pytestmark = pytest.mark.usefixtures("nothing_on_disk")


class TestRefused:
    """Stores that are somebody else's, or cannot be written."""

    def test_another_run(self, tiny_model, tmp_path) -> None:
        store = xappa.to_zarr(analysis(tiny_model, last="2001-03-13T18"), tmp_path / "a.zarr")
        before = contents(store)
        with pytest.raises(DatasetError, match=r"exists; pass overwrite=True.*seed: 0 there, 1 here.*same seed"):
            xappa.to_zarr(analysis(tiny_model, seed=1, last="2001-03-13T18"), store)
        with pytest.raises(StoreError, match="another run"):
            xappa.to_zarr(analysis(tiny_model, last="2001-03-13T18").isel(time=[0]), store)
        assert contents(store) == before
        xappa.to_zarr(analysis(tiny_model, seed=1, last="2001-03-13T18"), store, overwrite=True)
        assert xr.open_zarr(store).attrs["xappa_seed"] == 1

    def test_what_is_no_store(self, tiny_model, tmp_path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "thesis.txt").write_text("all of it")
        with pytest.raises(StoreError, match="exists; pass overwrite=True"):
            xappa.to_zarr(analysis(tiny_model), tmp_path / "a")
        assert (tmp_path / "a" / "thesis.txt").exists()

    @pytest.mark.parametrize("place", ["{}/a.zarr", "memory://refused/a.zarr", zarr.storage.MemoryStore])
    def test_what_the_result_is_read_from(self, tmp_path, place) -> None:
        pytest.importorskip("fsspec", reason="fsspec is not installed: pip install fsspec")
        store = place.format(tmp_path) if isinstance(place, str) else place()
        first = xr.Dataset({"u": ("x", np.arange(3.0))})
        xappa.to_zarr(first, store)
        lazy = xr.open_zarr(store)
        for result in (lazy + 1, lazy.map_blocks(lambda ds: ds + 1), lazy.assign(v=(lazy["u"] + 1).persist())):
            with pytest.raises(StoreError, match="cannot be replaced: .* read from it"):
                xappa.to_zarr(result, store, overwrite=True)
        xr.testing.assert_equal(xr.open_zarr(store).compute(), first)
        for result in (lazy.compute() + 1, xr.open_zarr(store, chunks=None).isel(x=[2, 1])):
            expected = result.copy().compute()
            xappa.to_zarr(result, store, overwrite=True)
            xr.testing.assert_equal(xr.open_zarr(store).compute(), expected)

    def test_what_a_background_is_read_from(self, tiny_model, tmp_path) -> None:
        store = xappa.to_zarr(analysis(tiny_model, last="2001-03-13T18"), tmp_path / "a.zarr")
        (tmp_path / "link").symlink_to(store)
        next_one = analysis(tiny_model, last="2001-03-13T18", seed=1, background=xr.open_zarr(store))
        with pytest.raises(StoreError, match="cannot be replaced"):
            xappa.to_zarr(next_one, tmp_path / "link", overwrite=True)

    @pytest.mark.parametrize(
        ("change", "options", "error", "message"),
        [
            (lambda ds: ds["u"], {}, DatasetError, r"Found a DataArray; expected a Dataset.* analysis\[\['u'\]\]"),
            (lambda ds: ds.to_array().values, {}, DatasetError, "expected a Dataset"),
            (lambda ds: ds.isel(time=slice(0, 0)), {}, DatasetError, "nothing to write: 'time' has no points"),
            (lambda ds: ds.assign_attrs(a={1}), {}, DatasetError, "cannot be stored: .*set"),
            (None, {"store": None}, StoreError, "store=None: expected a folder"),
            (None, {"store": 5}, StoreError, "store=5: expected"),
            (None, {"store": {}}, StoreError, "expected a folder"),
            (None, {"store": b"x"}, StoreError, "expected a folder"),
            (None, {"store": ""}, StoreError, "expected a folder"),
            (None, {"chunks": 4}, OptionError, "to_zarr: chunks=4, expected a mapping or None"),
            (None, {"chunks": "auto"}, OptionError, "chunks='auto', expected a mapping or None"),
            (None, {"encoding": {"u": {"foo": 1}}}, OptionError, "cannot be used: .*foo"),
            (None, {"encoding": {"u": {"dtype": "nope"}}}, OptionError, "'u': 'nope' is no dtype"),
            (None, {"encoding": {"u": {"dtype": "int8", "_FillValue": 1000}}}, OptionError, "cannot be used: .*1000"),
            (None, {"encoding": {"u": "int16"}}, OptionError, "expected one mapping a variable"),
            (None, {"encoding": "int16"}, OptionError, "encoding='int16', expected a mapping"),
        ],
    )
    def test_wrong_arguments_begin_nothing(self, tmp_path, change, options, error, message) -> None:
        ds = xr.Dataset({"u": ("time", np.arange(3.0))}, {"time": np.arange(3).astype("M8[h]").astype("M8[ns]")})
        kept = xappa.to_zarr(ds, tmp_path / "a.zarr")
        for store in ("a.zarr", "b.zarr"):
            arguments = {"store": tmp_path / store, "overwrite": True} | options
            with pytest.raises(error, match=message):
                xappa.to_zarr(change(ds) if change else ds, **arguments)
        assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
        xr.testing.assert_equal(xr.open_zarr(kept).compute(), ds)

    def test_two_processes(self, tiny_model, tmp_path) -> None:
        store = tmp_path / "a.zarr"
        process = start(tiny_model, store)
        until(lambda: (store / "zarr.json").exists(), process)
        process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(StoreError, match="is being written by another process"):
                xappa.to_zarr(analysis(tiny_model), store, chunks={"time": 4})
        finally:
            process.send_signal(signal.SIGCONT)
        assert process.wait(timeout=300) == 0

    def test_no_permission(self, tiny_model, tmp_path, monkeypatch) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setattr(sampling_tasks, "_sample", lambda *args: pytest.fail("sampled"))
        with pytest.raises(StoreError, match="cannot be written"):
            xappa.to_zarr(analysis(tiny_model), tmp_path / "file" / "a.zarr")
        (tmp_path / "closed").mkdir()
        (tmp_path / "closed").chmod(0o500)
        if os.access(tmp_path / "closed", os.W_OK):  # of the superuser
            return
        with pytest.raises(StoreError, match="cannot be written"):
            xappa.to_zarr(analysis(tiny_model), tmp_path / "closed" / "a.zarr")

    def test_no_room_at_the_start(self, tiny_model, tmp_path, monkeypatch) -> None:
        self._disk(monkeypatch, [1000])
        monkeypatch.setattr(sampling_tasks, "_sample", lambda *args: pytest.fail("sampled"))
        with pytest.raises(StoreError, match="even compressed they have no room"):
            xappa.to_zarr(analysis(tiny_model, seed=5), tmp_path / "a.zarr")

    def test_no_room_for_the_rest(self, tiny_model, finished, tmp_path, monkeypatch) -> None:
        """The first regions tell how large they are on the disk."""
        self._disk(monkeypatch, [10_000_000, 10_000_000, 60_000])
        with pytest.raises(StoreError, match="still to be written"):
            xappa.to_zarr(analysis(tiny_model), tmp_path / "a.zarr", chunks={"time": 4})
        monkeypatch.undo()
        xappa.to_zarr(analysis(tiny_model), tmp_path / "a.zarr", chunks={"time": 4})
        assert contents(tmp_path / "a.zarr") == contents(finished)

    def test_a_disk_that_fills_up(self, tiny_model, finished, tmp_path, monkeypatch) -> None:
        count, real = [], Writer.__call__

        def fail(self, region, values):
            count.append(region)
            if len(count) > 5:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(self, region, values)

        monkeypatch.setattr(Writer, "__call__", fail)
        with pytest.raises(StoreError, match="make room, and call again"):
            xappa.to_zarr(analysis(tiny_model), tmp_path / "a.zarr", chunks={"time": 4})
        monkeypatch.undo()
        xappa.to_zarr(analysis(tiny_model), tmp_path / "a.zarr", chunks={"time": 4})
        assert contents(tmp_path / "a.zarr") == contents(finished)

    def _disk(self, monkeypatch, free: list[int]) -> None:
        usage = namedtuple("usage", "total used free")
        left = list(free)
        monkeypatch.setattr(stores.shutil, "disk_usage", lambda path: usage(0, 0, left.pop(0) if left[1:] else left[0]))

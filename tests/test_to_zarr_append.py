"""Appending to a store: next week beside this one, visible at once, continued where it was interrupted."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

import xappa
from tests.stores import analysis, contents
from xappa.errors import DatasetError, OptionError, StoreError
from xappa.streaming.store.regions import Writer

pytestmark = pytest.mark.usefixtures("nothing_on_disk")


def plain(first: int, count: int, members: int = 2) -> xr.Dataset:
    """Fields without any model, one number for each value."""
    shape = (members, count, 3, 4)
    time = pd.date_range("2020-01-01", periods=first + count, freq="6h")[first:]
    values = np.arange(np.prod(shape), dtype="f4").reshape(shape) + 1000 * first
    return xr.Dataset(
        {
            "t": (("member", "time", "latitude", "longitude"), values, {"units": "K"}),
            "s": (("time",), np.arange(count) + first),
            "land": (("latitude", "longitude"), np.eye(3, 4)),
        },
        coords={
            "member": ("member", np.arange(members), {"standard_name": "realization"}),
            "time": time,
            "latitude": [10.0, 0, -10],
            "longitude": [0.0, 10, 20, 30],
            "lead_time": ("time", np.arange(count).astype("m8[h]").astype("m8[ns]")),
        },
    )


def joined(*parts: xr.Dataset) -> xr.Dataset:
    return xr.concat(parts, "time", data_vars="minimal", coords="minimal", compat="override", join="exact")


class TestAppended:
    """The store holds both, bit by bit, as if it had been written at once."""

    @pytest.mark.parametrize("chunk", [None, 1, 2, 3, 4, 7])
    @pytest.mark.parametrize("lazy", [True, False])
    def test_at_any_place_in_a_chunk(self, tmp_path, chunk, lazy) -> None:
        parts = [plain(0, 5), plain(5, 4), plain(9, 1)]
        for number, part in enumerate(parts):
            part = part.chunk(time=1, member=1) if lazy else part
            chunks = None if number or chunk is None else {"time": chunk}
            store = xappa.to_zarr(part, tmp_path / "a.zarr", chunks=chunks, append_dim="time")
        for consolidated in (True, False):
            with xr.open_zarr(store, consolidated=consolidated, decode_timedelta=True) as found:
                xr.testing.assert_equal(found.load(), joined(*parts))
        assert not store.with_name("a.zarr.xappa").exists()
        appended = json.loads(zarr.open_group(store).attrs["xappa_appended"])
        assert [entry["length"] for entry in appended] == [4, 1]

    def test_analyses_with_their_diagnostics(self, tiny_model, tmp_path) -> None:
        whole = analysis(tiny_model, last="2001-03-15T18")
        first, second = whole.isel(time=slice(0, 9)), whole.isel(time=slice(9, None))
        store = xappa.to_zarr(first, tmp_path / "a.zarr")
        xappa.to_zarr(second, store, append_dim="time")
        xr.testing.assert_equal(xr.open_zarr(store).compute(), whole.compute())
        learned = xr.open_zarr(store, group="diagnostics_1")
        assert learned.sizes["member"] == 3 and "chi_squared" in learned
        assert "diagnostics" in zarr.open_group(store)

    def test_the_same_call_again_changes_nothing(self, tmp_path) -> None:
        for part in (plain(0, 5), plain(5, 4)):
            store = xappa.to_zarr(part, tmp_path / "a.zarr", append_dim="time")
        before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
        xappa.to_zarr(plain(5, 4), store, append_dim="time")
        xappa.to_zarr(plain(0, 5), store)
        assert before == {path: path.stat().st_mtime_ns for path in store.rglob("*")}

    def test_the_encoding_of_the_store_is_kept(self, tmp_path) -> None:
        packing = {"t": {"dtype": "int16", "scale_factor": 0.25, "add_offset": 4000.0}}
        store = xappa.to_zarr(plain(0, 5), tmp_path / "a.zarr", encoding=packing)
        xappa.to_zarr(plain(5, 4), store, append_dim="time")
        assert zarr.open_group(store)["t"].dtype == np.int16
        np.testing.assert_array_equal(xr.open_zarr(store)["t"], joined(plain(0, 5), plain(5, 4))["t"])
        with pytest.raises(OptionError, match="scale_factor=0.25"):
            xappa.to_zarr(plain(50, 4), store, append_dim="time")
        np.testing.assert_array_equal(xr.open_zarr(store)["t"], joined(plain(0, 5), plain(5, 4))["t"])

    def test_along_members_and_to_a_store_of_xarrays(self, tmp_path) -> None:
        more = plain(0, 5).assign_coords(member=[2, 3])
        plain(0, 5).chunk(time=2, member=1).to_zarr(tmp_path / "a.zarr", zarr_format=3)
        xappa.to_zarr(more, tmp_path / "a.zarr", append_dim="member")
        assert xr.open_zarr(tmp_path / "a.zarr").member.values.tolist() == [0, 1, 2, 3]

    @pytest.mark.parametrize("where", ["memory", "fsspec"])
    def test_in_stores_that_are_no_folders(self, where) -> None:
        store = zarr.storage.MemoryStore() if where == "memory" else "memory://appended/a.zarr"
        for part in (plain(0, 5), plain(5, 4)):
            xappa.to_zarr(part, store, append_dim="time")
        with xr.open_zarr(store, decode_timedelta=True) as found:
            xr.testing.assert_equal(found.load(), joined(plain(0, 5), plain(5, 4)))

    def test_latents_stay_in_half_precision(self, tmp_path) -> None:
        nature = xappa.tutorial.nature_run().load()
        latents = nature.appa.encode()
        store = xappa.to_zarr(latents.isel(time=slice(0, 5)), tmp_path / "l.zarr")
        xappa.to_zarr(latents.isel(time=slice(5, 8)), store, append_dim="time")
        assert zarr.open_group(store)["latent"].dtype == np.float16
        np.testing.assert_array_equal(xr.open_zarr(store)["latent"], latents["latent"])


class TestInterrupted:
    """Until the end readers see the store as it was; afterwards the same call goes on."""

    @pytest.mark.parametrize("chunk", [2, 5])
    @pytest.mark.parametrize("after", [0, 1, 3])
    def test_after_some_regions(self, tmp_path, monkeypatch, chunk, after) -> None:
        store = xappa.to_zarr(plain(0, 5), tmp_path / "a.zarr", chunks={"time": chunk})
        monkeypatch.setattr("xappa.streaming.store.encoding.TIMES", 1)
        self.fail_after(monkeypatch, after, lambda: xappa.to_zarr(plain(5, 6), store, append_dim="time"))
        for consolidated in (True, False):
            with xr.open_zarr(store, consolidated=consolidated, decode_timedelta=True) as found:
                xr.testing.assert_equal(found.load(), plain(0, 5))
        written = []
        call = Writer.__call__
        monkeypatch.setattr(Writer, "__call__", lambda *args: written.append(args[1]) or call(*args))
        xappa.to_zarr(plain(5, 6), store, append_dim="time")
        with xr.open_zarr(store, decode_timedelta=True) as found:
            xr.testing.assert_equal(found.load(), joined(plain(0, 5), plain(5, 6)))
        regions = 2 * -(-(5 % chunk + 6) // chunk)
        assert regions - after <= len(written) <= regions - max(after - 2, 0), "what was there was not written again"

    def test_while_it_becomes_visible(self, tmp_path, monkeypatch) -> None:
        store = xappa.to_zarr(plain(0, 5), tmp_path / "a.zarr", chunks={"time": 2})
        monkeypatch.setattr("xappa.streaming.store.zarr.consolidate", self.killed)
        with pytest.raises(KeyboardInterrupt):
            xappa.to_zarr(plain(5, 6), store, append_dim="time")
        monkeypatch.undo()
        xappa.to_zarr(plain(5, 6), store, append_dim="time")
        with xr.open_zarr(store, decode_timedelta=True) as found:
            xr.testing.assert_equal(found.load(), joined(plain(0, 5), plain(5, 6)))

    def test_by_another_result_it_is_taken_back(self, tmp_path, monkeypatch) -> None:
        store = xappa.to_zarr(plain(0, 5), tmp_path / "a.zarr", chunks={"time": 2})
        with monkeypatch.context() as patch:
            patch.setattr("xappa.streaming.store.encoding.TIMES", 1)
            other = plain(5, 9).assign(s=("time", np.zeros(9, int)))
            self.fail_after(patch, 5, lambda: xappa.to_zarr(other, store, append_dim="time"))
        xappa.to_zarr(plain(5, 3), store, append_dim="time")
        with xr.open_zarr(store, decode_timedelta=True) as found:
            xr.testing.assert_equal(found.load(), joined(plain(0, 5), plain(5, 3)))
        xappa.to_zarr(plain(8, 3), store, append_dim="time")
        with xr.open_zarr(store, decode_timedelta=True) as found:
            xr.testing.assert_equal(found.load(), joined(plain(0, 5), plain(5, 3), plain(8, 3)))

    @staticmethod
    def killed(*args: object) -> None:
        raise KeyboardInterrupt

    @staticmethod
    def fail_after(monkeypatch: pytest.MonkeyPatch, count: int, run: object) -> None:
        """Interrupt `run` once so many regions are written."""
        call, done = Writer.__call__, []

        def counted(*args):
            if len(done) >= count:
                raise KeyboardInterrupt
            done.append(args)
            return call(*args)

        import dask

        with monkeypatch.context() as patch, dask.config.set(scheduler="synchronous"):
            patch.setattr(Writer, "__call__", counted)
            patch.setattr("xappa.streaming.store.writing.MOST", 1)
            with pytest.raises(KeyboardInterrupt):
                run()


class TestDamaged:
    """What the disk lost is written again by the call that wrote it, or told where another one's values are lost."""

    @pytest.fixture
    def store(self, tmp_path) -> Path:
        for part in (plain(0, 5), plain(5, 4), plain(9, 3)):
            store = xappa.to_zarr(part, tmp_path / "a.zarr", append_dim="time")
        return store

    @pytest.mark.parametrize(("first", "count"), [(0, 5), (5, 4), (9, 3)])
    @pytest.mark.parametrize("harm", [b"", b"\0" * 20])
    def test_by_the_same_call(self, store, first, count, harm, caplog) -> None:
        before = contents(store)
        (store / "t" / "c" / "1" / str(first + 1) / "0" / "0").write_bytes(harm)
        xappa.to_zarr(plain(first, count), store, append_dim="time")
        assert contents(store) == before
        assert "regions were damaged, and are written again" in caplog.text
        assert not store.with_name("a.zarr.xappa").exists()

    def test_before_an_append_goes_on(self, tmp_path, monkeypatch, caplog) -> None:
        store = xappa.to_zarr(plain(0, 5), tmp_path / "a.zarr")
        with monkeypatch.context() as patch:
            patch.setattr("xappa.streaming.store.encoding.TIMES", 1)
            TestInterrupted.fail_after(patch, 4, lambda: xappa.to_zarr(plain(5, 4), store, append_dim="time"))
        (file, *_) = sorted(store.glob("t/c/0/5/*/*"))
        file.write_bytes(b"")
        xappa.to_zarr(plain(5, 4), store, append_dim="time")
        with xr.open_zarr(store, decode_timedelta=True) as found:
            xr.testing.assert_equal(found.load(), joined(plain(0, 5), plain(5, 4)))

    @pytest.mark.parametrize("first", [0, 5])
    def test_a_chunk_of_two_calls(self, tmp_path, first) -> None:
        for number, part in enumerate((plain(0, 5), plain(5, 4))):
            chunks = None if number else {"time": 2}
            store = xappa.to_zarr(part, tmp_path / "a.zarr", chunks=chunks, append_dim="time")
        (store / "t" / "c" / "0" / "2" / "0" / "0").write_bytes(b"")
        chunks = {"time": 2} if first == 0 else None
        with pytest.raises(StoreError, match="'t' is damaged from 'time' 4 on.*overwrite=True"):
            xappa.to_zarr(plain(first, 5 - first // 5), store, chunks=chunks, append_dim="time")

    def test_the_last_chunk_before_it_is_filled_up(self, tmp_path) -> None:
        store = xappa.to_zarr(plain(0, 5), tmp_path / "a.zarr", chunks={"time": 2})
        (store / "t" / "c" / "1" / "2" / "0" / "0").write_bytes(b"")
        with pytest.raises(StoreError, match="'t' is damaged from 'time' 4 on"):
            xappa.to_zarr(plain(5, 4), store, append_dim="time")
        xappa.to_zarr(plain(0, 5), store, chunks={"time": 2})
        xappa.to_zarr(plain(5, 4), store, append_dim="time")
        with xr.open_zarr(store, decode_timedelta=True) as found:
            xr.testing.assert_equal(found.load(), joined(plain(0, 5), plain(5, 4)))

    def test_coordinates_and_metadata(self, store) -> None:
        before = (store / "time" / "c" / "0").read_bytes()
        (store / "time" / "c" / "0").write_bytes(b"")
        with pytest.raises(StoreError, match="coordinate 'time' is damaged, so that nothing can be appended"):
            xappa.to_zarr(plain(12, 2), store, append_dim="time")
        with pytest.raises(StoreError, match="coordinate 'time' is damaged, and other calls have appended"):
            xappa.to_zarr(plain(0, 5), store)
        (store / "time" / "c" / "0").write_bytes(before)
        (store / "t" / "zarr.json").write_text("{")
        with pytest.raises(StoreError, match="t/zarr.json is damaged"):
            xappa.to_zarr(plain(12, 2), store, append_dim="time")


class TestRefused:
    """What does not continue a store leaves it as it is."""

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda ds: plain(3, 5), "'time' goes from 2020-01-01T18.*expected later than 2020-01-02T00"),
            (lambda ds: ds.drop_vars("s"), "no 's'"),
            (lambda ds: ds.assign(t2=ds.t), "found 't2'"),
            (lambda ds: ds.isel(latitude=[0, 1]), "'latitude' differs; expected 3 values from 10.0 to -10.0"),
            (lambda ds: ds.isel(member=[0]), "'member' differs"),
            (lambda ds: ds.assign(t=ds.t.assign_attrs(units="degC")), "units 'degC'; expected 'K'"),
            (lambda ds: ds.assign(land=ds.land * 0), "'land', which has no 'time', has other values"),
            (lambda ds: ds.drop_vars("lead_time"), "'lead_time' is missing in the Dataset"),
            (lambda ds: ds.assign_attrs(xappa_model_digest="another"), "from the model another"),
            (
                lambda ds: ds.assign_coords(time=ds.time + np.timedelta64(17, "m")),
                "keeps 'time' in 'hours since 1970.*cannot hold these",
            ),
        ],
    )
    def test_what_does_not_fit(self, tmp_path, change, message) -> None:
        store = xappa.to_zarr(plain(0, 5), tmp_path / "a.zarr")
        with pytest.raises(DatasetError, match=message):
            xappa.to_zarr(change(plain(5, 5)), store, append_dim="time")
        with xr.open_zarr(store, decode_timedelta=True) as found:
            xr.testing.assert_equal(found.load(), plain(0, 5))
        xappa.to_zarr(plain(5, 5), store, append_dim="time")
        assert xr.open_zarr(store).sizes["time"] == 10

    def test_options(self, tmp_path) -> None:
        store = xappa.to_zarr(plain(0, 5), tmp_path / "a.zarr")
        with pytest.raises(OptionError, match="continued or replaced"):
            xappa.to_zarr(plain(5, 5), store, append_dim="time", overwrite=True)
        with pytest.raises(OptionError, match="keeps its own"):
            xappa.to_zarr(plain(5, 5), store, append_dim="time", chunks={"time": 2})
        with pytest.raises(OptionError, match="append_dim='latitude'; expected one of 'member', 'time'"):
            xappa.to_zarr(plain(5, 5), store, append_dim="latitude")

    def test_stores_that_are_none(self, tmp_path) -> None:
        (tmp_path / "a.zarr").mkdir()
        (tmp_path / "a.zarr" / "file").touch()
        with pytest.raises(StoreError, match="no Zarr group of format 3"):
            xappa.to_zarr(plain(5, 5), tmp_path / "a.zarr", append_dim="time")

    def test_stores_that_are_not_complete(self, tmp_path, monkeypatch) -> None:
        TestInterrupted.fail_after(monkeypatch, 0, lambda: xappa.to_zarr(plain(0, 5), tmp_path / "a.zarr"))
        with pytest.raises(StoreError, match="not complete"):
            xappa.to_zarr(plain(5, 5), tmp_path / "a.zarr", append_dim="time")


class TestXarraysOwn:
    """Chunks of a store are those of the result, so that xarray can append the next one."""

    def test_lazy_and_in_memory(self, tiny_model, tmp_path) -> None:
        whole = analysis(tiny_model, last="2001-03-15T18")
        expected = whole.compute()
        first, second = whole.isel(time=slice(0, 9)), whole.isel(time=slice(9, None))
        for number, (one, other) in enumerate([(first, second), (first.compute(), second), (first, second.compute())]):
            store = xappa.to_zarr(one, tmp_path / f"{number}.zarr")
            assert zarr.open_group(store)["temperature"].chunks[:2] == (1, 1)
            other.to_zarr(store, append_dim="time")
            xr.testing.assert_equal(xr.open_zarr(store).compute(), expected)

    def test_larger_chunks_of_a_result_are_those_of_its_store(self, tiny_model, tmp_path) -> None:
        whole = analysis(tiny_model, last="2001-03-15T18", chunks={"time": 4, "member": 2})
        first, second = whole.isel(time=slice(0, 8)), whole.isel(time=slice(8, None))
        store = xappa.to_zarr(first, tmp_path / "a.zarr")
        assert zarr.open_group(store)["temperature"].chunks[:2] == (1, 4)
        second.to_zarr(store, append_dim="time")
        xr.testing.assert_equal(xr.open_zarr(store).compute(), whole.compute())
        odd = xappa.to_zarr(whole.isel(time=slice(0, 7)), tmp_path / "b.zarr")
        assert zarr.open_group(odd)["temperature"].chunks[:2] == (1, 1)


def test_a_path_is_returned(tmp_path: Path) -> None:
    assert xappa.to_zarr(plain(0, 2), str(tmp_path / "a.zarr"), append_dim="time") == tmp_path / "a.zarr"

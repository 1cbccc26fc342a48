"""`xappa.to_zarr`: layout, resuming after kills, refusals, other places than the local disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from tqdm import tqdm

import xappa
from xappa.errors import DatasetError, OptionError, StoreError
from xappa.segments import Chain, Independent
from xappa.streaming import sampling
from xappa.streaming.store import encoding
from xappa.streaming.store import places as stores
from xappa.streaming.store.places import place_of
from xappa.streaming.store.progress import watched
from xappa.streaming.store.regions import Writer

pytestmark = pytest.mark.usefixtures("nothing_on_disk")

ROOT = Path(__file__).resolve().parents[1]


def analysis(model: Path, steps: int = 2, seed: int = 0, last: str = "2001-03-17T18", **options) -> xr.Dataset:
    times = pd.date_range("2001-03-13", periods=6, freq="12h")
    obs = pd.DataFrame({"time": times, "lat": 10.0, "lon": 5.0, "variable": "2m_temperature", "observation": 287.0})
    ds = xappa.template("2001-03-13T00", last, model=model)
    settings = {"model": model, "members": 3, "seed": seed, "steps": steps, "sampler": "lms"}
    settings |= {"segments": Independent(4, 2), "chunks": {"member": 2}}
    return ds.appa.assimilate(obs, error={"2m_temperature": 1.0}, **(settings | options))


def contents(store: Path) -> dict[str, str]:
    """Hashes of the files, but for the seconds that it took."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file() and "seconds" not in path.parts
    }


@pytest.fixture(scope="module")
def finished(tiny_model, tmp_path_factory) -> Path:
    """A store that was written without interruption."""
    return xappa.to_zarr(analysis(tiny_model), tmp_path_factory.mktemp("store") / "a.zarr", chunks={"time": 4})


class TestLayout:
    """What a store holds."""

    def test_values_labels_and_diagnostics(self, finished, tiny_model) -> None:
        expected = analysis(tiny_model).compute()
        stored = xr.open_zarr(finished)  # without a warning: metadata are consolidated
        xr.testing.assert_equal(stored.compute(), expected)
        assert stored["temperature"].attrs == expected["temperature"].attrs
        assert stored["member"].attrs["standard_name"] == "realization"
        assert {k: v for k, v in stored.attrs.items() if k != "xappa_store"} == expected.attrs
        assert stored["temperature"].encoding["chunks"] == (1, 4, 2, 8, 16)
        learned = xr.open_zarr(finished, group="diagnostics")
        assert learned.sizes["member"] == 3
        assert int(learned["reports"].sel(variable="2m_temperature", status="good")) == 6
        assert np.isfinite(learned["chi_squared"]).all()
        assert not finished.with_name("a.zarr.xappa").exists()

    def test_metadata(self, finished) -> None:
        meta = json.loads((finished / "temperature" / "zarr.json").read_text())
        assert meta["zarr_format"] == 3
        assert meta["fill_value"] == "NaN"
        assert [codec["name"] for codec in meta["codecs"]] == ["bytes", "zstd"]
        times = json.loads((finished / "time" / "zarr.json").read_text())["attributes"]
        assert times["units"].startswith("hours since 1970-01-01")
        assert times["standard_name"] == "time"

    def test_chunks_by_size(self) -> None:
        def fields(levels: int, height: int, width: int) -> xr.Dataset:
            shape = (2, 100, levels, height, width)
            data = xr.Variable(
                ("member", "time", "level", "latitude", "longitude"), np.broadcast_to(np.float32(0), shape)
            )
            surface = data.isel(level=0)
            return xr.Dataset({"t": data, "s": surface}, {"time": np.arange(100).astype("M8[h]").astype("M8[ns]")})

        small = fields(8, 48, 96)
        sizes = encoding.layout(small)
        assert sizes == {"member": 1, "time": 27, "level": 8, "latitude": 48, "longitude": 96}
        assert encoding.encodings(small, sizes, None)["t"]["chunks"] == (1, 27, 8, 48, 96)
        large = fields(13, 721, 1440)
        sizes = encoding.layout(large)
        assert sizes["time"] == 1
        one = encoding.encodings(large, sizes, None)
        assert one["t"]["shards"] == (1, 1, 13, 721, 1440)
        assert one["t"]["chunks"] == (1, 1, 1, 721, 1440)
        assert one["s"]["chunks"] == (1, 1, 721, 1440)
        split = encoding.layout(large, {"latitude": 100, "time": -1})
        assert (split["latitude"], split["time"]) == (100, 100)

    @pytest.mark.parametrize("chunks", [{"times": 4}, {"time": 0}, {"time": 1.5}, {"time": True, "latitude": -2}])
    def test_chunks_that_cannot_be_honoured(self, tiny_model, tmp_path, chunks) -> None:
        with pytest.raises(OptionError, match="cannot be honoured"):
            xappa.to_zarr(analysis(tiny_model), tmp_path / "a.zarr", chunks=chunks)
        assert not list(tmp_path.iterdir())

    def test_chunks_that_do_not_fit_into_memory(self, tiny_model, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr("xappa.streaming.store.zarr._memory", lambda: 1e5)
        with pytest.raises(OptionError, match=r"time': 20.*use fewer times"):
            xappa.to_zarr(analysis(tiny_model), tmp_path / "a.zarr", chunks={"time": -1})

    def test_encodings_and_split_fields(self, tiny_model, tmp_path) -> None:
        found = analysis(tiny_model, last="2001-03-13T18")
        packing = {"temperature": {"dtype": "int16", "scale_factor": 0.01, "add_offset": 250.0, "_FillValue": -32768}}
        store = xappa.to_zarr(found, tmp_path / "a.zarr", encoding=packing, chunks={"latitude": 3})
        stored = xr.open_zarr(store)
        np.testing.assert_allclose(stored["temperature"], found["temperature"], atol=0.006)
        assert stored["2m_temperature"].encoding["chunks"][-2:] == (3, 16)
        np.testing.assert_array_equal(stored["2m_temperature"], found["2m_temperature"])
        with pytest.raises(OptionError, match=r"'t': no such variable; 'temperature': chunks and shards"):
            xappa.to_zarr(found, tmp_path / "b.zarr", encoding={"t": {}, "temperature": {"chunks": (1,)}})

    def test_what_was_computed_from_a_result(self, tiny_model, tmp_path) -> None:
        found = analysis(tiny_model)
        mixed = found[["temperature"]].mean("member").assign(static=found["2m_temperature"].isel(time=0, member=0))
        store = xappa.to_zarr(mixed.drop_vars("member", errors="ignore"), tmp_path / "a.zarr")
        np.testing.assert_allclose(xr.open_zarr(store)["temperature"], mixed["temperature"], rtol=1e-6)
        np.testing.assert_array_equal(xr.open_zarr(store)["static"], mixed["static"])
        memory = xr.Dataset({"a": ("x", np.arange(3.0))})
        xr.testing.assert_equal(xr.open_zarr(xappa.to_zarr(memory, tmp_path / "b.zarr")).compute(), memory)

    def test_netcdf(self, tiny_model, tmp_path) -> None:
        found = analysis(tiny_model, last="2001-03-13T18")
        found.to_netcdf(tmp_path / "a.nc")
        with xr.open_dataset(tmp_path / "a.nc") as stored:
            xr.testing.assert_allclose(stored.load(), found.compute())

    def test_an_empty_chunk_counts_as_written(self, tiny_model, tmp_path, monkeypatch) -> None:
        """Where all is missing a file is written nevertheless, or the region would be computed again and again."""
        found = analysis(tiny_model, last="2001-03-13T18") * np.float32("nan")
        store = xappa.to_zarr(found, tmp_path / "a.zarr")
        assert (store / "temperature" / "c" / "2").is_dir()


PROGRAM = """
import sys
from tests.test_to_zarr import analysis
import xappa
found = analysis(sys.argv[1])
print("planned", flush=True)
xappa.to_zarr(found, sys.argv[2], chunks={"time": 4})
print("done", flush=True)
"""


def start(model: Path, store: Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROGRAM, str(model), str(store)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def chunks_of(store: Path) -> list[Path]:
    return [
        path for path in store.rglob("*") if path.is_file() and "c" in path.parts and "diagnostics" not in path.parts
    ]


def until(condition, process: subprocess.Popen) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < end
        time.sleep(0.002)


class TestKilled:
    """Real processes, really killed."""

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
        calls, sampled = [], sampling._sample
        whole = xappa.to_zarr(analysis(tiny_model, segments=segments), tmp_path / "whole.zarr", chunks={"time": 4})
        monkeypatch.setattr(sampling, "_sample", lambda *args: calls.append(args[1]) or sampled(*args))
        written = []

        def fail(self, region, values):
            written.append(region)
            if len(written) > 8:
                raise KeyboardInterrupt
            return real(self, region, values)

        real = Writer.__call__
        monkeypatch.setattr(Writer, "__call__", fail)
        store = tmp_path / "a.zarr"
        with pytest.raises(KeyboardInterrupt):
            xappa.to_zarr(analysis(tiny_model, segments=segments), store, chunks={"time": 4})
        before = len(calls)
        assert 2 <= before == len(list(store.with_name("a.zarr.xappa").glob("*.npz")))
        monkeypatch.setattr(Writer, "__call__", real)
        assert not sampling._CACHE._values, "what is beside the store isn't in memory as well"
        xappa.to_zarr(analysis(tiny_model, segments=segments), store, chunks={"time": 4})
        assert len(calls) == 2 * count, "two batches of each segment"
        assert {len(members) for members in calls} == {1, 2}
        assert contents(store) == contents(whole)

    def test_a_complete_store_is_left_alone(self, tiny_model, finished, monkeypatch) -> None:
        before = contents(finished)
        monkeypatch.setattr(Writer, "__call__", lambda *args: pytest.fail("written again"))
        xappa.to_zarr(analysis(tiny_model), finished, chunks={"time": 4})
        assert contents(finished) == before


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
        monkeypatch.setattr(sampling, "_sample", lambda *args: pytest.fail("sampled"))
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
        monkeypatch.setattr(sampling, "_sample", lambda *args: pytest.fail("sampled"))
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


class TestElsewhere:
    """Stores that are no folders."""

    def test_an_address(self, tiny_model, finished) -> None:
        fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: pip install fsspec")
        system = fsspec.filesystem("memory")
        found = analysis(tiny_model)
        assert xappa.to_zarr(found, "memory://runs/a.zarr", chunks={"time": 4}) == "memory://runs/a.zarr"
        there = {p.removeprefix("/runs/a.zarr/"): system.cat_file(p) for p in system.find("/runs/a.zarr")}
        expected = contents(finished)
        assert {k: hashlib.sha256(v).hexdigest() for k, v in there.items() if "seconds" not in k} == expected
        assert not system.exists("/runs/a.zarr.xappa")

    def test_an_address_is_continued_and_held(self, tiny_model, monkeypatch) -> None:
        fsspec = pytest.importorskip("fsspec", reason="fsspec is not installed: pip install fsspec")
        found, address = analysis(tiny_model, last="2001-03-14T18"), "memory://runs/b.zarr"
        count, real = [], Writer.__call__

        def fail(self, region, values):
            count.append(region)
            if len(count) == 3:
                raise OSError("the network is gone")
            return real(self, region, values)

        monkeypatch.setattr(Writer, "__call__", fail)
        with pytest.raises(StoreError, match="call again"):
            xappa.to_zarr(found, address, chunks={"time": 2})
        assert any(p.endswith(".npz") for p in fsspec.filesystem("memory").find("/runs/b.zarr.xappa"))
        monkeypatch.setattr(Writer, "__call__", real)
        with (
            place_of(address).held(),
            pytest.raises(StoreError, match="is being written by another process"),
        ):
            xappa.to_zarr(found, address, chunks={"time": 2})
        xappa.to_zarr(found, address, chunks={"time": 2})
        xr.testing.assert_equal(xr.open_zarr(address).compute(), found.compute())

    def test_a_dead_lease_is_over(self, monkeypatch) -> None:
        pytest.importorskip("fsspec", reason="fsspec is not installed: pip install fsspec")
        place = place_of("memory://runs/c.zarr")
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        lease = {"id": "x", "host": stores.socket.gethostname(), "process": dead.pid, "time": time.time()}
        place.beside.write("lease.json", json.dumps(lease).encode())
        with place.held():
            pass
        place.beside.write("lease.json", json.dumps(lease | {"host": "elsewhere"}).encode())
        with pytest.raises(StoreError), place.held():
            pass
        place.beside.write("lease.json", json.dumps(lease | {"host": "elsewhere", "time": time.time() - 601}).encode())
        with place.held():
            pass

    def test_a_store_of_zarr(self, tiny_model) -> None:
        found = analysis(tiny_model, last="2001-03-13T18")
        store = zarr.storage.MemoryStore()
        assert xappa.to_zarr(found, store) is store
        xr.testing.assert_equal(xr.open_zarr(store).compute(), found.compute())
        assert not any(key.startswith(".xappa") for key in store._store_dict)

    def test_obstore(self, tiny_model, tmp_path) -> None:
        obstore = pytest.importorskip("obstore.store", reason="obstore is not installed: pip install obstore")
        found = analysis(tiny_model, last="2001-03-13T18")
        store = zarr.storage.ObjectStore(obstore.LocalStore(tmp_path))
        xappa.to_zarr(found, store)
        xr.testing.assert_equal(xr.open_zarr(store).compute(), found.compute())
        assert not any(path.is_file() for path in (tmp_path / ".xappa").rglob("*"))

    def test_a_local_store_of_zarr(self, tiny_model, finished, tmp_path) -> None:
        store = zarr.storage.LocalStore(tmp_path / "a.zarr")
        assert xappa.to_zarr(analysis(tiny_model), store, chunks={"time": 4}) == tmp_path / "a.zarr"
        assert contents(tmp_path / "a.zarr") == contents(finished)

    def test_half_written_files_are_removed(self, tiny_model, finished, tmp_path) -> None:
        shutil.copytree(finished, tmp_path / "a.zarr")
        meta = json.loads((tmp_path / "a.zarr" / "zarr.json").read_text())
        meta["attributes"]["xappa_unfinished"] = "regions are still to come"
        (tmp_path / "a.zarr" / "zarr.json").write_text(json.dumps(meta))
        (tmp_path / "a.zarr" / "temperature" / "c" / "0.abc.partial").write_text("half")
        (tmp_path / "a.zarr" / "temperature" / "c" / "1" / "0" / "0" / "0" / "0").unlink()
        xappa.to_zarr(analysis(tiny_model), tmp_path / "a.zarr", chunks={"time": 4})
        assert contents(tmp_path / "a.zarr") == contents(finished)


class TestTasksInHand:
    """The second line, with a distributed client."""

    @pytest.fixture
    def client(self):
        distributed = pytest.importorskip(
            "distributed", reason="distributed is not installed: pip install 'xappa[distributed]'"
        )
        with (
            distributed.LocalCluster(
                n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None, memory_limit=0
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client

    @pytest.fixture
    def listening(self, client, monkeypatch) -> list:
        """What has listened to the scheduler; sampling waits until it has drawn."""
        from xappa.streaming.store import in_hand

        drawn, made, begun = threading.Event(), [], in_hand._Progress.__init__
        draw, sampled = in_hand.InHand.draw, sampling._sample
        monkeypatch.setattr(in_hand._Progress, "__init__", lambda self, *a: made.append(self) or begun(self, *a))
        monkeypatch.setattr(in_hand.InHand, "draw", lambda self, *counts: draw(self, *counts) or drawn.set())
        monkeypatch.setattr(sampling, "_sample", lambda *args: drawn.wait(60) and sampled(*args))
        sampling._CACHE.clear()
        return made

    def test_it_is_shown_and_leaves_nothing_behind(self, client, listening, tiny_model, tmp_path, capsys) -> None:
        found = analysis(tiny_model, last="2001-03-13T18")
        threads = {thread.name for thread in threading.enumerate()}
        xappa.to_zarr(found, tmp_path / "a.zarr", chunks={"time": 1}, progress=True)
        shown = capsys.readouterr().err
        assert re.search(r"writing a.zarr: 100%.* 12/12 \[", shown)
        assert re.search(r"writing a.zarr: +[1-9]\d?%.*<\d\d:\d\d", shown), "the time left"
        assert re.search(r"tasks in hand: .*/\d+ \[00:0\d, sampling 0/\d, decoding 0/\d\]", shown)
        self._require_nothing_left(client, listening)
        more = {thread.name for thread in threading.enumerate()} - threads
        assert not [name for name in more if "progress" in name.lower() or "tqdm" in name.lower()]

    def test_it_goes_when_a_task_fails(self, client, listening, tiny_model, tmp_path, monkeypatch) -> None:
        def fail(*args):
            raise ValueError("a region that cannot be written")

        monkeypatch.setattr(Writer, "__call__", fail)
        with pytest.raises(ValueError, match="cannot be written"):
            xappa.to_zarr(analysis(tiny_model, last="2001-03-13T18"), tmp_path / "a.zarr", progress=True)
        self._require_nothing_left(client, listening)

    def _require_nothing_left(self, client, listening) -> None:
        assert listening
        assert all(progress.comm.closed() for progress in listening)
        assert not [bar for bar in tqdm._instances if not bar.disable]
        end = time.monotonic() + 30
        while plugins := [name for name in client.cluster.scheduler.plugins if "progress" in name]:
            assert time.monotonic() < end, plugins
            time.sleep(0.05)

    def test_it_is_not_shown_unasked(self, client, tiny_model, tmp_path, capsys, monkeypatch) -> None:
        from xappa.streaming.store import in_hand

        monkeypatch.setattr(in_hand, "InHand", lambda client: pytest.fail("it listens"))
        xappa.to_zarr(analysis(tiny_model, last="2001-03-13T18"), tmp_path / "a.zarr", progress=False)
        assert capsys.readouterr().err == ""

    def test_workers_show_no_bars_of_their_own(self, client, monkeypatch) -> None:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        assert watched()
        assert not client.submit(watched).result()


def test_the_bar_shows_the_time_left(tiny_model, tmp_path, capsys) -> None:
    found = analysis(tiny_model, last="2001-03-13T18")
    xappa.to_zarr(found, tmp_path / "a.zarr", chunks={"time": 1}, progress=True)
    shown = capsys.readouterr().err
    assert "writing a.zarr" in shown
    assert "12/12" in shown
    xappa.to_zarr(analysis(tiny_model, seed=1, last="2001-03-13T18"), tmp_path / "b.zarr", progress=False)
    assert capsys.readouterr().err == ""

"""Stores of `xappa.to_zarr` that are no folders: addresses, stores of zarr and obstore."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time

import pytest
import xarray as xr
import zarr

import xappa
from tests.stores import analysis, contents
from xappa.errors import StoreError
from xappa.streaming.store import location as stores
from xappa.streaming.store.location import locate_store
from xappa.streaming.store.regions import Writer

pytestmark = pytest.mark.usefixtures("nothing_on_disk")


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
            locate_store(address).lock(),
            pytest.raises(StoreError, match="is being written by another process"),
        ):
            xappa.to_zarr(found, address, chunks={"time": 2})
        xappa.to_zarr(found, address, chunks={"time": 2})
        xr.testing.assert_equal(xr.open_zarr(address).compute(), found.compute())

    def test_a_dead_lease_is_over(self, monkeypatch) -> None:
        pytest.importorskip("fsspec", reason="fsspec is not installed: pip install fsspec")
        place = locate_store("memory://runs/c.zarr")
        dead = subprocess.Popen([sys.executable, "-c", ""])
        dead.wait()
        lease = {"id": "x", "host": stores.socket.gethostname(), "process": dead.pid, "time": time.time()}
        place.sidecar.write("lease.json", json.dumps(lease).encode())
        with place.lock():
            pass
        place.sidecar.write("lease.json", json.dumps(lease | {"host": "elsewhere"}).encode())
        with pytest.raises(StoreError), place.lock():
            pass
        place.sidecar.write("lease.json", json.dumps(lease | {"host": "elsewhere", "time": time.time() - 601}).encode())
        with place.lock():
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

"""Location of a Zarr store (local disk, URL, or an object of Zarr), and of the files beside it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore, StorePath

from xappa._compat.zarr import default_buffer_prototype, sync
from xappa.array_files import LocalFiles, RemoteFiles
from xappa.errors import MissingDependency, StoreError
from xappa.streaming.store.durable import flush

SIDECAR = ".xappa"
"""Added to a store's name: the folder of files that are kept until the store is complete."""
LOCK, LEASE = "lock", "lease.json"
LEASE_SECONDS = 600
"""After which a store elsewhere, whose writer gave no sign of life, is free."""


@dataclass(frozen=True)
class InStoreSidecar:
    """Files in a store itself, where nothing is beside it."""

    store: Store

    def read(self, name: str) -> bytes | None:
        """Contents of a file; None if it is not there."""
        return read_key(self.store, f"{SIDECAR}/{name}")

    def write(self, name: str, content: bytes) -> None:
        """Put a file."""
        write_key(self.store, f"{SIDECAR}/{name}", content)

    def remove(self) -> None:
        """Remove all of them."""
        sync(self.store.delete_dir(SIDECAR))


@dataclass(frozen=True)
class StoreLocation:
    """A store that is written.

    Parameters
    ----------
    name : str
        For messages.
    store : Store
    sidecar : LocalFiles, RemoteFiles or InStoreSidecar
        What is kept until the store is complete.
    folder : Path or None
        Folder of a local store.
    """

    name: str
    store: Store
    sidecar: LocalFiles | RemoteFiles | InStoreSidecar
    folder: Path | None = None

    def get_free_bytes(self) -> float | None:
        """Bytes that are free on a local disk."""
        if self.folder is None:
            return None
        existing = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        return float(shutil.disk_usage(existing).free)

    def contains(self, source: StorePath) -> bool:
        """Whether something is in this store, however it was opened."""
        other, path = source.store, source.path
        root = other.root if isinstance(other, LocalStore) else other.path if isinstance(other, FsspecStore) else ""
        if self.folder is not None:
            on_disk = isinstance(other, LocalStore) or "file" in _list_protocols(other)
            return on_disk and Path(root, path).resolve().is_relative_to(self.folder.resolve())
        if isinstance(other, FsspecStore) and isinstance(self.store, FsspecStore):
            inside = f"{root}/{path}".startswith(f"{self.store.path.rstrip('/')}/")
            return inside and not _list_protocols(other).isdisjoint(_list_protocols(self.store))
        return str(other) == str(self.store)

    def remove(self) -> None:
        """Remove the store and what is beside it, but for what tells that it is being written."""
        lease = self.sidecar.read(LEASE)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            sync(self.store.clear())
        self.remove_sidecar()
        if lease is not None:
            self.sidecar.write(LEASE, lease)

    def remove_sidecar(self) -> None:
        """Remove what is beside the store; the file of the lock stays while it is locked."""
        if not isinstance(self.sidecar, LocalFiles):
            self.sidecar.remove()
            return
        for path in self.sidecar.folder.glob("*"):
            if path.name != LOCK:
                path.unlink(missing_ok=True)

    def flush(self) -> None:
        """Wait until what was written to a local store is on its disk, all of it at once."""
        if self.folder is not None and self.folder.is_dir():
            flush(self.folder)

    def remove_partial_files(self) -> None:
        """Remove files that a process left half written."""
        if self.folder is not None and self.folder.is_dir():
            for path in self.folder.rglob("*.partial"):
                path.unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from writing it.

        Raises
        ------
        StoreError
            If another process does so now, or the place cannot be written.
        """
        with _lock_store(self) if self.folder is not None else _lease_store(self):
            yield


def locate_store(store: str | os.PathLike[str] | Store, options: dict[str, Any] | None = None) -> StoreLocation:
    """Find the store that a name, an address or an object means.

    Parameters
    ----------
    store : path, str or Store
    options : dict, optional
        For fsspec, of an address.

    Raises
    ------
    StoreError
        If it is something else.
    MissingDependency
        If fsspec, or what it needs for an address, is not installed.
    """
    if isinstance(store, LocalStore):
        store = store.root
    if isinstance(store, Store):
        return StoreLocation(str(store), store, InStoreSidecar(store))
    if not isinstance(store, str | os.PathLike) or not str(store) or "\0" in str(store):
        raise StoreError(f"store={store!r}: expected a folder, an address such as 's3://bucket/a.zarr' or a zarr Store")
    text = str(os.fspath(store))
    if "://" in text and not text.startswith("file://"):
        return _locate_remote(text.rstrip("/"), options or {})
    folder = Path(text.removeprefix("file://")).expanduser().absolute()
    return StoreLocation(str(folder), LocalStore(folder), LocalFiles(folder.with_name(folder.name + SIDECAR)), folder)


def _locate_remote(address: str, options: dict[str, Any]) -> StoreLocation:
    try:
        import fsspec  # noqa: F401
        from zarr.storage import FsspecStore

        store = FsspecStore.from_url(address, storage_options=options)
    except ImportError as error:
        raise MissingDependency(
            f"{address} is written with fsspec, and something that it needs is missing ({error}): pip install fsspec, "
            "and s3fs, gcsfs or adlfs; or give a store of obstore: zarr.storage.ObjectStore(...)"
        ) from error
    return StoreLocation(address, store, RemoteFiles(address + SIDECAR, tuple(options.items())))


def _list_protocols(store: Store) -> set[str]:
    """Names of the file system of a store behind fsspec."""
    found = store.fs.protocol if isinstance(store, FsspecStore) else ()
    return {found} if isinstance(found, str) else set(found)


def read_key(store: Store, key: str) -> bytes | None:
    """Contents of a key."""
    found = sync(store.get(key, default_buffer_prototype()))
    return None if found is None else found.to_bytes()


def write_key(store: Store, key: str, content: bytes) -> None:
    """Put a key, at once."""
    sync(store.set(key, default_buffer_prototype().buffer.from_bytes(content)))


def list_keys(store: Store, prefix: str) -> set[str]:
    """All keys that begin so."""

    async def listed() -> set[str]:
        return {key async for key in store.list_prefix(prefix)}

    return sync(listed())


@contextmanager
def _lock_store(location: StoreLocation) -> Iterator[None]:
    folder = location.sidecar.folder  # type: ignore[union-attr]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"{location.name} is being written by another process now; wait for it, or choose another name."
        ) from error
    except OSError as error:
        raise StoreError(f"{location.name} cannot be written ({error}); choose another place.") from error
    try:
        yield
    finally:
        lock.release()
        if all(path.name == LOCK for path in folder.glob("*")):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _lease_store(location: StoreLocation) -> Iterator[None]:
    mine = uuid.uuid4().hex
    found = location.sidecar.read(LEASE)
    if found is not None and not _is_expired(json.loads(found)):
        raise StoreError(
            f"{location.name} is being written by another process ({found.decode()}); wait for it, or, if it has "
            "ended, "
            f"for {LEASE_SECONDS // 60} minutes; or choose another name."
        )
    lease = {"id": mine, "host": socket.gethostname(), "process": os.getpid(), "time": time.time()}
    location.sidecar.write(LEASE, json.dumps(lease).encode())
    again = location.sidecar.read(LEASE)
    if again is None or json.loads(again)["id"] != mine:
        raise StoreError(f"{location.name} is being written by another process now; choose another name.")
    try:
        yield
    finally:
        if location.sidecar.read(LEASE) is not None:
            location.sidecar.write(LEASE, json.dumps(lease | {"time": 0.0}).encode())


def renew_lease(location: StoreLocation) -> None:
    """Show that the writer of a store elsewhere is alive."""
    if location.folder is None and (found := location.sidecar.read(LEASE)) is not None:
        location.sidecar.write(LEASE, json.dumps(json.loads(found) | {"time": time.time()}).encode())


def _is_expired(lease: dict[str, Any]) -> bool:
    if time.time() - float(lease["time"]) > LEASE_SECONDS:
        return True
    return lease["host"] == socket.gethostname() and not _is_alive(int(lease["process"]))


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True

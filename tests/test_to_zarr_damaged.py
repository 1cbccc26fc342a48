"""A store of which the disk lost something is told of, and mended: before it is continued, and when it is complete."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from tests.stores import contents
from xappa.errors import StoreError
from xappa.streaming.store import durable
from xappa.streaming.store.regions import Writer

T = "2m_temperature"


@pytest.fixture
def field() -> xr.Dataset:
    values = np.random.default_rng(0).normal(280, 5, (2, 4, 8, 16)).astype("f4")
    times = pd.date_range("2018-11-01", periods=4, freq="6h")
    coords = {"member": [0, 1], "time": times, "latitude": np.linspace(80, -80, 8), "longitude": np.arange(16) * 22.5}
    return xr.Dataset({T: (tuple(coords), values, {"units": "K"})}, coords)


def write(ds: xr.Dataset, store: Path) -> None:
    xappa.to_zarr(ds, store, chunks={"time": 1, "member": 1}, progress=False)


@pytest.fixture(params=["unfinished", "complete"])
def store(field: xr.Dataset, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store that was interrupted after five of eight regions, or finished."""
    path = tmp_path / "a.zarr"
    if request.param == "complete":
        write(field, path)
        return path
    real, count = Writer.__call__, []

    def stop(self: Writer, region: dict, values: dict) -> int:
        count.append(region)
        if len(count) > 5:
            raise KeyboardInterrupt
        return real(self, region, values)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Writer, "__call__", stop)
        write(field, path)
    return path


HARM: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "one bit": lambda content: content[:-5] + bytes([content[-5] ^ 4]) + content[-4:],
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("file", [f"{T}/c/0/0/0/0", "latitude/c/0", "time/c/0", "member/c/0"])
def test_what_cannot_be_decoded_is_written_again(
    field: xr.Dataset, store: Path, tmp_path: Path, harm: str, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(field, tmp_path / "whole.zarr")
    (store / file).write_bytes(HARM[harm]((store / file).read_bytes()))
    write(field, store)
    assert contents(store) == contents(tmp_path / "whole.zarr")
    said = [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()]
    assert len(said) == 1 and ("1 of 8 regions" if file.startswith(T) else file.split("/")[0]) in said[0]


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000])
@pytest.mark.parametrize("file", ["zarr.json", f"{T}/zarr.json", "longitude/zarr.json"])
def test_damaged_metadata_are_refused_with_the_remedy(field: xr.Dataset, store: Path, file: str, text: str) -> None:
    (store / file).write_text(text)
    with pytest.raises(StoreError, match=f"{file} is damaged.*overwrite=True"):
        write(field, store)
    xappa.to_zarr(field, store, chunks={"time": 1, "member": 1}, progress=False, overwrite=True)
    xr.testing.assert_equal(xr.open_zarr(store, consolidated=False).load(), field)


def test_a_sound_store_is_left_as_it_is(field: xr.Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(field, tmp_path / "a.zarr")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "a.zarr").rglob("*")}
    write(field, tmp_path / "a.zarr")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "a.zarr").rglob("*")} == before
    assert not caplog.records


def test_it_is_on_the_disk_before_it_counts_as_complete(
    field: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, seen = tmp_path / "a.zarr", []

    def watch(folder: Path) -> None:
        seen.append("xappa_unfinished" in (folder / "zarr.json").read_text())
        assert len(list((folder / T / "c").rglob("*/*/*/*"))) >= 8

    monkeypatch.setattr("xappa.streaming.store.location.flush", watch)
    write(field, store)
    assert seen == [True, False]


@pytest.mark.parametrize("system_call", [True, False])
def test_files_are_flushed_with_and_without_the_system_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system_call: bool
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("c")
    flushed: list[str] = []
    real = durable._flush_file
    monkeypatch.setattr(durable, "_flush_file", lambda path: (flushed.append(path.name), real(path)))
    if not system_call:
        monkeypatch.setattr(durable, "_syncfs", lambda: None)
    durable.flush(tmp_path)
    assert flushed == ([] if system_call and durable._syncfs() is not None else ["b"])


def test_a_chunk_that_the_disk_lost_is_written_again(field: xr.Dataset, store: Path) -> None:
    lost = sorted(file for file in (store / T / "c").rglob("*") if file.is_file())[:2]
    for file in lost:
        file.unlink()
    write(field, store)
    assert all(file.exists() for file in lost)
    xr.testing.assert_equal(xr.open_zarr(store).load(), field)


@pytest.mark.parametrize("coordinate", ["time", "latitude", "member"])
def test_a_coordinate_that_the_disk_lost_is_written_again(coordinate, field: xr.Dataset, store: Path) -> None:
    (store / coordinate / "c" / "0").unlink()
    write(field, store)
    xr.testing.assert_identical(xr.open_zarr(store).load().drop_attrs(), field.drop_attrs())


@pytest.mark.parametrize("entry", ["chunk_grid", "codecs", "fill_value", "data_type", "shape", "zarr_format"])
@pytest.mark.parametrize("value", [None, "x", -1, [], {}], ids=str)
@pytest.mark.parametrize("array", [T, "time"])
def test_metadata_that_are_wrong_are_refused_or_harmless(
    array, entry, value, field: xr.Dataset, tmp_path: Path
) -> None:
    write(field, tmp_path / "a.zarr")
    file = tmp_path / "a.zarr" / array / "zarr.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), entry: value}))
    try:
        write(field, tmp_path / "a.zarr")
    except StoreError as error:
        assert "anew" in str(error) or "Remove it" in str(error)
        return
    xr.testing.assert_equal(xr.open_zarr(tmp_path / "a.zarr").load(), field)


def test_attributes_that_are_no_mapping_are_refused(field: xr.Dataset, tmp_path: Path) -> None:
    write(field, tmp_path / "a.zarr")
    file = tmp_path / "a.zarr" / "zarr.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "attributes": [1]}))
    with pytest.raises(StoreError, match="anew with overwrite=True"):
        write(field, tmp_path / "a.zarr")


def harmed(consolidated: dict) -> dict[str, dict]:
    """Consolidated metadata, each wrong in another place."""
    found = {}
    for path, about in consolidated["metadata"].items():
        for key in about:
            metadata = {**consolidated["metadata"], path: {k: v for k, v in about.items() if k != key}}
            found[f"{path} without {key}"] = {**consolidated, "metadata": metadata}
        metadata = {**consolidated["metadata"], path: {**about, "data_type": "int8", "attributes": {"units": "1"}}}
        found[f"{path} of another type"] = {**consolidated, "metadata": metadata}
        left = {k: v for k, v in consolidated["metadata"].items() if k != path}
        found[f"no {path}"] = {**consolidated, "metadata": left}
    return found | {
        "none": {},
        "no metadata": {**consolidated, "metadata": {}},
        "of a kind": {**consolidated, "kind": 1},
    }


def test_consolidated_metadata_that_are_wrong_are_written_again(
    field: xr.Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.zarr"
    write(field, path)
    root = path / "zarr.json"
    sound = root.read_bytes()
    content = json.loads(sound)
    for what, consolidated in harmed(content["consolidated_metadata"]).items():
        root.write_text(json.dumps({**content, "consolidated_metadata": consolidated}))
        caplog.clear()
        write(field, path)
        assert xr.open_zarr(path).identical(xr.open_zarr(path, consolidated=False)), what
        if json.loads(root.read_bytes()) != {**content, "consolidated_metadata": consolidated}:
            assert "consolidated metadata were damaged, and are written again" in caplog.text, what
            assert json.loads(root.read_bytes()) == content, what
        else:  # Zarr reads the same without what is missing
            assert "without" in what


@pytest.mark.parametrize("array", [T, "time"])
@pytest.mark.parametrize("entry", ["attributes", "dimension_names"])
@pytest.mark.parametrize("value", [None, "text", 5, [1], ["x"], {"a": 1}], ids=repr)
def test_attributes_and_dimensions_of_arrays_that_are_wrong_are_refused_or_harmless(
    array, entry, value, field: xr.Dataset, store: Path
) -> None:
    file = store / array / "zarr.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), entry: value}))
    try:
        write(field, store)
    except StoreError as error:
        assert "anew" in str(error)
        return
    xr.testing.assert_equal(xr.open_zarr(store).load(), field)


@pytest.mark.parametrize("array", [T, "time", "latitude"])
@pytest.mark.parametrize(
    "wrong",
    [
        lambda about: about["shape"].__setitem__(0, about["shape"][0] + 1),
        lambda about: about["shape"].append(1),
        lambda about: about["attributes"].update(_FillValue="no base 64"),
        lambda about: about["attributes"].update(_FillValue=[1]),
        lambda about: about["attributes"].update(units="hours since never"),
        lambda about: about["attributes"].update(units="HOURS SINCE 1970-01-01"),
        lambda about: about["shape"].__setitem__(0, 10**15),
    ],
    ids=["longer", "another dimension", "a fill value in text", "a list", "units of times", "capitals", "too long"],
)
def test_arrays_that_xarray_cannot_open_are_refused_or_harmless(wrong, array, field: xr.Dataset, store: Path) -> None:
    file = store / array / "zarr.json"
    about = json.loads(file.read_text())
    wrong(about)
    file.write_text(json.dumps(about))
    try:
        write(field, store)
    except StoreError as error:
        assert re.search("anew|write it again", str(error))
        return
    xr.testing.assert_equal(xr.open_zarr(store).load(), field)

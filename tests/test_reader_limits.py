"""Processes that read reports: what loops, allocates without end or crashes is ended and reported with its file."""

from __future__ import annotations

import io
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.errors import ObservationError, ReaderError, ReaderMemoryError, ReaderTimeout
from xappa.observations import read_observations
from xappa.observations.readers import isolated, netcdf, processes
from xappa.observations.readers.bufr import decode
from xappa.observations.readers.decoders import DecoderProcess
from xappa.observations.readers.isolated import read_groups_isolated

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces limits of memory")


@pytest.fixture
def bufr(tmp_path):
    (tmp_path / "reports.bufr").write_bytes(b"BUFR\x00\x13\x88\x04" * 625)
    return tmp_path / "reports.bufr"


def program(tmp_path, code: str) -> str:
    (tmp_path / "decoder.py").write_text(code)
    return str(tmp_path / "decoder.py")


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_decoder_that_sleeps_is_ended_and_reported(tmp_path, bufr, monkeypatch):
    code = f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    monkeypatch.setattr(decode, "__file__", program(tmp_path, code))
    # Long enough for the start of the process on a busy machine.
    with xappa.set_options(reader_timeout=5), pytest.raises(ReaderTimeout) as caught:
        read_observations(bufr)
    assert all(text in str(caught.value) for text in (str(bufr), "0 of 5000 bytes", "for 5 s", "reader_timeout="))
    assert not is_alive(int((tmp_path / "pid").read_text()))


class Process:
    """What `_wait` looks at: lines on the standard output, at intervals, and an end that does not come."""

    def __init__(self, number: int, interval: float) -> None:
        self.stdout = self.lines(number, interval)

    @staticmethod
    def lines(number: int, interval: float):
        for _ in range(number):
            time.sleep(interval)
            yield "1\n"
        time.sleep(2)


def job(size: int, advance) -> processes.Job:
    return processes.Job(Path("a.bufr"), Path("a.npz"), (), size, advance)


def test_how_far_it_came_is_told():
    done = []
    with xappa.set_options(reader_timeout=1.0), pytest.raises(ReaderTimeout, match="no progress for 1 s.*3 of 9 bytes"):
        processes._wait(Process(3, 0.0), job(9, done.append), "BUFR")
    assert done == [1, 1, 1]


def test_one_that_creeps_has_a_limit_for_its_share_of_the_file():
    with xappa.set_options(reader_timeout=0.5), pytest.raises(ReaderTimeout, match=r"took more than 1.5 s"):
        processes._wait(Process(10_000, 0.01), job(processes.ALLOWANCE, lambda number: None), "BUFR")


@linux
def test_a_decoder_that_allocates_without_end_is_reported(tmp_path, bufr, monkeypatch):
    code = "kept = []\nfor _ in range(40):\n    kept.append(bytearray(50_000_000))\n"
    monkeypatch.setattr(decode, "__file__", program(tmp_path, code))
    with (
        xappa.set_options(reader_memory=3e8),
        pytest.raises(ReaderMemoryError, match="(?s)0.3 GB.*reader_memory=") as caught,
    ):
        read_observations(bufr)
    assert str(bufr) in str(caught.value)


def test_a_message_that_finds_no_memory_is_not_counted_as_broken(monkeypatch):
    def take(decoder, data, correction=0):
        raise MemoryError("too much")

    monkeypatch.setattr(decode.BufrDecoder, "__init__", lambda self: setattr(self, "counts", {"messages": 0}))
    monkeypatch.setattr(decode.BufrDecoder, "decode_message", take)
    message = b"BUFR" + (12).to_bytes(3, "big") + b"\x04" + b"7777"
    with pytest.raises(MemoryError, match="message before byte 12"):
        decode.decode(message, 0, len(message))


@pytest.mark.parametrize("ending", ["SIGSEGV", "SIGABRT", "SIGKILL"])
@pytest.mark.parametrize("kind", ["bufr", "nc", "zarr", "parquet"])
def test_a_crash_is_an_error_with_file_and_signal(tmp_path, bufr, monkeypatch, kind, ending):
    path = bufr if kind == "bufr" else write(points(), tmp_path / f"obs.{kind}")
    crashing = program(tmp_path, f"import os, signal\nos.kill(os.getpid(), signal.{ending})\n")
    monkeypatch.setattr(decode, "__file__", crashing)
    for name in ("NETCDF", "ZARR", "PARQUET"):
        old = getattr(isolated, name)
        monkeypatch.setattr(isolated, name, processes.Program(crashing, old.package, old.install, old.kind))
    with xappa.set_options(isolate_readers=True), pytest.raises(ReaderError, match=f"ended by {ending}") as caught:
        read_observations(path)
    assert str(path) in str(caught.value)


def test_what_a_decoder_says_without_end_is_cut(tmp_path, bufr):
    code = "import sys\nsys.stderr.write('complaint\\n' * 100_000)\nsys.stderr.write('the last\\n')\nsys.exit(1)\n"
    with pytest.raises(ReaderError, match="(?s)exit status 1.*the last") as caught:
        DecoderProcess(program(tmp_path, code), "numpy", "", "BUFR")(bufr, ())
    assert len(str(caught.value)) < 1000


def points(**variables) -> xr.Dataset:
    """Points with every kind of variable and attribute that NetCDF has."""
    kelvin = {
        "units": "K",
        "standard_name": "air_temperature",
        "scale": np.float32(0.1),
        "list": np.array([1, 2], "i2"),
    }
    return xr.Dataset(
        {
            "t2m": ("obs", np.array([280.123, np.nan, 281.5], "f4"), kelvin),
            "count": ("obs", np.array([1, 2, 3], "u1")),
            "message": ("obs", np.array(["all well", "", "näher"], object)),
            "code": ("obs", np.array([b"ab", b"c", b""], "S2")),
            **variables,
        },
        {
            "time": ("obs", pd.date_range("2024-01-01T00:00:30", periods=3, freq="h")),
            "latitude": ("obs", [50.0, 51.0, 52.0], {"units": "degrees_north"}),
            "longitude": ("obs", [4.0, 5.0, 6.0], {"units": "degrees_east"}),
            "station": ("obs", np.array(["A", "BB", "C"], object)),
        },
        {"featureType": "point", "numbers": np.array([1.0, np.nan]), "words": ["a", "b"], "one": np.int64(2**62)},
    )


def write(ds: xr.Dataset, path, **options):
    """Write points in the format of the name."""
    if path.suffix == ".zarr":
        ds.drop_attrs().drop_encoding().to_zarr(path, **options)
    elif path.suffix == ".parquet":
        ds.drop_vars("code").to_dataframe().assign(kind=pd.Categorical(["x", "y", "x"])).to_parquet(path)
    else:
        ds.to_netcdf(path, **options)
    return path


NETCDF = {
    "NETCDF4": {"engine": "netcdf4"},
    "packed": {"engine": "netcdf4", "encoding": {"t2m": {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -9}}},
    "chunked": {"engine": "netcdf4", "encoding": {"t2m": {"chunksizes": (2,), "zlib": True}}},
    "in a group": {"engine": "netcdf4", "group": "some/group"},
    "NETCDF3": {"engine": "netcdf4", "format": "NETCDF3_64BIT"},
}


@pytest.mark.parametrize("name", [*NETCDF, "Zarr 2", "Zarr 3", "empty"])
def test_what_is_read_apart_is_what_is_read_here(tmp_path, name):
    ds = points()
    if name.startswith("Zarr"):
        path, engine = write(ds.drop_vars("code"), tmp_path / "a.zarr", zarr_format=int(name[-1])), "zarr"
    else:
        ds = ds.drop_attrs() if name == "NETCDF3" else ds.isel(obs=slice(0)) if name == "empty" else ds
        path, engine = write(ds, tmp_path / "a.nc", **NETCDF.get(name, {"engine": "netcdf4"})), None
    here, apart = netcdf._open_groups(path, engine), read_groups_isolated(path)
    assert list(here) == list(apart)
    for group, expected in here.items():
        found = apart[group]
        xr.testing.assert_identical(expected, found)
        assert list(found.coords) == list(expected.coords)
        for key, variable in expected.variables.items():
            assert found[key].dtype == variable.dtype
            kinds = [(type(v), getattr(v, "dtype", None)) for v in variable.attrs.values()]
            assert [(type(v), getattr(v, "dtype", None)) for v in found[key].attrs.values()] == kinds


@pytest.mark.parametrize("kind", ["nc", "zarr", "parquet"])
def test_observations_are_the_same(tmp_path, kind):
    path = write(points(), tmp_path / f"obs.{kind}")
    here = read_observations(path, units={"t2m": "K"}).load()
    with xappa.set_options(isolate_readers=True):
        apart = read_observations(path, units={"t2m": "K"})
    xr.testing.assert_identical(apart.load(), here)
    assert {name: v.dtype for name, v in apart.variables.items()} == {
        name: v.dtype for name, v in here.variables.items()
    }


def test_texts_with_odd_characters_and_arrays_of_varying_length_survive(tmp_path):
    import netCDF4

    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        file.createDimension("obs", 3)
        file.createVariable("text", str, ("obs",))[:] = np.array(["a\x00b"[:1], "\U0001f327", " "], object)
        kind = file.createVLType("i4", "numbers")
        ragged = file.createVariable("ragged", kind, ("obs",))
        for i in range(3):
            ragged[i] = np.arange(i + 1, dtype="i4")
    apart = read_groups_isolated(tmp_path / "a.nc")["/"]
    assert apart["text"].values.tolist() == ["a", "\U0001f327", " "]
    assert [part.tolist() for part in apart["ragged"].values] == [[0], [0, 1], [0, 1, 2]]


@pytest.mark.parametrize("kind", ["nc", "parquet"])
def test_a_damaged_file_is_refused_apart_as_here(tmp_path, kind):
    path = write(points(), tmp_path / f"obs.{kind}")
    path.write_bytes(path.read_bytes()[:-200])
    for apart in (False, True):
        with xappa.set_options(isolate_readers=apart), pytest.raises(ObservationError, match=str(path)):
            read_observations(path)


def test_variables_that_do_not_fit_are_refused_apart(tmp_path):
    path = write(points(), tmp_path / "obs.nc", engine="netcdf4")
    with xappa.set_options(reader_memory=1e9):
        read_groups_isolated(path)
    with pytest.raises(MemoryError, match=r"claim .* bytes"):
        isolated.netcdf_decode.copy_groups(path, tmp_path, None, 100.0)


def test_one_file_is_open_once_however_often_it_is_read(tmp_path):
    from xarray.backends.file_manager import FILE_CACHE

    path = write(points(), tmp_path / "obs.nc", engine="netcdf4")
    write(points(), tmp_path / "obs.nc", engine="netcdf4", group="more", mode="a")
    first, second = netcdf._open_groups(path, None), netcdf._open_groups(path, None)
    assert sum(str(path) in str(list(key)) for key in FILE_CACHE) == 1
    assert first["/"]["t2m"].data.name == second["/"]["t2m"].data.name != first["/more"]["t2m"].data.name
    xr.testing.assert_identical(first["/"].load(), second["/more"].load())


def test_a_file_that_takes_the_place_of_another_is_read_anew(tmp_path):
    path = write(points(), tmp_path / "obs.nc", engine="netcdf4")
    old = netcdf._open_groups(path, None)["/"]
    write(points(t2m=("obs", [1.0, 2.0, 3.0])), tmp_path / "new.nc", engine="netcdf4").replace(path)
    assert netcdf._open_groups(path, None)["/"]["t2m"].values.tolist() == [1.0, 2.0, 3.0]
    assert old["t2m"].values[0] == np.float32(280.123)


def test_the_end_of_a_file_is_read_from_its_end():
    assert (
        processes._read_last_lines(io.BytesIO(b"".join(b"%d\n" % i for i in range(100_000)))).splitlines()[-1]
        == "99999"
    )

"""One registry holds all readers of files; contents choose among them, and names where contents do not tell."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.errors import ObservationError
from xappa.observations import READERS, Reader
from xappa.observations.names import NameMap
from xappa.observations.readers.registry import Evidence, ReaderOptions, find_reader
from xappa.observations.readers.text_files import HEAD

BUFR = b"BUFR\x00\x00\x08\x04"
LITE = b"2018 11 02 12   125   80 10130   240   50     2     0     0\n"
METAR = b"METAR EDDF 021220Z 24010KT 9999 12/08 Q1013=\n"
TABLE = b"time,lat,lon,t2m\n2018-11-02T12:00,50.5,8.25,281.5\n"
SAMPLES = {
    "bufr": b"IUSI01 EDZW 021200\r\r\n" + BUFR,
    "ghcn-daily": b"USW00094728,20181102,TMAX,150,,,W,2400\n",
    "ghcn-daily-dly": b"USW00094728201811TMAX" + b"  150  W" * 31 + b"\n",
    "isd": b"0123" + b"010010" + b"99999" + b"201811021200" + b"4+70933-008667FM-12+0009\n",
    "isd-lite": LITE,
    "metar": METAR,
    "netcdf": b"CDF\x01\x00\x00\x00\x00",
    "parquet": b"PAR1\x00",
    "table": TABLE,
}


def find(path: Path, data: bytes, naming: NameMap | None = None) -> str:
    path.write_bytes(data)
    options = ReaderOptions(naming or NameMap())
    reader = find_reader(path, data[:HEAD], options)
    return next(key for key, known in READERS.items() if known.with_options(options) == reader)


def test_every_reader_has_a_file_here():
    assert set(READERS.registered) == {*SAMPLES, "zarr"}


@pytest.mark.parametrize("name", ["a", "a.txt", "a.other"])
@pytest.mark.parametrize("key", SAMPLES)
def test_a_reader_knows_its_own_by_the_contents_alone(tmp_path, key, name):
    assert find(tmp_path / name, SAMPLES[key]) == key


@pytest.mark.parametrize("key", [key for key, reader in READERS.registered.items() if reader.suffixes])
def test_a_name_decides_for_what_has_no_signature_and_before_words_of_a_text(tmp_path, key):
    for suffix in READERS[key].suffixes:
        for data in (LITE, METAR, TABLE, b"\x00\x01"):
            assert find(tmp_path / f"a{suffix.upper()}", data) == key
        assert find(tmp_path / f"b{suffix}", SAMPLES["netcdf"]) == "netcdf"


def test_what_is_refused_stands_before_bytes_that_are_only_near_the_beginning(tmp_path):
    archive = b"xBUFR123".ljust(257, b"\x00") + b"ustar"
    with pytest.raises(ObservationError, match="tar"):
        find(tmp_path / "a", archive)
    assert find(tmp_path / "b", b"\x89HDF\r\n\x1a\n".rjust(520, b"{")) == "netcdf"


@pytest.mark.parametrize(
    ("rename", "key"), [({}, "metar"), ({"when": "time", "y": "latitude", "x": "longitude"}, "table")]
)
def test_bulletins_have_no_line_of_names(tmp_path, rename, key):
    """A column of bulletins makes no bulletin of a table, also where it is the caller who says what names mean."""
    assert find(tmp_path / "a.csv", b"when,y,x,text\n2018-11-02T12:20,50,8," + METAR, naming=NameMap(rename)) == key


def test_order_is_told_by_evidence():
    order = [*Evidence]
    assert order[0] is Evidence.OWN and order[-1] is Evidence.TEXT
    assert all(reader.evidence is not Evidence.OWN for reader in READERS.registered.values())
    assert [key for key, reader in READERS.registered.items() if reader.evidence is Evidence.TEXT] == ["table"]


@pytest.fixture
def own(monkeypatch) -> type[Reader]:
    """A reader of BUFR of one's own, for as long as the test runs."""
    for name in ("_registered", "_definitions"):
        monkeypatch.setattr(READERS, name, dict(getattr(READERS, name)))

    @READERS.register("own")
    class Own(Reader):
        stations: pd.DataFrame | None = None

        def with_options(self, options: ReaderOptions) -> Reader:
            reader = Own()
            reader.stations = options.stations
            return reader

        def matches(self, path: Path, head: bytes) -> bool:
            return head.startswith(b"BUFR")

        def read(self, path: Path) -> xr.Dataset:
            assert path.read_bytes() == BUFR and self.stations is not None
            place = self.stations.loc["EDDF"]
            ds = xr.Dataset(
                {"t2m": ("obs", [281.5], {"units": "K"})},
                {"time": ("obs", np.array(["2018-11-02T12"], "M8[ns]"))}
                | {name: ("obs", [float(place[name])]) for name in ("latitude", "longitude")},
            )
            ds.to_netcdf(path.with_name("lazy.nc"))
            return xr.open_dataset(path.with_name("lazy.nc"), chunks={})

    return Own


@pytest.mark.parametrize("name", ["a.bufr", "a.bufr.gz"])
def test_a_reader_of_ones_own_comes_first_and_hears_the_caller(own, tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(BUFR) if name.endswith("gz") else BUFR)
    places = pd.DataFrame({"icao": ["EDDF"], "latitude": [50.0], "longitude": [8.6], "altitude": [111.0]})
    obs = xappa.read_observations(tmp_path / name, stations=places)
    np.testing.assert_array_equal(obs["2m_temperature"], [281.5])
    assert (obs["2m_temperature"].chunks is None) == name.endswith("gz")


def test_a_reader_can_be_asked_by_itself(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(TABLE)
    reader = READERS["table"].with_options(ReaderOptions(NameMap(units={"t2m": "degC"})))
    np.testing.assert_allclose(reader.read(path)["2m_temperature"], [281.5 + 273.15])
    with pytest.raises(ObservationError, match="stations"):
        path.write_bytes(METAR)
        READERS["metar"].read(path)

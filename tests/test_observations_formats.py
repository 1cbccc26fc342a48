"""Formats of files by their contents, not by their names; what is not read is refused by its name."""

import gzip
import shutil

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations import read_observations

T = "2m_temperature"
TABLE = "time,lat,lon,t2m\n2018-11-02T12:00,50.5,8.25,281.5\n"


@pytest.fixture
def points() -> xr.Dataset:
    return xr.Dataset(
        {"t2m": ("obs", [281.5, 282.5], {"units": "K"})},
        coords={
            "time": ("obs", np.array(["2018-11-02T12", "2018-11-02T13"], "datetime64[ns]")),
            "latitude": ("obs", [50.0, 51.0]),
            "longitude": ("obs", [8.0, 9.0]),
        },
    )


@pytest.mark.parametrize("name", ["a.nc", "a.cdf", "a", "a.txt", "a.nc.gz", "a.csv"])
@pytest.mark.parametrize("form", ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF4"])
def test_netcdf_whatever_its_name(points, tmp_path, form, name):
    pytest.importorskip("netCDF4")
    points.to_netcdf(tmp_path / "plain", format=form, engine="netcdf4")
    data = (tmp_path / "plain").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    obs = read_observations(tmp_path / name)
    np.testing.assert_array_equal(obs[T], [281.5, 282.5])
    assert (obs[T].chunks is None) == name.endswith(".gz")


@pytest.mark.filterwarnings("ignore::Warning:zarr")
@pytest.mark.parametrize("version", [2, 3])
def test_zarr_by_its_metadata(points, tmp_path, version):
    points.to_zarr(tmp_path / "store", zarr_format=version)
    np.testing.assert_array_equal(read_observations(tmp_path / "store")[T], [281.5, 282.5])


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a", "a.parquet.gz"])
def test_parquet_whatever_its_name(tmp_path, name):
    pytest.importorskip("pyarrow")
    frame = pd.DataFrame({"time": ["2018-11-02T12:00"], "lat": [50.5], "lon": [8.25], "t2m": [281.5]})
    frame.to_parquet(tmp_path / "plain")
    data = (tmp_path / "plain").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    np.testing.assert_array_equal(read_observations(tmp_path / name, units={"t2m": "K"})[T], [281.5])


@pytest.mark.parametrize("name", ["synop.bufr.gz", "synop", "synop.txt"])
def test_bufr_whatever_its_name(tmp_path, shared, name):
    pytest.importorskip("pdbufr")
    source = shared("real/synop-global-20181102/perf_synop.bufr")
    part = source.read_bytes()[:20_000]
    (tmp_path / name).write_bytes(gzip.compress(part) if name.endswith(".gz") else part)
    assert read_observations(tmp_path / name).attrs["reports_read"] > 10


@pytest.mark.parametrize(
    ("head", "name", "complaint"),
    [
        (b"GRIB\x00\x00\x00\x02", "a.csv", "GRIB.*engine='cfgrib'"),
        (b"\xcd\xf3\x00\x01", "a.cdf", "CDF of NASA"),
        (b"\x0e\x03\x13\x01", "a.hdf", "HDF4"),
        (b"ARROW1\x00\x00", "a.feather", "Feather.*read_feather"),
        (b"SQLite format 3\x00", "a.db", "SQLite.*read_sql"),
        (b"\xd0\xcf\x11\xe0", "a.xls", "Excel.*read_excel"),
        (b"\x28\xb5\x2f\xfd", "a.csv.zst", "Zstandard.*Unpack"),
        (b"\x1f\x9d\x90", "a.Z", "compress.*Unpack"),
        (b"%PDF-1.4", "a.pdf", "PDF"),
        (b"<!DOCTYPE html><html>", "a.csv", "a web page.*fetch the file anew"),
        (b"<?xml version='1.0'?>", "a.xml", "XML.*read_xml"),
        (b'{"time": 1}', "a.json", "JSON.*read_json"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "a.csv", "neither text nor a format that is known"),
    ],
)
def test_formats_that_are_not_read_are_named(tmp_path, head, name, complaint):
    (tmp_path / name).write_bytes(head + bytes(64) * (b"\x00" in head))
    with pytest.raises(ObservationError, match=rf"(?s){name}: .*{complaint}"):
        read_observations(tmp_path / name)


def test_archives_of_several_files_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.csv").write_text(TABLE)
    shutil.make_archive(str(tmp_path / "a"), "gztar", tmp_path / "a")
    with pytest.raises(ObservationError, match=r"a.tar.gz: an archive of several files \(tar\). Unpack it"):
        read_observations(tmp_path / "a.tar.gz")


@pytest.mark.parametrize("name", ["a.nc", "a.parquet", "a.zarr", "a.bufr"])
def test_a_table_that_is_called_something_else_is_refused(tmp_path, name):
    for package in ("netCDF4", "pyarrow", "pdbufr"):
        pytest.importorskip(package)
    (tmp_path / name).write_text(TABLE)
    with pytest.raises(ObservationError, match=rf"{name}\b"):
        read_observations(tmp_path / name)


@pytest.mark.parametrize("form", ["NETCDF3_CLASSIC", "NETCDF4"])
def test_a_cut_netcdf_file_is_refused(points, tmp_path, form):
    pytest.importorskip("netCDF4")
    points.to_netcdf(tmp_path / "a.nc", format=form, engine="netcdf4")
    data = (tmp_path / "a.nc").read_bytes()
    (tmp_path / "cut.nc").write_bytes(data[: len(data) // 3])
    with pytest.raises(ObservationError, match=r"cut.nc: cannot be read"):
        read_observations(tmp_path / "cut.nc")


def test_a_cut_parquet_file_is_refused(tmp_path):
    pytest.importorskip("pyarrow")
    pd.DataFrame({"t2m": [1.0]}).to_parquet(tmp_path / "a.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-30])
    with pytest.raises(ObservationError, match=r"cut.parquet: cannot be read"):
        read_observations(tmp_path / "cut.parquet")


@pytest.mark.parametrize("metadata", [None, "{"])
def test_zarr_stores_without_metadata_are_refused(tmp_path, metadata):
    (tmp_path / "a.zarr").mkdir()
    if metadata:
        (tmp_path / "a.zarr" / "zarr.json").write_text(metadata)
    with pytest.raises(ObservationError, match=r"a.zarr\S* cannot be read"):
        read_observations(tmp_path / "a.zarr")


def test_folders_and_addresses(tmp_path):
    with pytest.raises(ObservationError, match=r"is a folder without the metadata of Zarr.*list of files"):
        read_observations(tmp_path)
    with pytest.raises(ObservationError, match=r"is an address, which is not read"):
        read_observations("https://example.org/reports.csv")


@pytest.mark.parametrize("kind", ["bufr", "metar"])
def test_a_name_that_a_format_does_not_have_lists_what_it_has(tmp_path, shared, kind):
    pytest.importorskip("pdbufr" if kind == "bufr" else "metpy")
    if kind == "bufr":
        source, options = shared("real/synop-global-20181102/perf_synop.bufr"), {}
        (tmp_path / "a.bufr").write_bytes(source.read_bytes()[:20_000])
        path = tmp_path / "a.bufr"
    else:
        path, options = tmp_path / "metar_20181102.txt", {"stations": pd.DataFrame(PLACE)}
        path.write_text("METAR EBBR 021250Z 20010KT CAVOK 05/M03 Q1012=\n")
    for source in (path, {"a": path}, [path]):
        with pytest.raises(
            ObservationError, match=r"rename names '2m_temprature', but .*did you mean '2m_temperature'"
        ):
            read_observations(source, rename={"2m_temprature": T}, **options)


PLACE = {"station": ["EBBR"], "lat": [50.9], "lon": [4.5], "elev": [58.0]}


def test_errors_of_a_file_name_it_even_in_a_list(tmp_path):
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    good.write_text(TABLE)
    bad.write_text(TABLE.replace("lat", "breite"))
    with pytest.raises(ObservationError, match=r"bad.csv: Reports need time, latitude, longitude; latitude not found"):
        read_observations([good, bad])

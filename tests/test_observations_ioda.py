"""IODA files and other NetCDF files with groups, and files that cannot be read."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xappa.errors import AssumptionWarning, ObservationError
from xappa.observations import Flag, read_observations

netCDF4 = pytest.importorskip("netCDF4")

UNITS = {"airTemperature": "K", "specificHumidity": "kg kg-1", "pressure": "Pa", "stationPressure": "Pa"}
PLACES = {
    "latitude": ([50.0, 51.0, 52.0], "degrees_north"),
    "longitude": ([8.0, 9.0, 10.0], "degrees_east"),
    "dateTime": (np.full(3, 1541160000), "seconds since 1970-01-01T00:00:00Z"),
    "stationIdentification": (np.array(["10393", "10410", "EDDF"], object), None),
    "stationElevation": ([112.0, 150.0, 111.0], "m"),
}


def write(path: Path, values: dict, meta: dict | None = None, places: dict = PLACES, **groups: dict) -> Path:
    """A file of three locations; each group is {name: values} or {name: (values, units)}."""
    with netCDF4.Dataset(path, "w") as nc:
        nc.createDimension("Location", 3)
        nc.createVariable("Location", "i4", ("Location",))[:] = np.arange(3)
        for group, variables in {"MetaData": places | (meta or {}), "ObsValue": values, **groups}.items():
            for name, given in variables.items():
                numbers, units = given if isinstance(given, tuple) else (given, UNITS.get(name, "m s-1"))
                array = np.asarray(numbers)
                kind = str if array.dtype == object else array.dtype
                fill = None if kind is str else np.asarray(-999, array.dtype)[()]
                variable = nc.createGroup(group).createVariable(name, kind, array.ndim * ("Location",), fill_value=fill)
                variable[:] = np.ma.masked_invalid(array) if array.dtype.kind == "f" else array
                if units:
                    variable.units = units
    return path


LEVELS = {"pressure": [85000.0, 50000.0, 25000.0]}
SONDE = {
    "airTemperature": [278.0, 255.0, 225.0],
    "windEastward": [5.0, 20.0, 40.0],
    "windNorthward": [1.0, 2.0, 3.0],
    "specificHumidity": [5e-3, 1e-3, 1e-5],
}


def test_soundings_are_on_their_pressures_with_their_errors_and_marks(tmp_path):
    path = write(
        tmp_path / "sondes.nc4",
        SONDE,
        LEVELS,
        ObsError={"airTemperature": [0.8, 0.9, np.nan]},
        PreQC={"airTemperature": np.array([2, 9, 3], "i4")},
    )
    obs = read_observations(path.rename(path.with_suffix(".nc")))
    np.testing.assert_array_equal(obs["level"], [850.0, 500.0, 250.0])
    np.testing.assert_array_equal(obs["time"], np.full(3, np.datetime64("2018-11-02T12", "s")))
    assert obs["station"].values.tolist() == ["10393", "10410", "EDDF"]
    np.testing.assert_array_equal(obs["altitude"], [112.0, 150.0, 111.0])
    np.testing.assert_allclose(obs["temperature"], SONDE["airTemperature"])
    np.testing.assert_allclose(obs["u_component_of_wind"], SONDE["windEastward"])
    np.testing.assert_allclose(obs["specific_humidity"], SONDE["specificHumidity"])
    np.testing.assert_allclose(obs["temperature_error"], [0.8, 0.9, np.nan])
    assert obs["temperature_flag"].values.tolist() == [0, Flag.REJECTED_BY_SOURCE, 0]
    assert obs["u_component_of_wind_flag"].values.tolist() == [0, 0, 0]


def test_older_names_and_quality_markers(tmp_path):
    values = {"air_temperature": ([278.0, 255.0, 225.0], "K"), "eastward_wind": [5.0, 6.0, 7.0]}
    path = write(
        tmp_path / "old.nc",
        values,
        {"air_pressure": (LEVELS["pressure"], "Pa")},
        QualityMarker={"eastward_wind": np.array([0, 1, 4], "i4")},
    )
    obs = read_observations(path)
    assert obs["u_component_of_wind_flag"].values.tolist() == [0, 0, Flag.REJECTED_BY_SOURCE]
    np.testing.assert_allclose(obs["temperature"], [278.0, 255.0, 225.0])


def test_stations_are_near_the_ground_and_what_is_not_is_aloft(tmp_path):
    values = {"airTemperature": [285.0, 284.0, 225.0], "stationPressure": [1.01e5, 1e5, np.nan]}
    obs = read_observations(write(tmp_path / "sfc.nc", values, {"pressure": [1.01e5, 1e5, 25000.0]}))
    assert obs["2m_temperature"].dropna("obs").values.tolist() == [285.0, 284.0]
    assert obs["surface_pressure"].dropna("obs").values.tolist() == [101000.0, 100000.0]
    aloft = obs.isel(obs=obs["temperature"].notnull().values)
    assert aloft["level"].values.tolist() == [250.0] and aloft["temperature"].values.tolist() == [225.0]


def test_names_that_say_the_height(tmp_path):
    values = {"airTemperatureAt2M": ([285.0] * 3, "K"), "windEastwardAt10M": [5.0] * 3}
    obs = read_observations(write(tmp_path / "at.nc", values))
    assert (obs["2m_temperature"] == 285.0).all() and (obs["10m_u_component_of_wind"] == 5.0).all()


def test_water_is_at_its_depth(tmp_path):
    values = {"waterTemperature": ([285.0, 284.0, 283.0], "K")}
    obs = read_observations(write(tmp_path / "sea.nc", values, {"depthBelowWaterSurface": ([0.5, 5.0, 50.0], "m")}))
    wrong = Flag.WRONG_HEIGHT
    assert obs["sea_surface_temperature_flag"].values.tolist() == [0, wrong, wrong]


def test_what_is_missing_or_unknown_is_said(tmp_path):
    values = SONDE | {"radialVelocity": [1.0, 2.0, 3.0]}
    obs = read_observations(write(tmp_path / "a.nc", values, LEVELS))
    assert obs.attrs["unknown_variables"] == '{"radialVelocity": 3}'
    with pytest.raises(ObservationError, match=r"(?s)MetaData without time: found .*Expected dateTime"):
        read_observations(write(tmp_path / "b.nc", SONDE, places={k: v for k, v in PLACES.items() if k != "dateTime"}))


def test_other_groups_are_named(tmp_path):
    with netCDF4.Dataset(tmp_path / "groups.nc", "w") as nc:
        nc.createDimension("n", 2)
        nc.createGroup("science").createVariable("t2m", "f4", ("n",))[:] = [280.0, 281.0]
    with pytest.raises(ObservationError, match=r"variables are in groups\. Found /science \(t2m\)\..*group='/science'"):
        read_observations(tmp_path / "groups.nc")
    with netCDF4.Dataset(tmp_path / "groups.nc", "a") as nc:
        nc.createVariable("t2m", "f4", ("n",))[:] = [280.0, 281.0]
    with pytest.raises(ObservationError, match=r"(?s)Reports need time.*The file has groups, which are not read"):
        read_observations(tmp_path / "groups.nc")
    point = {"time": ("n", np.full(2, np.datetime64("2024-01-01", "ns"))), "lat": ("n", [1.0, 2.0]), "lon": 5.0}
    whole = xr.Dataset({"t2m": ("n", [280.0, 281.0], {"units": "K"})}, point)
    whole.to_netcdf(tmp_path / "both.nc")
    whole.to_netcdf(tmp_path / "both.nc", group="raw", mode="a")
    with pytest.warns(AssumptionWarning, match=r"Groups are not read. Found /raw \("):
        assert read_observations(tmp_path / "both.nc").sizes["obs"] == 2


@pytest.mark.parametrize("name", ["text.nc", "cut.nc", "broken.zarr", "wrong-time.nc"])
def test_files_that_cannot_be_read_are_refused_with_what_was_said(name, tmp_path):
    path = tmp_path / name
    good = xr.Dataset({"t2m": ("n", np.arange(5000.0))}, {"time": ("n", np.arange(5000.0), {"units": "days since x"})})
    if name == "cut.nc":
        good.to_netcdf(tmp_path / "whole.nc")
        path.write_bytes((tmp_path / "whole.nc").read_bytes()[:9000])
    elif name == "broken.zarr":
        path.mkdir()
        (path / "zarr.json").write_text("{")
    elif name == "wrong-time.nc":
        good.to_netcdf(path)
    else:
        path.write_bytes(b"no file of reports" if name == "text.nc" else b"")
    with pytest.raises(
        ObservationError,
        match=rf"(?s){name}\S* cannot be read as (NetCDF|Zarr).*(Expected a whole|write the store again)",
    ):
        read_observations(path)


def test_netcdf_of_the_third_version_has_no_groups(tmp_path):
    ds = xr.Dataset(
        {"t2m": ("n", [280.0, 281.0], {"units": "K"})},
        {"time": ("n", np.full(2, np.datetime64("2024-01-01", "ns"))), "lat": ("n", [1.0, 2.0]), "lon": 5.0},
    )
    ds.to_netcdf(tmp_path / "a.nc", format="NETCDF3_CLASSIC")
    assert read_observations(tmp_path / "a.nc").sizes["obs"] == 2

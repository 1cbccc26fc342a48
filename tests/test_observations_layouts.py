"""CF discrete sampling geometries: every array layout of one set of reports gives the same observations."""

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations import is_one_form, read_observations

T, U = "2m_temperature", "temperature"
STATIONS = {"lat": [10.0, 20.0, 30.0], "lon": [1.0, 2.0, 3.0], "alt": [5.0, 6.0, 7.0], "name": ["a", "b", "c"]}
COUNTS = np.array([2, 0, 3])
OWNER = np.array([0, 0, 2, 2, 2])
TIMES = np.datetime64("2024-01-01", "s") + np.arange(5) * np.timedelta64(3600, "s")
VALUES = np.arange(5.0) + 280.0
KELVIN = {"units": "K", "standard_name": "air_temperature"}
ATTRS = {"alt": {"standard_name": "altitude", "units": "m"}, "name": {"cf_role": "timeseries_id"}}


def stations(dim: str = "station") -> dict:
    return {key: (dim, value, ATTRS.get(key, {})) for key, value in STATIONS.items()}


def expected() -> xr.Dataset:
    """The same as points."""
    points = {key: ("obs", np.array(value)[OWNER], ATTRS.get(key, {})) for key, value in STATIONS.items()}
    return read_observations(xr.Dataset({"x": ("obs", VALUES, KELVIN)}, points | {"time": ("obs", TIMES)}))


def contiguous() -> xr.Dataset:
    size = ("station", COUNTS, {"sample_dimension": "sample"})
    return xr.Dataset({"x": ("sample", VALUES, KELVIN), "row_size": size}, stations() | {"time": ("sample", TIMES)})


def indexed(order=slice(None)) -> xr.Dataset:
    index = ("sample", OWNER[order], {"instance_dimension": "station"})
    return xr.Dataset(
        {"x": ("sample", VALUES[order], KELVIN), "which": index}, stations() | {"time": ("sample", TIMES[order])}
    )


def incomplete() -> xr.Dataset:
    values, times = np.full((3, 3), np.nan), np.full((3, 3), np.datetime64("NaT", "s"))
    values[0, :2], values[2], times[0, :2], times[2] = VALUES[:2], VALUES[2:], TIMES[:2], TIMES[2:]
    return xr.Dataset({"x": (("station", "n"), values, KELVIN)}, stations() | {"time": (("station", "n"), times)})


def plain(obs: xr.Dataset) -> xr.Dataset:
    return obs.drop_attrs(deep=False).sortby("time")


@pytest.mark.parametrize("layout", [contiguous, indexed, incomplete])
def test_time_series_in_every_layout(layout):
    xr.testing.assert_identical(plain(read_observations(layout())), plain(expected()))


def test_samples_of_an_indexed_array_may_come_in_any_order():
    order = np.array([3, 0, 4, 1, 2])
    xr.testing.assert_identical(plain(read_observations(indexed(order))), plain(expected()))


def test_orthogonal_arrays():
    values = np.arange(6.0).reshape(3, 2) + 280.0
    ds = xr.Dataset({"x": (("station", "time"), values, KELVIN)}, stations() | {"time": TIMES[:2]})
    obs = read_observations(ds)
    np.testing.assert_array_equal(obs[T], values.reshape(-1))
    assert obs["station"].values.tolist() == ["a", "a", "b", "b", "c", "c"]


def test_padding_is_counted_and_no_report_is_taken_for_it():
    assert read_observations(incomplete()).attrs["elements_padding"] == 4
    ds = incomplete()
    ds["x"][1, 0] = 285.0  # a value without a time is a bad report, not padding
    obs = read_observations(ds)
    assert obs.sizes["obs"] == 6
    assert obs[f"{T}_flag"].values.tolist().count(2) == 1


@pytest.mark.parametrize("dim", ["points", "obs"])
def test_stacked_fields(dim, tmp_path):
    pytest.importorskip("netCDF4")
    fields = xr.Dataset(
        {T: (("time", "latitude", "longitude"), np.arange(12.0).reshape(2, 2, 3) + 280.0, KELVIN)},
        {"time": TIMES[:2], "latitude": [10.0, 20.0], "longitude": [1.0, 2.0, 3.0]},
    )
    stacked = fields.stack({dim: ("time", "latitude", "longitude")})
    before = stacked.copy(deep=True)
    obs = read_observations(stacked)
    np.testing.assert_array_equal(obs[T], fields[T].values.reshape(-1))
    np.testing.assert_array_equal(obs["longitude"], [1.0, 2.0, 3.0] * 4)
    obs.to_netcdf(tmp_path / "obs.nc")
    xr.testing.assert_identical(stacked, before)
    assert not is_one_form(stacked) and is_one_form(obs)


PLEV = {"standard_name": "air_pressure", "units": "Pa", "positive": "down"}


def profiles(layout: str) -> xr.Dataset:
    """Two soundings of 3 and 2 levels, at 100 m of drift for nothing."""
    level, temperature, count = np.array([1e5, 85e3, 7e4, 1e5, 5e4]), VALUES - 20.0, np.array([3, 2])
    of_profile = {"time": TIMES[:2], "lat": [10.0, 20.0], "lon": [1.0, 2.0], "id": ["p", "q"]}
    attrs = {"id": {"cf_role": "profile_id"}}
    coords = {key: ("profile", value, attrs.get(key, {})) for key, value in of_profile.items()}
    owner = np.repeat([0, 1], count)
    if layout == "contiguous":
        extra = {"n": ("profile", count, {"sample_dimension": "z"})}
    elif layout == "indexed":
        extra = {"n": ("z", owner, {"instance_dimension": "profile"})}
    else:
        full = np.full((2, 3), np.nan)
        where = (owner, np.r_[0:3, 0:2])
        pressure, values = full.copy(), full.copy()
        pressure[where], values[where] = level, temperature
        variables = {"x": (("profile", "z"), values, KELVIN)}
        return xr.Dataset(variables, coords | {"p": (("profile", "z"), pressure, PLEV)})
    return xr.Dataset({"x": ("z", temperature, KELVIN)} | extra, coords | {"p": ("z", level, PLEV)})


@pytest.mark.parametrize("layout", ["contiguous", "indexed", "incomplete"])
def test_profiles_in_every_layout(layout):
    obs = read_observations(profiles(layout))
    np.testing.assert_allclose(obs["level"], [1000.0, 850.0, 700.0, 1000.0, 500.0])
    np.testing.assert_array_equal(obs[U], VALUES - 20.0)
    np.testing.assert_array_equal(obs["latitude"], [10.0] * 3 + [20.0] * 2)
    np.testing.assert_array_equal(obs["time"], TIMES[[0, 0, 0, 1, 1]])


@pytest.mark.parametrize("kind", ["count", "index"])
def test_trajectories(kind):
    name = ("ship", ["DBLK", "ZZZZ"], {"cf_role": "trajectory_id"})
    extra = {"n": ("ship", [2, 3], {"sample_dimension": "obs"})}
    if kind == "index":
        extra = {"n": ("obs", [0, 0, 1, 1, 1], {"instance_dimension": "ship"})}
    places = {"lat": ("obs", VALUES - 280.0), "lon": ("obs", VALUES - 280.0), "time": ("obs", TIMES)}
    obs = read_observations(xr.Dataset({"x": ("obs", VALUES, KELVIN)} | extra, places | {"id": name}))
    assert obs["station"].values.tolist() == ["DBLK"] * 2 + ["ZZZZ"] * 3
    np.testing.assert_array_equal(obs["latitude"], np.arange(5.0))


def test_time_series_of_profiles_are_ragged_twice():
    ds = profiles("contiguous").drop_vars(["lat", "lon", "id"])
    ds["station_index"] = ("profile", [1, 1], {"instance_dimension": "station"})
    obs = read_observations(ds.assign_coords(stations()))
    assert obs["station"].values.tolist() == ["b"] * 5
    np.testing.assert_array_equal(obs["altitude"], 6.0)
    np.testing.assert_array_equal(obs["time"], TIMES[[0, 0, 0, 1, 1]])


def refused(array) -> da.Array:
    def refuse(block):
        raise AssertionError("computed")

    return da.from_array(np.asarray(array, float), chunks=2).map_blocks(refuse, dtype=float, meta=np.empty(0))


def test_ragged_values_stay_lazy():
    for ds in (contiguous(), indexed()):
        obs = read_observations(ds.assign(x=("sample", refused(VALUES), KELVIN)))
        assert obs[T].chunks is not None
        assert all(obs[name].chunks is None for name in obs.coords)
        assert obs["station"].values.tolist() == ["a", "a", "c", "c", "c"]


@pytest.mark.parametrize("layout", [contiguous, indexed, incomplete])
def test_lazy_and_eager_are_the_same(layout):
    xr.testing.assert_identical(read_observations(layout().chunk()).compute(), read_observations(layout()))


@pytest.mark.parametrize(
    ("name", "values", "match"),
    [
        ("row_size", ("station", [9, 9, 9], {"sample_dimension": "sample"}), r"counts 27 samples.*has 5"),
        ("row_size", ("station", [1, 1, 1], {"sample_dimension": "elsewhere"}), "'elsewhere'"),
        ("row_size", ("sample", [0, 0, 7, 7, 7], {"instance_dimension": "station"}), r"index 7 along 'station'"),
        ("row_size", ("sample", OWNER, {"instance_dimension": "elsewhere"}), "'elsewhere'"),
    ],
)
def test_ragged_arrays_that_do_not_add_up(name, values, match):
    with pytest.raises(ObservationError, match=match):
        read_observations(contiguous().drop_vars("row_size").assign({name: values}))


def test_samples_of_no_instance_have_no_place():
    ds = contiguous()
    ds["row_size"] = ("station", [2, 0, 2], {"sample_dimension": "sample"})
    assert read_observations(ds)[f"{T}_flag"].values.tolist() == [0, 0, 0, 0, 1]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_file_of_a_ragged_array(tmp_path):
    pytest.importorskip("netCDF4")
    contiguous().to_netcdf(tmp_path / "ragged.nc")
    obs = read_observations(tmp_path / "ragged.nc")
    assert obs[T].chunks is not None
    xr.testing.assert_allclose(plain(obs.compute()), plain(expected()))


ASCAT = "real/ascat-metopa-20150702/ascat_20150702_084200_metopa_45145_eps_o_250_2300_ovw.l2.nc"


def test_a_real_swath_whose_directions_are_oceanographic(shared):
    pytest.importorskip("netCDF4")
    path = shared(ASCAT)
    obs = read_observations(path).compute()
    u, v = obs["10m_u_component_of_wind"], obs["10m_v_component_of_wind"]
    assert int(u.notnull().sum()) == int(v.notnull().sum()) == 38780
    assert (obs["wind_speed_flag"].values[obs["wind_speed"].notnull()] == 12).all()
    with xr.open_dataset(path) as ds:
        speed, angle = ds["model_speed"].values.reshape(-1), np.deg2rad(ds["model_dir"].values.reshape(-1))
    # The wind of ECMWF's model beside each cell, given in the same convention, is near.
    difference = np.hypot(u - speed * np.sin(angle), v - speed * np.cos(angle))
    assert float(np.sqrt((difference**2).mean())) < 2.5
    assert "wvc_quality_flag" in obs.attrs["unknown_variables"]

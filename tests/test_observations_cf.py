"""CF Datasets: attributes, layouts, laziness."""

import json

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from xappa.errors import ObservationError, RejectionWarning, UnitsError
from xappa.observations import Flag, flag_counts, read_observations

T = "2m_temperature"
TIMES = np.array(["2024-01-01T00", "2024-01-01T06", "2024-01-01T12"], dtype="datetime64[s]")


def points(**variables) -> xr.Dataset:
    return xr.Dataset(
        {name: ("obs", *value) for name, value in variables.items()},
        coords={
            "time": ("obs", TIMES),
            "lat": ("obs", [10.0, 20.0, 30.0]),
            "lon": ("obs", [0.0, 120.0, 240.0]),
        },
    )


def lazy(values, chunks=2) -> da.Array:
    """Array that must not be computed."""

    def refuse(block):
        raise AssertionError("computed")

    return da.from_array(np.asarray(values, float), chunks=chunks).map_blocks(refuse, dtype=float, meta=np.empty(0))


def test_units_come_from_attributes():
    obs = read_observations(points(t2m=([10.0, 20.0, 30.0], {"units": "degC"})))
    np.testing.assert_allclose(obs[T], [283.15, 293.15, 303.15])
    assert "units_assumed" not in obs.attrs
    assert read_observations(points(t2m=([280.0] * 3,))).attrs["units_assumed"] == T


def test_wrong_units_name_variable_and_remedy():
    ds = points(t2m=([10.0, 20.0, 30.0], {"units": "m"}), msl=([1.0] * 3, {"units": "apples"}))
    with pytest.raises(UnitsError, match=r"(?s)2m_temperature: units 'm'.*mean_sea_level_pressure: units 'apples'"):
        read_observations(ds)


def test_near_the_ground_or_on_a_level_by_the_coordinates():
    ds = points(x=([280.0] * 3, {"standard_name": "air_temperature", "units": "K"}))
    assert T in read_observations(ds)
    aloft = ds.assign_coords(p=("obs", [500.0, 700.0, 850.0], {"standard_name": "air_pressure", "units": "hPa"}))
    obs = read_observations(aloft)
    assert T not in obs
    assert obs["level"].values.tolist() == [500.0, 700.0, 850.0]


def test_level_in_pascal_becomes_hectopascal():
    ds = points(t=([250.0] * 3, {"units": "K"})).assign_coords(plev=("obs", [5e4, 7e4, 85e3], {"units": "Pa"}))
    assert read_observations(ds)["level"].values.tolist() == [500.0, 700.0, 850.0]


def test_errors_from_ancillary_variables_come_first():
    ds = points(
        t2m=([280.0] * 3, {"units": "K", "ancillary_variables": "noise"}),
        noise=([1.0, np.nan, -1.0], {"standard_name": "air_temperature standard_error", "units": "degC"}),
    )
    np.testing.assert_array_equal(read_observations(ds)[f"{T}_error"], [1.0, np.nan, np.nan])
    np.testing.assert_array_equal(read_observations(ds, error={T: 2.0})[f"{T}_error"], [1.0, 2.0, 2.0])


def test_station_series_are_flattened():
    values = np.arange(6.0).reshape(2, 3) + 280.0
    ds = xr.Dataset(
        {"tas": (("station", "time"), values, {"units": "K"})},
        coords={
            "time": TIMES,
            "lat": ("station", [10.0, 20.0]),
            "lon": ("station", [30.0, 40.0]),
            "alt": ("station", [5.0, 6.0], {"standard_name": "altitude", "units": "m"}),
            "station_id": ("station", ["a", "b"], {"cf_role": "timeseries_id"}),
        },
    )
    obs = read_observations(ds)
    np.testing.assert_array_equal(obs[T], values.reshape(-1))
    np.testing.assert_array_equal(obs["latitude"], [10.0] * 3 + [20.0] * 3)
    np.testing.assert_array_equal(obs["time"], np.tile(TIMES, 2))
    np.testing.assert_array_equal(obs["altitude"], [5.0] * 3 + [6.0] * 3)
    assert obs["station"].values.tolist() == ["a"] * 3 + ["b"] * 3


def test_swaths_and_variables_of_several_shapes():
    ds = xr.Dataset(
        {
            "t2m": (("row", "cell"), np.full((2, 3), 280.0)),
            "t": (("row", "cell", "level"), np.full((2, 3, 2), 250.0)),
        },
        coords={
            "time": ("row", TIMES[:2]),
            "lat": (("row", "cell"), np.arange(6.0).reshape(2, 3)),
            "lon": (("row", "cell"), np.arange(6.0).reshape(2, 3)),
            "level": [500.0, 850.0],
        },
    )
    obs = read_observations(ds)
    assert dict(obs.sizes) == {"obs": 6 + 12}
    assert flag_counts(obs)["good"].to_dict() == {T: 6, "temperature": 12}
    assert np.isnan(obs["level"]).sum() == 6


def test_single_time_and_undecoded_time():
    ds = points(t2m=([280.0] * 3,)).drop_vars("time").assign_coords(time=TIMES[1])
    assert (read_observations(ds)["time"] == TIMES[1]).all()
    ds["time"] = ((), 6, {"units": "hours since 2024-01-01"})
    assert (read_observations(ds)["time"] == TIMES[1]).all()


@pytest.mark.parametrize("units", ["months since 2018-11-02", "hours since yesterday"])
def test_times_that_cannot_be_decoded(units):
    ds = points(t2m=([280.0] * 3,)).drop_vars("time").assign_coords(time=((), 6, {"units": units}))
    with pytest.raises(ObservationError, match=rf"time cannot be decoded.*{units}.*Expected units such as"):
        read_observations(ds)
    ds = points(pr=([1e-3] * 3, {"standard_name": "precipitation_amount", "cell_methods": "time: sum"}))
    ds["time"].attrs["bounds"] = "ends"
    ds["ends"] = (("obs", "two"), [[0, 1]] * 3, {"units": units})
    with pytest.raises(ObservationError, match=rf"ends cannot be decoded.*{units}"):
        read_observations(ds)


@pytest.mark.parametrize("name", [5, ("a", "b")])
def test_names_that_are_no_text_are_counted_as_unknown_ones_are(name):
    ds = points(t2m=([280.0] * 3, {"units": "K"})).assign({name: ("obs", [1.0] * 3)})
    for source in (ds, ds.rename(obs=7), read_observations(ds).assign({name: ("obs", [1.0] * 3)})):
        obs = read_observations(source)
        assert json.loads(obs.attrs["unknown_variables"]) == {str(name): 3}
        assert set(obs.data_vars) == {T, f"{T}_flag"} and name in source


def test_lazy_values_stay_lazy():
    attrs = {"units": "degC", "ancillary_variables": "sd"}
    ds = points(
        t2m=(lazy([10.0, 20.0, 30.0]), attrs),
        sd=(lazy([1.0] * 3), {"standard_name": "air_temperature standard_error"}),
        wind_speed=(lazy([1.0] * 3), {"units": "kt"}),
        wind_direction=(lazy([1.0] * 3), {"units": "degree"}),
        gust=(lazy([1.0] * 3),),
    )
    obs = read_observations(ds, error="speedy-twin")
    assert all(variable.chunks is not None for variable in obs.data_vars.values())
    assert json.loads(obs.attrs["unknown_variables"]) == {"gust": 3}


def test_lazy_values_are_flagged_as_eager_ones_are():
    ds = points(
        t2m=([280.0, 400.0, 281.0], {"units": "K"}),
        wind_speed=([0.0, 5.0, 349.0], {"units": "m/s"}),
        wind_direction=([np.nan, 90.0, 90.0], {"units": "degree"}),
    )
    ds = xr.concat([ds, ds], "obs")
    xr.testing.assert_identical(read_observations(ds.chunk(obs=2)).compute(), read_observations(ds))
    assert read_observations(ds)[f"{T}_flag"].values.tolist() == [0, 3, 0, 4, 3, 4]


def test_flags_that_were_set_before_are_kept():
    obs = read_observations(points(t2m=([280.0] * 3, {"units": "K"})))
    obs[f"{T}_flag"][1] = Flag.WITHHELD
    renamed = obs.rename({"obs": "report"})
    np.testing.assert_array_equal(read_observations(renamed)[f"{T}_flag"], [0, Flag.WITHHELD, 0])


def test_no_recognisable_axes():
    ds = xr.Dataset({"t2m": (("a", "b"), np.zeros((2, 2)))}, coords={"a": [0, 1], "b": [0, 1]})
    with pytest.raises(ObservationError, match=r"time and latitude and longitude not found among a, b, t2m"):
        read_observations(ds)


def test_coordinates_that_do_not_go_with_the_variable():
    ds = points(t2m=([280.0] * 3,)).assign(msl=(("other",), [1e5, 1e5]))
    with pytest.raises(ObservationError, match=r"not found among .*msl \('other',\)"):
        read_observations(ds)


def test_a_single_variable_will_do():
    obs = read_observations(points(t2m=([280.0] * 3, {"units": "K"}))["t2m"])
    assert obs[T].values.tolist() == [280.0] * 3


def mast(name: str = "x", standard_name: str = "eastward_wind", heights=(200.0, 10.0), **attrs) -> xr.Dataset:
    """Values 1, 2, ... at the heights of a mast."""
    values = np.arange(1.0, len(heights) + 1.0) + (280.0 if standard_name == "air_temperature" else 0.0)
    return xr.Dataset(
        {name: (("time", "height"), [values] * 3, {"standard_name": standard_name} if standard_name else {})},
        {
            "time": TIMES,
            "lat": 50.0,
            "lon": 5.0,
            "height": ("height", list(heights), {"standard_name": "height", "units": "m"} | attrs),
        },
    )


U10 = "10m_u_component_of_wind"
WRONG_HEIGHT = Flag.WRONG_HEIGHT.value


def good(obs: xr.Dataset, name: str) -> np.ndarray:
    """Values that would be used."""
    obs = obs.compute()
    return obs[name].values[(obs[name].notnull() & (obs[f"{name}_flag"] == 0)).values]


def elsewhere(obs: xr.Dataset, name: str) -> dict[float, float]:
    """Values at other heights than the quantity's, by their height."""
    obs = obs.compute()
    rows = (obs[name].notnull() & (obs[f"{name}_flag"] == WRONG_HEIGHT)).values
    return dict(zip(obs["height"].values[rows].tolist(), obs[name].values[rows].tolist(), strict=True))


@pytest.mark.parametrize("chunks", [None, {}])
def test_of_several_heights_that_of_the_quantity_is_used(chunks):
    ds = mast().assign(x_error=(("time", "height"), [[0.1, 0.2]] * 3))
    obs = read_observations(ds if chunks is None else ds.chunk(chunks))
    assert obs.sizes["obs"] == 6 and (obs[U10].chunks is None) == (chunks is None)
    np.testing.assert_array_equal(good(obs, U10), 2.0)
    assert elsewhere(obs, U10) == {200.0: 1.0}
    np.testing.assert_array_equal(obs[f"{U10}_error"], np.where(obs[U10] == 2.0, 0.2, 0.1))
    both = mast(heights=(100.0, 10.0, 2.0))
    obs = read_observations(
        both.assign(y=mast("y", "air_temperature", (100.0, 10.0, 2.0))["y"], msl=("time", [1e5] * 3))
    )
    np.testing.assert_array_equal(good(obs, U10), 2.0)
    np.testing.assert_array_equal(good(obs, T), 283.0)
    assert elsewhere(obs, U10) == {100.0: 1.0, 2.0: 3.0} and elsewhere(obs, T) == {100.0: 281.0, 10.0: 282.0}
    together = obs.isel(obs=(obs["mean_sea_level_pressure"].notnull() & (obs[T] == 283.0) & (obs[U10] == 2.0)).values)
    assert together.sizes["obs"] == 3  # what is at its height makes one report


def test_heights_of_other_units_or_without_attributes():
    for ds in (mast(heights=(0.2, 0.01), units="km"), mast().drop_attrs().assign(x=mast()["x"].variable)):
        np.testing.assert_array_equal(good(read_observations(ds), U10), 2.0)


@pytest.mark.parametrize(
    ("name", "standard_name", "height", "quantity"),
    [
        ("x", "eastward_wind", 200.0, U10),
        ("x", "air_temperature", 100.0, T),
        ("x", "air_temperature", 0.05, T),
        ("wind_speed", "", 200.0, "10m_wind_speed"),
        ("rh", "relative_humidity", 50.0, "2m_relative_humidity"),
    ],
)
def test_what_is_at_another_height_only_is_kept_and_flagged(name, standard_name, height, quantity):
    ds = mast(name, standard_name).isel(height=0).assign_coords(height=((), height, {"standard_name": "height"}))
    with pytest.warns(RejectionWarning, match=rf"{name} at {height:g} m \(expected .* m for .*rename=\{{'{name}'"):
        obs = read_observations(ds.assign(msl=("time", [1e5] * 3)))
    assert (obs[f"{quantity}_flag"].values[obs[quantity].notnull()] == WRONG_HEIGHT).all()
    np.testing.assert_array_equal(obs["height"].values[obs[quantity].notnull()], height)
    np.testing.assert_array_equal(good(obs, "mean_sea_level_pressure"), 1e5)
    assert "unknown_variables" not in obs.attrs


def test_screens_may_be_lower_than_two_metres():
    ds = mast("x", "air_temperature").isel(height=0)
    for height, used in ((1.25, 3), (1.5, 3), (2.0, 3), (1.0, 0), (3.0, 0)):
        obs = read_observations(ds.assign_coords(height=((), height, {"standard_name": "height"})))
        assert len(good(obs, T)) == used


def test_the_name_and_the_caller_are_worth_more_than_the_height_of_another_variable():
    ds = mast("u10").isel(height=0)
    np.testing.assert_array_equal(good(read_observations(ds), U10), 1.0)
    ds = ds.rename(u10="x")
    np.testing.assert_array_equal(good(read_observations(ds, rename={"x": U10}), U10), 1.0)
    obs = read_observations(ds, rename={"height": "altitude"})
    np.testing.assert_array_equal(obs["altitude"], 200.0)
    np.testing.assert_array_equal(good(obs, U10), 1.0)


def test_heights_of_reports():
    ds = points(x=([280.0, 281.0, 282.0], {"standard_name": "air_temperature", "units": "K"}))
    ds = ds.assign_coords(z=("obs", [1.5, 30.0, np.nan], {"standard_name": "height", "units": "m"}))
    obs = read_observations(ds)
    assert obs[f"{T}_flag"].values.tolist() == [0, WRONG_HEIGHT, 0]
    np.testing.assert_array_equal(obs["height"], [1.5, 30.0, np.nan])
    np.testing.assert_array_equal(obs[T], [280.0, 281.0, 282.0])


@pytest.mark.parametrize(
    ("other", "height"), [("u100", 100.0), ("100u", 100.0), ("u_80m", 80.0), ("eastward_wind_120m", 120.0)]
)
def test_names_that_say_another_height(other, height):
    wind = {"standard_name": "eastward_wind", "units": "m s-1"}
    obs = read_observations(points(u10=([1.0] * 3, wind), **{other: ([2.0] * 3, wind)}))
    np.testing.assert_array_equal(good(obs, U10), 1.0)
    assert elsewhere(obs, U10) == {height: 2.0}


def test_names_that_say_a_level_of_pressure():
    wind = {"standard_name": "eastward_wind", "units": "m s-1"}
    obs = read_observations(points(u10=([1.0] * 3, wind), u850=([2.0] * 3, wind)))
    np.testing.assert_array_equal(obs[U10], 1.0)
    assert json.loads(obs.attrs["unknown_variables"]) == {"u850": 3}


HYBRID = "atmosphere_hybrid_sigma_pressure_coordinate"


@pytest.mark.parametrize(
    ("level", "standard_name"), [("lev", HYBRID), ("level", "model_level_number"), ("hybrid", HYBRID)]
)
def test_levels_that_are_no_pressures(level, standard_name):
    temperature = (("time", level), np.full((3, 2), 280.0), {"standard_name": "air_temperature", "units": "K"})
    attrs = {"standard_name": standard_name, "positive": "down"}
    ds = xr.Dataset({"t": temperature}, {"time": TIMES, "lat": 50.0, "lon": 5.0, level: (level, [110.0, 120.0], attrs)})
    for source in (ds, ds.isel({level: 0}), ds.assign(t2m=("time", [280.0] * 3))):
        with pytest.raises(ObservationError, match=rf"t lies on {level} \({standard_name}\).*'{level}': 'level'"):
            read_observations(source)
    assert read_observations(ds, rename={level: "level"})["level"].values.tolist() == [110.0, 120.0] * 3
    pressure = ((level,), [5e4, 7e4], {"standard_name": "air_pressure", "units": "Pa"})
    assert read_observations(ds.assign_coords(p=pressure))["level"].values.tolist() == [500.0, 700.0] * 3
    low = ds.isel({level: 0}).assign(t2m=("time", [280.0] * 3), msl=("time", [1e5] * 3)).drop_vars("t")
    obs = read_observations(low)
    assert {T, "mean_sea_level_pressure"} < set(obs.data_vars) and "level" not in obs.coords


def test_heights_that_are_called_levels():
    obs = read_observations(mast().rename(height="lev"))
    assert "level" not in obs.coords
    np.testing.assert_array_equal(good(obs, U10), 2.0)

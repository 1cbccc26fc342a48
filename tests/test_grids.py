"""Axes and conventions, and bilinear weights on the sphere."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from xappa.errors import DatasetError
from xappa.grids import bracket, compute_bilinear_weights, recognise
from xappa.grids.axes import inspect
from xappa.grids.matching import find_positions, order_output_levels

GRIDS = {
    "cells, south first": (np.arange(-88.125, 90, 3.75), np.arange(0, 360, 3.75)),
    "cells, north first": (np.arange(88.125, -90, -3.75), np.arange(-180, 180, 3.75)),
    "rows on the poles": (np.linspace(90, -90, 37), np.arange(0, 360, 5.0)),
    "Gaussian": (np.degrees(np.arcsin(np.polynomial.legendre.leggauss(48)[0])), np.arange(0, 360, 3.75)),
    "starts anywhere": (np.arange(-85, 90, 10.0), (np.arange(0, 360, 10.0) + 37) % 360),
    "odd number of columns": (np.arange(-85, 90, 10.0), np.arange(0, 360, 24.0)),
}
places = st.tuples(st.floats(-90, 90), st.floats(-180, 360))


def read(field: np.ndarray, latitude, longitude, rows, columns, vector: bool = False) -> np.ndarray:
    around = compute_bilinear_weights(np.atleast_1d(latitude), np.atleast_1d(longitude), rows, columns)
    assert around.inside.all()
    weight = np.where(around.crossed, -around.weight, around.weight) if vector else around.weight
    return (field.ravel()[around.cell] * weight).sum(axis=1)


def winds(latitude: np.ndarray, longitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Components of the constant cartesian vector (1, 0, 0): smooth everywhere, also over the poles."""
    phi, lam = np.radians(latitude), np.radians(longitude)
    return -np.sin(lam), -np.sin(phi) * np.cos(lam)


@pytest.mark.parametrize("grid", GRIDS)
@given(place=places)
def test_a_constant_is_read_everywhere(grid: str, place: tuple[float, float]) -> None:
    rows, columns = GRIDS[grid]
    around = compute_bilinear_weights(np.array(place[:1]), np.array(place[1:]), rows, columns)
    assert around.inside.all()
    assert (around.weight >= 0).all()
    assert around.weight.sum() == pytest.approx(1, abs=1e-12)
    assert (around.cell >= 0).all() and (around.cell < len(rows) * len(columns)).all()


@pytest.mark.parametrize("grid", GRIDS)
def test_grid_points_are_read_exactly(grid: str, rng: np.random.Generator) -> None:
    rows, columns = GRIDS[grid]
    field = rng.normal(size=(len(rows), len(columns)))
    latitude, longitude = np.meshgrid(rows, columns, indexing="ij")
    # A field with rows on the poles has one value there.
    field[np.abs(rows) == 90] = 1.0
    np.testing.assert_allclose(
        read(field, latitude.ravel(), longitude.ravel(), rows, columns), field.ravel(), atol=1e-9
    )


@pytest.mark.parametrize("grid", ["cells, south first", "cells, north first", "Gaussian"])
def test_interior_agrees_with_scipy(grid: str, rng: np.random.Generator) -> None:
    rows, columns = GRIDS[grid]
    field = rng.normal(size=(len(rows), len(columns)))
    latitude = rng.uniform(-86, 86, 500)
    longitude = rng.uniform(columns.min(), columns.max(), 500)
    order = np.argsort(rows)
    expected = RegularGridInterpolator((rows[order], columns), field[order])(np.stack([latitude, longitude], 1))
    np.testing.assert_allclose(read(field, latitude, longitude, rows, columns), expected, atol=1e-12)


def test_linear_fields_are_exact(rng: np.random.Generator) -> None:
    rows, columns = GRIDS["cells, north first"]
    field = 2 * rows[:, None] - 0.5 * columns[None] + 0.01 * rows[:, None] * columns[None]
    latitude, longitude = rng.uniform(-88, 88, 100), rng.uniform(-180, 176, 100)
    expected = 2 * latitude - 0.5 * longitude + 0.01 * latitude * longitude
    np.testing.assert_allclose(read(field, latitude, longitude, rows, columns), expected, atol=1e-9)


def test_across_the_date_line() -> None:
    rows, columns = GRIDS["cells, north first"]
    field = np.zeros((len(rows), len(columns)))
    field[:, 0], field[:, -1] = 1.0, 3.0  # at 180 west and 176.25 east
    east = read(field, [0, 0, 0], [178.125, 178.125 - 360, 178.125 + 360], rows, columns)
    np.testing.assert_allclose(east, 2.0)


def test_over_the_pole_by_hand() -> None:
    rows, columns = np.array([-75.0, -45, -15, 15, 45, 75]), np.arange(0, 360, 90.0)
    field = np.arange(24.0).reshape(6, 4)
    # At the pole half of each side: longitude 90 (column 1) and 270 (column 3) of the last row, 20 ... 23.
    assert read(field, 90, 90, rows, columns) == pytest.approx(0.5 * 21 + 0.5 * 23)
    assert read(field, 90, 90, rows, columns, vector=True) == pytest.approx(0.5 * 21 - 0.5 * 23)
    # 80 degrees is a sixth of the way from 75 to 105, which is 75 on the other side.
    assert read(field, 80, 90, rows, columns) == pytest.approx(5 / 6 * 21 + 1 / 6 * 23)
    assert read(field, -80, 0, rows, columns) == pytest.approx(5 / 6 * 0 + 1 / 6 * 2)


@pytest.mark.parametrize("grid", ["cells, south first", "cells, north first", "Gaussian", "rows on the poles"])
@given(place=places)
def test_flow_over_a_pole_keeps_its_direction(grid: str, place: tuple[float, float]) -> None:
    rows, columns = GRIDS[grid]
    expected = winds(np.array(place[0]), np.array(place[1]))
    for field, value in zip(winds(rows[:, None], columns[None]), expected, strict=True):
        field = np.broadcast_to(field, (len(rows), len(columns)))
        assert read(field, *place, rows, columns, vector=True)[0] == pytest.approx(float(value), abs=4e-3)


def test_a_region_has_an_outside() -> None:
    rows, columns = np.arange(30.0, 61, 5), np.arange(-10.0, 31, 5) % 360
    latitude = np.array([45.0, 30, 60, 62, 29, 45, 45, 45, 90])
    longitude = np.array([0.0, -10, 30, 0, 0, -11, 31, 180, 0])
    inside = compute_bilinear_weights(latitude, longitude, rows, columns).inside
    np.testing.assert_array_equal(inside, [True, True, True, False, False, False, False, False, False])
    field = latitude[0] + np.zeros((7, 9)) + (columns[None] + 180) % 360
    assert read(field, 45, -2.5, rows, columns) == pytest.approx(45 + 177.5)


def test_a_repeated_meridian_does_no_harm() -> None:
    rows, columns = np.arange(-85, 90, 10.0), np.arange(0, 361, 10.0)
    field = np.broadcast_to(np.cos(np.radians(columns)), (len(rows), len(columns)))
    expected = 0.5 * (np.cos(np.radians(350)) + 1)
    np.testing.assert_allclose(read(field, [0, 0], [355, -5], rows, columns), expected)


def test_missing_places_are_outside() -> None:
    rows, columns = GRIDS["Gaussian"]
    around = compute_bilinear_weights(np.array([np.nan, 0, 91]), np.array([0, np.nan, 0]), rows, columns)
    assert not around.inside.any()


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=8, unique=True), st.floats(-60, 60))
def test_bracket_is_numpy_interp(nodes: list[int], x: float) -> None:
    y = np.array(sorted(nodes), float)
    values = np.sin(y)
    index, weight = bracket(y, np.array([x]))
    assert (values[index] * weight).sum() == pytest.approx(np.interp(x, y, values), abs=1e-12)


def grid(**coords: object) -> xr.Dataset:
    base = {"time": np.array(["2020-01-01", "2020-01-02"], "M8[s]"), "lat": [1.0, 2.0], "lon": [0.0, 1.0]}
    return xr.Dataset(coords=base | coords)


def days(*values: str) -> np.ndarray:
    return np.array(values, "M8[us]")


def test_axes_by_attributes_and_by_names() -> None:
    times = np.array(["2020-01-01"], "M8[ns]")
    by_attributes = xr.Dataset(
        {"tas": (("when", "phi", "lam"), np.zeros((1, 2, 3)))},
        coords={
            "when": ("when", times, {"standard_name": "time"}),
            "phi": ("phi", [10.0, -10], {"units": "degrees_north"}),
            "lam": ("lam", [-120.0, 0, 120], {"standard_name": "longitude"}),
            "p": ("p", [100000.0, 50000], {"standard_name": "air_pressure", "units": "Pa"}),
        },
    )
    layout = recognise(by_attributes)
    assert (layout.time, layout.latitude, layout.longitude, layout.level) == ("when", "phi", "lam", "p")
    assert layout.north_first and layout.longitude_convention == "-180..180" and layout.level_descending
    assert layout.level_units == "Pa" and layout.hectopascals == (1000, 500)
    assert layout.names == {"tas": "2m_temperature"}
    by_name = grid(isobaricInhPa=[500, 850], number=[0, 1])
    layout = recognise(by_name)
    assert (layout.time, layout.latitude, layout.longitude) == ("time", "lat", "lon")
    assert (layout.level, layout.level_units, layout.member) == ("isobaricInhPa", "hPa", "number")
    assert not layout.north_first and layout.longitude_convention == "0..360" and not layout.level_descending


def test_levels_without_units_go_by_their_size() -> None:
    assert recognise(grid(plev=[100000.0, 5000])).level_units == "Pa"
    assert recognise(grid(level=[1000, 50])).level_units == "hPa"
    assert recognise(grid(level=("level", [1, 2], {"units": "1"}))).level is None


@pytest.mark.parametrize(
    ("units", "factor"), [("kPa", 10), ("kilopascals", 10), ("bar", 1000), ("mb", 1), ("Pa", 0.01)]
)
def test_levels_in_any_units_of_pressure(units: str, factor: float) -> None:
    for name in ("level", "p"):
        layout = recognise(grid(**{name: (name, np.array([300, 850.0]) / factor, {"units": units})}))
        assert layout.level == name and layout.hectopascals == (300, 850)
        assert order_output_levels(layout, (850, 300, 7))[1] == pytest.approx((7 / factor, 300 / factor, 850 / factor))


def aloft(**coords: object) -> xr.Dataset:
    """Temperature along the last of the coordinates."""
    ds = grid(**coords)
    *_, last = coords
    return ds.assign(t=(("time", last, "lat", "lon"), np.zeros((2, 2, 2, 2))))


def test_levels_that_are_not_understood_are_refused() -> None:
    sigma = {"standard_name": "atmosphere_sigma_coordinate"}
    for ds, words in (
        (aloft(level=("level", [1.0, 2.0], {"units": "1"})), "level 'level' has units '1'; expected hPa or Pa"),
        (aloft(sigma=("sigma", [0.5, 1.0], sigma)), "level 'sigma' has no units; expected hPa or Pa"),
        (aloft(height=("height", [10.0, 80.0], {"units": "m", "axis": "Z"})), "level 'height' has units 'm'"),
        (
            aloft(lev=["500", "850"]),
            r"level 'lev' holds str; expected numbers, in hPa or Pa: use ds.assign_coords\(lev=",
        ),
        (aloft(lev=np.array(["500", "850"], object)), "level 'lev' holds str"),
        (aloft(lev=[500, 850]).drop_vars("lev"), "'lev' has no coordinate values; .*in hPa or Pa: .*lev=..."),
        (aloft(lev=[500, 850]).isel(lev=[]), "level 'lev' is empty"),
        (aloft(lev=("lev", [1, 2], {"units": "1"})).isel(lev=0), "level 'lev' has units '1'"),
    ):
        for need in (("time",), ("time", "latitude", "longitude")):
            with pytest.raises(DatasetError, match=words) as error:
                recognise(ds, need=need)
            assert str(error.value).count("\n- ") == 1


def test_other_dimensions_are_the_user_s_own() -> None:
    for coords in ({"experiment": ["a", "b"]}, {"number": [0, 1]}, {"quantile": [0.1, 0.9]}):
        assert not inspect(aloft(level=500, **coords))[1]
    along = aloft(level=[500, 850]).rename_dims(level="lev").rename_vars(level="pressure")
    assert recognise(along).hectopascals == (500, 850)
    near = grid(level=("level", [1, 2], {"units": "1"})).assign(t2m=(("time", "lat", "lon"), np.zeros((2, 2, 2))))
    assert not inspect(near)[1]
    assert not inspect(aloft(height=2.0, level=[500, 850]))[1]


def test_a_scalar_member_is_no_axis() -> None:
    assert recognise(grid(number=0)).member is None


def test_variables_by_standard_name_level_and_height() -> None:
    ds = grid(level=[500.0, 850.0])
    dims = ("time", "lat", "lon")
    ds["a"] = (("time", "level", "lat", "lon"), np.zeros((2, 2, 2, 2)), {"standard_name": "air_temperature"})
    ds["b"] = (dims, np.zeros((2, 2, 2)), {"standard_name": "air_pressure_at_mean_sea_level"})
    near = xr.DataArray(np.zeros((2, 2, 2)), dims=dims, attrs={"standard_name": "eastward_wind"})
    high = ds.assign(u100=near)
    assert recognise(high).names == {"a": "temperature", "b": "mean_sea_level_pressure"}
    assert recognise(high).unknown == ("u100",)
    ten = ds[["b"]].assign(c=near).assign_coords(height=10.0)
    assert recognise(ten).names["c"] == "10m_u_component_of_wind"
    rain = {"standard_name": "lwe_thickness_of_precipitation_amount", "cell_methods": "time: sum (interval: 6 hours)"}
    ds["r"] = (dims, np.zeros((2, 2, 2)), rain)
    assert recognise(ds).names["r"] == "total_precipitation_6hr"


def test_fields_without_time_and_bounds_are_static() -> None:
    ds = grid(orography=(("lat", "lon"), np.zeros((2, 2))))
    ds["t2m"] = (("time", "lat", "lon"), np.zeros((2, 2, 2)))
    ds["time_bnds"] = (("time", "bnds"), np.zeros((2, 2)))
    ds["time"].attrs["bounds"] = "time_bnds"
    ds["lsm"] = (("lat", "lon"), np.zeros((2, 2)))
    layout = recognise(ds)
    assert set(layout.static) == {"time_bnds", "lsm"}
    assert layout.unknown == ()


@pytest.mark.parametrize(
    ("ds", "expected"),
    [
        (grid(lat=[80.0, 100.0]), ["beyond 90 degrees, to 100"]),
        (grid(lat=[1.0, 1.0]), ["latitude 'lat' is not sorted, or has duplicates"]),
        (grid(time=days("2020-01-02", "2020-01-01")), ["2020-01-02T00:00 is followed by 2020-01-01T00:00", "sortby"]),
        (grid(time=days("2020-01-02", "2020-01-02")), ["1 duplicate times", "drop_duplicates"]),
        (grid(time=days("2020-01-02", "NaT")), ["1 missing values"]),
        (grid(time=[0, 1]), ["holds int64; expected datetime64", "xr.decode_cf"]),
        (grid(time=["2020-01-02"]), ["expected datetime64", "time=pd.to_datetime(ds['time'].values))"]),
        (
            grid(time=np.array([pd.Timestamp("2020-01-02", tz="UTC")], object)),
            ["holds Timestamp; expected datetime64", "pd.to_datetime(ds['time'].values, utc=True).tz_localize(None)"],
        ),
        (grid(lon=[0.0, 400.0]), ["longitude 'lon' goes from 0 to 400"]),
        (grid(level=[500, 500]), ["level 'level' has duplicates"]),
        (xr.Dataset({"a": (("row", "column"), np.zeros((2, 2)))}), ["no time", "no latitude", "no longitude", "none"]),
        (xr.Dataset({"t2m": (("lat", "lon"), np.zeros((2, 2)))}), ["'lat' has no coordinate values", "lat=..."]),
        (
            xr.Dataset(
                coords={"time": days("2020-01-02"), "lat": ("cell", [1.0, 0.0, 0.0]), "lon": ("cell", [0.0, 0.0, 9.0])}
            ),
            ["one dimension 'cell'", "ds.appa.regrid"],
        ),
        (grid(nav_lat=(("y", "x"), np.zeros((2, 2)))).drop_vars("lat"), ["'nav_lat' has the dimensions ('y', 'x')"]),
    ],
)
def test_what_is_wrong_is_said(ds: xr.Dataset, expected: list[str]) -> None:
    with pytest.raises(DatasetError) as error:
        recognise(ds)
    for words in expected:
        assert words in str(error.value)


def test_all_that_is_wrong_is_said_at_once() -> None:
    ds = grid(lat=[80.0, 100.0], time=np.array(["2020-01-02", "2020-01-01"], "M8[s]")).drop_vars("lon")
    with pytest.raises(DatasetError, match="(?s)no longitude axis.*not sorted.*beyond 90"):
        recognise(ds)


def test_other_calendars_are_refused() -> None:
    ds = grid(time=xr.date_range("2020-01-01", periods=2, calendar="noleap", use_cftime=True))
    with pytest.raises(DatasetError, match="convert_calendar"):
        recognise(ds)


def test_only_what_is_needed_has_to_be_there() -> None:
    ds = xr.Dataset(coords={"time": np.array(["2020-01-01"], "M8[s]")})
    assert recognise(ds, need=("time",)).latitude is None
    curvilinear = grid().drop_vars("lat").assign_coords(nav_lat=(("y", "x"), np.zeros((2, 2))))
    assert recognise(curvilinear, need=("time",)).latitude is None


def test_two_names_of_one_quantity() -> None:
    ds = grid()
    ds["t2m"] = ds["2t"] = (("time", "lat", "lon"), np.zeros((2, 2, 2)))
    assert "'t2m' and '2t' are both 2m_temperature" in inspect(ds)[1][0]


def test_positions_across_conventions() -> None:
    east = np.arange(0, 360, 30.0)
    west = ((east + 180) % 360 - 180).astype("f4")
    np.testing.assert_array_equal(find_positions(west, east, 360), np.arange(12))
    assert find_positions(east + 1, east, 360) is None


@pytest.mark.filterwarnings("ignore::xarray.SerializationWarning")
@pytest.mark.parametrize(
    ("path", "latitudes", "north_first", "convention"),
    [
        ("real/era5-gust-0p25-20110801/wgust_era5.nc", 721, True, "0..360"),
        ("real/ncep-june-climo-t42/NCEP_06_climo.nc", 64, False, "0..360"),
        ("real/ecmwf-small-grids/test4.nc", 181, True, "0..360"),
    ],
)
def test_real_files(shared, path: str, latitudes: int, north_first: bool, convention: str) -> None:
    with xr.open_dataset(shared(path), decode_times=False) as ds:
        layout = inspect(ds)[0]
    assert len(layout.latitudes) == latitudes
    assert (layout.north_first, layout.longitude_convention) == (north_first, convention)

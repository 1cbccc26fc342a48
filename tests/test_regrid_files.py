"""Files as models write them: several grids in one, places in time, bounds, weights, masks; and single variables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.errors import DatasetError
from xappa.grids.horizontal import CoordinatePair, find_pairs, identify_axis

DIMS = ("y", "x")


def smooth(lat: object, lon: object) -> object:
    return 10 * np.sin(np.deg2rad(6 * lat)) + 10 * np.cos(np.deg2rad(6 * lon))


def bent(rows: int = 31, columns: int = 31) -> tuple[np.ndarray, np.ndarray]:
    """A curvilinear grid of half a degree."""
    lat, lon = np.meshgrid(np.linspace(30, 45, rows), np.linspace(0, 15, columns), indexing="ij")
    return lat + 0.1 * np.sin(lon), lon


TARGET = xr.Dataset(coords={"lat": np.arange(33.0, 42.1, 1), "lon": np.arange(3.0, 12.1, 1)})
BILINEAR = 0.05
"""Error of bilinear interpolation of `smooth` over half a degree."""


def off(found: xr.DataArray) -> float:
    return float(np.abs(found - smooth(found["lat"], found["lon"])).max())


def staggered(t: tuple[str, str], u: tuple[str, str], dims: tuple[str, str] = DIMS, attrs: bool = True) -> xr.Dataset:
    """Two fields on the same dimensions, at places half a cell apart."""
    lat, lon = bent()
    units = ({"units": "degrees_north"}, {"units": "degrees_east"})
    coords = {}
    for (north, east), shift in ((t, 0.0), (u, 0.25)):
        coords[north], coords[east] = (dims, lat + shift, units[0]), (dims, lon + shift, units[1])
    told = [{"coordinates": f"{east} {north}"} if attrs else {} for north, east in (t, u)]
    return xr.Dataset(
        {"temp": (dims, smooth(lat, lon), told[0]), "uvel": (dims, smooth(lat + 0.25, lon + 0.25), told[1])}, coords
    )


class TestSeveralGrids:
    """Every field is read where its `coordinates` put it."""

    @pytest.mark.parametrize(
        "names",
        [
            (("TLAT", "TLONG"), ("ULAT", "ULONG")),
            (("nav_lat", "nav_lon"), ("gphiu", "glamu")),
            (("XLAT", "XLONG"), ("XLAT_U", "XLONG_U")),
            (("latitude", "longitude"), ("latitude_u", "longitude_u")),
        ],
    )
    @pytest.mark.parametrize("where", ["attrs", "encoding"])
    def test_on_the_same_dimensions(self, names, where) -> None:
        ds = staggered(*names)
        if where == "encoding":
            for field in ds.data_vars.values():
                field.encoding["coordinates"] = field.attrs.pop("coordinates")
        for part in (ds, ds[["temp"]], ds[["uvel"]], ds.chunk(y=10)):
            out = part.appa.regrid(TARGET)
            assert all(off(out[name]) < BILINEAR for name in part.data_vars)
            assert set(out.coords) == {"lat", "lon"} and out["temp" if "temp" in out else "uvel"].dims == ("lat", "lon")

    def test_on_dimensions_of_their_own(self) -> None:
        lat, lon = bent()
        ds = xr.Dataset(
            {
                "temp": (("eta_rho", "xi_rho"), smooth(lat, lon)),
                "u": (("eta_u", "xi_u"), smooth(lat[:, :-1], lon[:, :-1] + 0.25)),
                "hc": ((), 20.0),
                "Cs_r": (("s_rho",), [-1.0, 0.0]),
            },
            coords={
                "lat_rho": (("eta_rho", "xi_rho"), lat, {"standard_name": "latitude"}),
                "lon_rho": (("eta_rho", "xi_rho"), lon, {"standard_name": "longitude"}),
                "lat_u": (("eta_u", "xi_u"), lat[:, :-1], {"standard_name": "latitude"}),
                "lon_u": (("eta_u", "xi_u"), lon[:, :-1] + 0.25, {"standard_name": "longitude"}),
            },
        )
        out = ds.appa.regrid(TARGET)
        assert off(out["temp"]) < BILINEAR and off(out["u"]) < BILINEAR
        assert list(out.data_vars) == ["temp", "u", "hc", "Cs_r"] and "regrid_left_out" not in out.attrs

    def test_rows_that_are_staggered(self) -> None:
        lat, lon = np.arange(-88.0, 89, 4), np.arange(0.0, 360, 4)
        slat, slon = lat[:-1] + 2, lon + 2
        ds = xr.Dataset(
            {
                "T": (("lat", "lon"), smooth(lat[:, None] / 6, 0 * lon[None])),
                "US": (("slat", "lon"), smooth(slat[:, None] / 6, 0 * lon[None])),
                "VS": (("lat", "slon"), smooth(lat[:, None] / 6, 0 * slon[None])),
                "gw": (("lat",), np.cos(np.deg2rad(lat))),
                "hyam": (("lev",), [0.1, 0.2]),
                "date_written": (("time", "chars"), np.full((1, 8), b"0")),
            },
            coords={
                "lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "degrees_east"}),
                "slat": ("slat", slat, {"units": "degrees_north"}), "slon": ("slon", slon, {"units": "degrees_east"}),
            },
        )  # fmt: skip
        target = xr.Dataset(coords={"lat": np.arange(-60.0, 61, 10), "lon": np.arange(0.0, 360, 10)})
        with pytest.warns(UserWarning, match=r"left out: 'gw' \(along 'lat' only\)"):
            out = ds.appa.regrid(target)
        for name in ("T", "US", "VS"):
            np.testing.assert_allclose(out[name], smooth(out["lat"] / 6, 0 * out["lon"]), atol=0.01)
        assert list(out.data_vars) == ["T", "US", "VS", "hyam", "date_written"]
        assert out.attrs["regrid_left_out"] == "gw (along 'lat' only)"

    def test_nothing_tells_on_which_of_two(self) -> None:
        ds = staggered(("TLAT", "TLONG"), ("ULAT", "ULONG"), attrs=False)
        with pytest.raises(DatasetError, match="'TLAT' and 'TLONG' or 'ULAT' and 'ULONG'.*attrs"):
            ds.appa.regrid(TARGET)

    def test_two_names_of_the_same_places_do_no_harm(self) -> None:
        ds = staggered(("TLAT", "TLONG"), ("ULAT", "ULONG"), attrs=False)[["temp"]]
        same = ds.assign_coords(ULAT=ds.TLAT.variable, ULONG=ds.TLONG.variable)
        assert off(same.appa.regrid(TARGET)["temp"]) < BILINEAR

    def test_places_that_are_named_and_not_there(self) -> None:
        ds = staggered(("TLAT", "TLONG"), ("ULAT", "ULONG")).drop_vars(["ULAT", "ULONG"])
        with pytest.raises(DatasetError, match="'uvel' lies at 'ULONG' and 'ULAT'"):
            ds.appa.regrid(TARGET)

    def test_weights_of_one_grid_leave_out_the_others(self) -> None:
        ds = staggered(("TLAT", "TLONG"), ("ULAT", "ULONG"))
        weights = xappa.regrid_weights(ds[["temp"]], TARGET)
        with pytest.warns(UserWarning, match="'uvel' .on another grid"):
            out = ds.appa.regrid(TARGET, weights=weights)
        assert list(out.data_vars) == ["temp"] and off(out["temp"]) < BILINEAR

    def test_pairs_go_by_what_their_names_have_in_common(self) -> None:
        ds = staggered(("TLAT", "TLONG"), ("ULAT", "ULONG"))
        assert find_pairs(ds) == [CoordinatePair("TLAT", "TLONG"), CoordinatePair("ULAT", "ULONG")]
        rotated = xr.Variable("rlat", [0.0], {"units": "degrees", "standard_name": "grid_latitude"})
        assert (
            identify_axis("rlat", rotated) is None
            and identify_axis("lat_bnds", xr.Variable(("lat", "b"), [[0.0, 1]])) is None
        )


class TestPlacesInTime:
    """WRF writes its places with every time."""

    @pytest.mark.parametrize("shape", ["curvilinear", "list"])
    def test_places_that_stay(self, shape) -> None:
        lat, lon = bent()
        dims = ("Time", *DIMS)
        if shape == "list":
            lat, lon, dims = lat.ravel(), lon.ravel(), ("Time", "cell")
        times = pd.date_range("2020-01-01", periods=3, freq="6h")
        ds = xr.Dataset(
            {"T2": (dims, np.stack([smooth(lat, lon)] * 3), {"coordinates": "XLONG XLAT XTIME"})},
            coords={
                "XLAT": (dims, np.stack([lat] * 3), {"units": "degree_north"}),
                "XLONG": (dims, np.stack([lon] * 3), {"units": "degree_east"}),
                "XTIME": ("Time", times),
            },
        ).assign(HGT=(dims[1:], smooth(lat, lon)), Times=("Time", [b"2020"] * 3))
        out = ds.appa.regrid(TARGET, "nearest" if shape == "list" else "bilinear")
        assert out["T2"].dims == ("Time", "lat", "lon") and "XTIME" in out.coords and "XLAT" not in out.coords
        assert off(out["T2"]) < (0.5 if shape == "list" else BILINEAR) and off(out["HGT"]) < 0.5
        assert list(out.data_vars) == ["T2", "HGT", "Times"]

    def test_places_that_move_are_refused_with_what_helps(self) -> None:
        lat, lon = bent()
        dims = ("Time", *DIMS)
        ds = xr.Dataset(
            {"T2": (dims, np.stack([smooth(lat, lon)] * 2))},
            coords={"XLAT": (dims, np.stack([lat, lat + 1])), "XLONG": (dims, np.stack([lon] * 2))},
        )
        with pytest.raises(DatasetError, match=r"ds\.isel\(Time=0\)"):
            ds.appa.regrid(TARGET)
        assert off(ds.isel(Time=0).appa.regrid(TARGET)["T2"]) < BILINEAR


class TestBoundsAndWeights:
    """What describes the old grid is used or left out."""

    def test_bounds_that_no_attribute_names_are_used(self) -> None:
        lat, lon = np.array([-60.0, 0, 60]), np.arange(30.0, 360, 60)
        edges = np.array([[-90.0, -30], [-30, 10], [10, 90]])
        ds = xr.Dataset({"t": (("lat", "lon"), np.arange(18.0).reshape(3, 6))}, coords={"lat": lat, "lon": lon})
        named = ds.assign(lat_bnds=(("lat", "bnds"), edges))
        bound = named.copy()
        bound["lat"].attrs["bounds"] = "lat_bnds"
        out = named.appa.regrid(30, "conservative")
        np.testing.assert_array_equal(out["t"], bound.appa.regrid(30, "conservative")["t"])
        assert not np.array_equal(out["t"], ds.appa.regrid(30, "conservative")["t"])
        assert list(out.data_vars) == ["t"] and out.attrs["regrid_left_out"] == "lat_bnds (of the old grid)"

    def test_corners_are_those_of_the_first_grid(self) -> None:
        ds = staggered(("TLAT", "TLONG"), ("ULAT", "ULONG"))
        edges = np.linspace(29.75, 45.25, 32), np.linspace(-0.25, 15.25, 32)
        corners = dict(zip(("lat_b", "lon_b"), np.meshgrid(*edges, indexing="ij"), strict=True))
        with_corners = ds.assign({name: (("y_b", "x_b"), values) for name, values in corners.items()})
        out, bare = (d.appa.regrid(TARGET, "conservative") for d in (with_corners, ds))
        np.testing.assert_array_equal(out["uvel"], bare["uvel"])
        assert not np.array_equal(out["temp"], bare["temp"])

    def test_measures_of_cells_and_dates(self) -> None:
        lat, lon = np.arange(-85.0, 86, 10), np.arange(5.0, 360, 10)
        ds = xr.Dataset(
            {
                "t": (("lat", "lon"), np.ones((18, 36)), {"cell_measures": "area: areacella"}),
                "areacella": (("lat", "lon"), np.ones((18, 36))),
                "when": (("lat", "lon"), np.full((18, 36), np.datetime64("2020-01-01", "ns"))),
                "time_bnds": (("time", "bnds"), np.zeros((1, 2))),
            },
            coords={"lat": lat, "lon": lon},
        )
        with pytest.warns(UserWarning, match="'when' .no numbers, but datetime64"):
            out = ds.appa.regrid(30)
        assert (
            list(out.data_vars) == ["t", "time_bnds"] and "areacella (of the old grid)" in out.attrs["regrid_left_out"]
        )

    def test_a_file_without_fields_says_what_it_has(self) -> None:
        ds = xr.Dataset({"gw": ("lat", [0.5, 0.5])}, coords={"lat": [-45.0, 45], "lon": [0.0, 90, 180, 270]})
        with pytest.raises(DatasetError, match=r"no variable has the dimensions.*gw .along 'lat' only"):
            ds.appa.regrid(30)


class TestMasks:
    """`mask` in xESMF's sense: 1 where a grid has values, 0 elsewhere."""

    @pytest.mark.parametrize("method", ["bilinear", "conservative", "nearest"])
    @pytest.mark.parametrize("as_coordinate", [True, False])
    def test_of_the_source(self, method, as_coordinate) -> None:
        lat, lon = np.arange(-85.0, 86, 10), np.arange(5.0, 360, 10)
        values = np.random.default_rng(0).normal(size=(18, 36))
        sea = np.abs(lat)[:, None] + 0 * lon < 50
        ds = xr.Dataset({"t": (("lat", "lon"), np.where(sea, values, 0.0))}, coords={"lat": lat, "lon": lon})
        mask = (("lat", "lon"), sea.astype(int))
        masked = ds.assign_coords(mask=mask) if as_coordinate else ds.assign(mask=mask)
        right = ds.where(sea).appa.regrid(15, method)
        out = masked.appa.regrid(15, method)
        np.testing.assert_array_equal(out["t"], right["t"])
        assert out["t"].isnull().any() and "mask" not in out and list(out.data_vars) == ["t"]
        np.testing.assert_array_equal(masked.chunk(lat=5).appa.regrid(15, method)["t"], right["t"])

    def test_of_the_target(self) -> None:
        lat, lon = np.arange(-85.0, 86, 10), np.arange(5.0, 360, 10)
        ds = xr.Dataset({"t": (("lat", "lon"), np.ones((18, 36))), "n": ((), 3)}, coords={"lat": lat, "lon": lon})
        target = xr.Dataset(
            {"mask": (("lat", "lon"), [[1, 0], [0, 1]])}, coords={"lat": [-10.0, 10.0], "lon": [20.0, 40.0]}
        )
        out = ds.appa.regrid(target)
        np.testing.assert_array_equal(out["t"].isnull(), [[False, True], [True, False]])
        assert out["n"] == 3
        alone = target.set_coords("mask").assign(t=(("lat", "lon"), np.zeros((2, 2))))["t"]
        assert ds["t"].appa.regrid(alone).isnull().sum() == 2

    def test_a_mask_alone_is_a_field(self) -> None:
        lat, lon = np.arange(-85.0, 86, 10), np.arange(5.0, 360, 10)
        mask = xr.DataArray(np.arange(648).reshape(18, 36) % 2, {"lat": lat, "lon": lon}, ("lat", "lon"), name="mask")
        right = mask.rename("t").appa.regrid(30, "nearest")
        np.testing.assert_array_equal(mask.appa.regrid(30, "nearest"), right)
        out = mask.to_dataset().appa.regrid(30, "nearest")["mask"]
        assert out.dtype == mask.dtype and np.array_equal(out, right)

    def test_points_of_land_without_a_place(self) -> None:
        """NEMO writes zeros for the coordinates of all that its processors leave out."""
        lat, lon = bent()
        values = smooth(lat, lon)
        land = (slice(10, 14), slice(10, 14))
        holes = [array.copy() for array in (lat, lon, values)]
        for array in holes:
            array[land] = 0.0
        coords = {"nav_lat": (DIMS, holes[0]), "nav_lon": (DIMS, holes[1])}
        ds = xr.Dataset({"t": (DIMS, holes[2])}, coords)
        near_zero = xr.Dataset(coords={"lat": np.arange(-2.0, 2.1), "lon": np.arange(-2.0, 2.1)})
        assert ds.appa.regrid(near_zero, "nearest")["t"].isnull().all()
        out = ds.appa.regrid(TARGET)["t"]
        assert out.isnull().any() and off(out) < BILINEAR


class TestPoles:
    """Latitudes in single precision, or added up, may lie beyond a pole."""

    @pytest.mark.parametrize("beyond", [1e-9, 1e-5, 5e-4])
    def test_by_rounding_they_are_on_it(self, beyond) -> None:
        lat = np.linspace(-90 - beyond, 90 + beyond, 37)
        lon = np.arange(0.0, 360, 5)
        values = np.sin(np.deg2rad(lat))[:, None] + 0 * lon
        ds = xr.Dataset(
            {"2m_temperature": (("time", "lat", "lon"), 280 + values[None], {"units": "K"})},
            coords={"time": pd.date_range("2020-01-01", periods=1), "lat": lat, "lon": lon},
        )
        for method in ("bilinear", "conservative", "nearest"):
            assert ds.appa.regrid(10, method)["2m_temperature"].notnull().all()
        report = pd.DataFrame(
            {"time": ["2020-01-01"], "lat": [90.0], "lon": [3.0], "variable": ["t2m"], "observation": [280.0]}
        )
        assert float(ds.appa.observe(report)["2m_temperature"].values[0]) == pytest.approx(281, abs=1e-3)
        assert float(ds.appa.verify(ds)["2m_temperature"].sel(metric="rmse")) == 0

    def test_more_is_no_rounding(self) -> None:
        ds = xr.Dataset(
            {"t": (("lat", "lon"), np.zeros((3, 4)))}, coords={"lat": [0.0, 45, 90.1], "lon": [0.0, 1, 2, 3]}
        )
        with pytest.raises(DatasetError, match="beyond 90"):
            ds.appa.regrid(1)

    def test_metres_of_a_projection_are_no_latitudes(self) -> None:
        axes = {name: (name, [-40.0, 0, 40], {"units": "km"}) for name in DIMS}
        ds = xr.Dataset({"t": (DIMS, np.zeros((3, 3)))}, coords=axes)
        with pytest.raises(DatasetError, match="units 'km', as of a projection"):
            ds.appa.regrid(10)


class TestDegrees:
    """Numbers of degrees that 180, or 360, is no multiple of."""

    @pytest.mark.parametrize("degrees", [7.0, 0.7, 11.0, 50.0, 8.0])
    def test_rows_go_out_from_the_equator_and_columns_from_zero(self, degrees) -> None:
        lat, lon = np.arange(-89.5, 90), np.arange(0.5, 360)
        ds = xr.Dataset({"t": (("lat", "lon"), 0 * lat[:, None] + 0 * lon + 1)}, coords={"lat": lat, "lon": lon})
        for method in ("bilinear", "conservative", "nearest"):
            out = ds.appa.regrid(degrees, method)
            rows, columns = out["lat"].values, out["lon"].values
            np.testing.assert_allclose(rows / degrees, np.round(rows / degrees), atol=1e-9)
            np.testing.assert_allclose(columns, np.arange(len(columns)) * degrees)
            assert 90 - np.abs(rows).max() < degrees and 0 < 360 - columns.max() <= degrees and 0 in rows
            np.testing.assert_allclose(out["t"], 1)

    def test_divisors_have_rows_on_the_poles_as_before(self) -> None:
        ds = xr.Dataset(
            {"t": (("lat", "lon"), np.ones((18, 36)))},
            coords={"lat": np.arange(-85.0, 86, 10), "lon": np.arange(0.0, 360, 10)},
        )
        for degrees in (4, 2.5, 1 / 3, 90):
            assert ds.appa.regrid(degrees)["lat"].values[0] == -90


class TestOneVariable:
    """A DataArray is regridded, observed and verified; what needs more says so."""

    @pytest.fixture(scope="class")
    def nature(self) -> xr.Dataset:
        return xappa.tutorial.nature_run().load()

    def test_regridded_under_its_name(self, nature) -> None:
        field = nature["2m_temperature"]
        right = nature.appa.regrid(7.5)["2m_temperature"]
        for found in (xappa.regrid(field, 7.5), field.appa.regrid(7.5)):
            xr.testing.assert_equal(found, right)
            assert found.name == "2m_temperature"
        assert xappa.regrid(field.rename(None), 7.5).name is None

    def test_components_of_wind_are_known_by_name_or_standard_name(self, nature) -> None:
        whole = nature.appa.regrid(7.5)
        wind = nature["10m_u_component_of_wind"]
        np.testing.assert_array_equal(wind.appa.regrid(7.5), whole["10m_u_component_of_wind"])
        bare = wind.rename("speed").assign_attrs(standard_name="eastward_wind")
        np.testing.assert_array_equal(bare.appa.regrid(7.5), whole["10m_u_component_of_wind"])

    def test_observed_and_verified(self, nature) -> None:
        field = nature["2m_temperature"]
        network = xappa.tutorial.network(nature, stations=10, soundings=1)
        found = field.appa.observe(network)["2m_temperature"]
        np.testing.assert_array_equal(found, nature[["2m_temperature"]].appa.observe(network)["2m_temperature"])
        assert float((field + 1).appa.verify(nature)["2m_temperature"].sel(metric="bias")) == pytest.approx(1)
        with pytest.raises(DatasetError, match="no name"):
            field.rename(None).appa.verify(nature)

    @pytest.mark.parametrize("method", ["assimilate", "encode", "forecast", "check"])
    def test_the_rest_says_where_to_go(self, nature, method) -> None:
        field = nature["2m_temperature"]
        assert not hasattr(field.appa, method)
        with pytest.raises(DatasetError, match=rf"da\.to_dataset\(\)\.appa\.{method}"):
            getattr(field.appa, method)
        with pytest.raises(AttributeError, match="has no 'anything'"):
            field.appa.anything  # noqa: B018

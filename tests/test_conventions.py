"""Units in the array, packed values, fill values, radians, versions: the numbers are what their attributes mean."""

from __future__ import annotations

import warnings

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import xappa
from xappa.errors import DatasetError
from xappa.grids.conventions import decode_conventions, decode_with_messages, find_encoding_problems

pint = pytest.importorskip("pint")
UNITS = pint.UnitRegistry()
WIND = "10m_u_component_of_wind"


@pytest.fixture(scope="module")
def nature() -> xr.Dataset:
    return xappa.tutorial.nature_run().load()


@pytest.fixture(scope="module")
def network(nature: xr.Dataset) -> xr.Dataset:
    return xappa.tutorial.network(nature, stations=20, soundings=2)


def field(values: np.ndarray, **attrs: object) -> xr.Dataset:
    """One field of two rows under `attrs`."""
    coords = {"latitude": [10.0, 0.0], "longitude": np.arange(float(values.size // 2))}
    return xr.Dataset({"t2m": (("latitude", "longitude"), values.reshape(2, -1), attrs)}, coords)


def globe(values: float, **attrs: object) -> xr.Dataset:
    lat, lon = np.arange(90.0, -91, -10), np.arange(0.0, 360, 10)
    data = np.full((1, lat.size, lon.size), values, "f4")
    coords = {"time": pd.date_range("2020-01-01", periods=1), "latitude": lat, "longitude": lon}
    return xr.Dataset({"t2m": (("time", "latitude", "longitude"), data, {"units": "K", **attrs})}, coords)


class TestUnitsInTheArray:
    """Pint's arrays are dequantified, and their units count."""

    @pytest.mark.parametrize("chunks", [None, {"time": 1}])
    def test_knots_are_knots_wherever_fields_are_read(self, nature, network, chunks) -> None:
        right = nature.appa.observe(network)[WIND]
        knots = nature[[WIND]] / 0.514444
        knots = knots if chunks is None else knots.chunk(chunks)
        knots[WIND] = knots[WIND].copy(data=UNITS.Quantity(knots[WIND].data, "knot")).drop_attrs()
        with warnings.catch_warnings(action="error", category=pint.errors.UnitStrippedWarning):
            np.testing.assert_allclose(knots.appa.observe(network)[WIND], right, atol=1e-4)
            assert float(knots.appa.verify(nature)[WIND].sel(metric="rmse")) < 1e-4
            assert float(nature.appa.verify(knots)[WIND].sel(metric="rmse")) < 1e-4
            assert knots.appa.regrid(10)[WIND].attrs["units"] == "knot"
        assert any("units are taken from the arrays" in note for note in knots.appa.check().notes)

    def test_nothing_is_stripped_and_dask_stays_lazy(self) -> None:
        ds = field(np.arange(6.0))
        ds["t2m"] = ds["t2m"].copy(data=UNITS.Quantity(da.from_array(ds["t2m"].values, chunks=2), "degC"))
        with warnings.catch_warnings(action="error"):
            out = decode_conventions(ds)
        assert isinstance(out["t2m"].data, da.Array) and out["t2m"].attrs["units"] == "degree_Celsius"

    def test_coordinates_with_an_index_of_units(self) -> None:
        pytest.importorskip("pint_xarray", reason="pint-xarray is not installed")
        ds = field(np.arange(6.0), units="K").assign_coords(latitude=("latitude", [0.1, 0.0], {"units": "radian"}))
        out = decode_conventions(ds.pint.quantify())
        np.testing.assert_allclose(out["latitude"], np.rad2deg([0.1, 0.0]))
        assert out["t2m"].attrs["units"] == "kelvin" and "latitude" in out.xindexes


class TestUndecodedValues:
    """Attributes that xarray moves away when it decodes say that it has not."""

    @pytest.mark.parametrize("key", ["_FillValue", "missing_value"])
    @pytest.mark.parametrize("fill", [np.float32(1e20), 1e20, np.float64(1e20), np.array([1e20, -999.0]), "1e20"])
    def test_fill_values_are_missing_in_whatever_type_they_are_written(self, key, fill) -> None:
        ds = globe(280, **{key: fill})
        ds["t2m"][0, 3:5, 3:5] = 1e20
        right = ds.where(ds < 1e19)
        truth = globe(281)
        assert float(ds.appa.regrid(20.0, "conservative").t2m.max()) == pytest.approx(280)
        found, expected = (d.appa.verify(truth)["t2m"].values for d in (ds, right))
        np.testing.assert_array_equal(found, expected)
        assert any("decoded" in note and "'t2m'" in note for note in ds.appa.check().notes)

    @given(st.floats(-50, 50), st.sampled_from([0.01, 0.5, 2.0]), st.sampled_from(["i2", "i4", "u2"]))
    def test_packed_integers_are_what_xarray_decodes(self, offset, scale, dtype) -> None:
        ds = field(
            np.arange(6).astype(dtype), scale_factor=scale, add_offset=offset, _FillValue=np.dtype(dtype).type(3)
        )
        xr.testing.assert_allclose(decode_conventions(ds), xr.decode_cf(ds))
        assert bool(decode_conventions(ds)["t2m"].isnull()[1, 0])

    def test_packed_dimension_coordinates_and_2d_places(self) -> None:
        ds = field(np.arange(6.0))
        ds = ds.assign_coords(latitude=("latitude", np.array([1000, 0], "i2"), {"scale_factor": 0.01}))
        assert (
            decode_conventions(ds)["latitude"].values.tolist() == [10, 0]
            and "latitude" in decode_conventions(ds).xindexes
        )
        lat2d = np.array([[10.0, -999], [0, 0]], "f4")
        ds = xr.Dataset(coords={"nav_lat": (("y", "x"), lat2d, {"_FillValue": np.float32(-999)})})
        assert np.isnan(decode_conventions(ds)["nav_lat"].values[0, 1])

    def test_what_is_decoded_is_returned_as_it_is(self) -> None:
        ds = field(np.arange(6.0), units="K", valid_range=[0, 5], scale_factor=1.0)
        assert decode_with_messages(ds) == (ds, []) and decode_conventions(ds) is ds
        counts = field(np.arange(6), missing_value=1e20)
        assert decode_conventions(counts)["t2m"].dtype == counts["t2m"].dtype, "no integer is 1e20"

    def test_files_opened_without_decoding(self, nature, tmp_path) -> None:
        part = nature[["2m_temperature", WIND]].isel(time=[0])
        packing = {"dtype": "int16", "scale_factor": 0.01, "add_offset": 250.0, "_FillValue": -32768}
        part.to_netcdf(tmp_path / "a.nc", encoding={"2m_temperature": packing})
        for mask in (True, False):
            with xr.open_dataset(tmp_path / "a.nc", mask_and_scale=mask) as ds:
                scores = ds.appa.verify(nature)["2m_temperature"]
                assert float(scores.sel(metric="rmse")) < 0.006

    def test_floats_that_may_be_scaled_already_are_refused_where_values_count(self, nature) -> None:
        ds = nature.assign({WIND: nature[WIND].assign_attrs(scale_factor=0.1)})
        (problem,) = find_encoding_problems(decode_conventions(ds), [WIND])
        assert "scale_factor" in problem and "xr.decode_cf" in problem
        for call in (lambda: ds.appa.verify(nature), lambda: ds[[WIND]].appa.regrid(10), lambda: ds.appa.encode()):
            with pytest.raises(DatasetError, match="scale_factor"):
                call()
        report = ds.appa.check()
        assert report and any("scale_factor" in problem for problem in report.of_values)

    @pytest.mark.parametrize("scale", ["0.01", np.array([0.01]), np.float32(0.5)])
    def test_scales_however_they_are_written(self, scale) -> None:
        ds = field(np.arange(6, dtype="i2"), scale_factor=scale)
        np.testing.assert_allclose(
            decode_conventions(ds)["t2m"].values.ravel(), np.arange(6) * float(np.ravel(scale)[0])
        )

    def test_a_scale_that_is_no_number_is_refused(self) -> None:
        ds = field(np.arange(6, dtype="i2"), scale_factor="large")
        assert "scale_factor" in find_encoding_problems(decode_conventions(ds), ["t2m"])[0]
        with pytest.raises(DatasetError, match="scale_factor"):
            ds.appa.regrid(1)

    def test_a_fill_value_that_is_no_number_is_refused(self) -> None:
        with pytest.raises(DatasetError, match="missing_value='none'"):
            globe(280, missing_value="none").appa.regrid(20)


class TestRadians:
    """ICON's cells, and whatever else says that it is in radians."""

    @pytest.mark.parametrize("units", ["radian", "radians", "rad"])
    @pytest.mark.parametrize("names", [("clat", "clon"), ("lat", "lon"), ("vlat", "vlon")])
    def test_a_list_of_cells(self, units, names) -> None:
        number = np.arange(2000) + 0.5
        lat = np.rad2deg(np.arcsin(1 - number / 1000))
        lon = np.rad2deg(np.pi * (1 + 5**0.5) * number) % 360
        places = {
            names[0]: ("cell", np.deg2rad(lat), {"units": units}),
            names[1]: ("cell", np.deg2rad(lon), {"units": units}),
        }
        icon = xr.Dataset({"t": ("cell", lat + np.cos(np.deg2rad(lon)))}, coords=places)
        degrees = icon.assign_coords(
            {names[0]: ("cell", lat, {"units": "degrees_north"}), names[1]: ("cell", lon, {"units": "degrees_east"})}
        )
        target = xr.Dataset(coords={"lat": np.arange(-85.0, 86, 10), "lon": np.arange(0.0, 360, 10)})
        right = degrees.appa.regrid(target, "nearest")["t"]
        assert right.notnull().all()
        np.testing.assert_allclose(icon.appa.regrid(target, "nearest")["t"], right)

    def test_bounds_become_degrees_with_them(self) -> None:
        edges = np.deg2rad([[-10.0, 0], [0, 10]])
        ds = xr.Dataset(
            {"lat_bnds": (("lat", "bnds"), edges)},
            coords={"lat": ("lat", np.deg2rad([-5.0, 5]), {"units": "radian", "bounds": "lat_bnds"})},
        )
        np.testing.assert_allclose(decode_conventions(ds)["lat_bnds"], np.rad2deg(edges))

    def test_rows_and_columns_are_read_and_scored_as_degrees(self, nature, network) -> None:
        turned = nature.assign_coords(
            {name: (name, np.deg2rad(nature[name].values), {"units": "radian"}) for name in ("latitude", "longitude")}
        )
        np.testing.assert_allclose(turned.appa.observe(network)[WIND], nature.appa.observe(network)[WIND], rtol=1e-6)
        assert float(turned.appa.verify(nature)[WIND].sel(metric="rmse")) == 0
        assert any("radians become degrees" in note for note in turned.appa.check().notes)
        assert turned.appa.encode()["latitude"].attrs["units"] == "degrees_north"

    def test_a_globe_in_radians_that_does_not_say_so_is_refused(self) -> None:
        lat, lon = np.deg2rad(np.arange(-89.5, 90, 1)), np.deg2rad(np.arange(0.0, 360, 1))
        ds = xr.Dataset({"t": (("lat", "lon"), np.zeros((180, 360)))}, coords={"lat": lat, "lon": lon})
        with pytest.raises(DatasetError, match="radian"):
            ds.appa.regrid(10)

    def test_solar_angles_and_rotated_axes_stay(self) -> None:
        ds = xr.Dataset(
            coords={
                "zenith": ("x", [0.1], {"units": "radian"}),
                "rlat": ("y", [0.2], {"units": "radian", "standard_name": "grid_latitude"}),
            }
        )
        assert decode_conventions(ds) is ds


class TestVersions:
    """ERA5 and ERA5T along `expver`."""

    @pytest.mark.parametrize("versions", [[1, 5], [5, 1], ["0001", "0005"], ["0005", "0001"], None])
    def test_every_method_reads_them_joined(self, nature, network, versions) -> None:
        part = nature[[WIND]]
        final = part.time < part.time[4]
        order = [part.where(~final), part.where(final)] if versions and int(versions[0]) == 5 else [
            part.where(final), part.where(~final)]  # fmt: skip
        both = xr.concat(order, "expver")
        both = both if versions is None else both.assign_coords(expver=versions)
        obs = nature.appa.observe(network)[[WIND]]
        xr.testing.assert_allclose(both.appa.verify(obs), part.appa.verify(obs))
        assert float(both.appa.verify(nature)[WIND].sel(metric="rmse")) == 0
        np.testing.assert_array_equal(both.appa.observe(network)[WIND], part.appa.observe(network)[WIND])
        np.testing.assert_array_equal(both.appa.regrid(10)[WIND], part.appa.regrid(10)[WIND])
        assert any("'expver' are joined" in note for note in both.appa.check().notes)

    def test_the_final_version_counts_where_both_are_there(self) -> None:
        both = xr.concat([field(np.full(6, 5.0)), field(np.full(6, 1.0))], "expver").assign_coords(expver=[5, 1])
        assert (decode_conventions(both)["t2m"] == 1).all()

    def test_a_file_is_not_read_for_it(self, tmp_path) -> None:
        both = xr.concat([field(np.arange(6.0)), field(np.arange(6.0))], "expver")
        both.to_netcdf(tmp_path / "a.nc")
        with xr.open_dataset(tmp_path / "a.nc") as ds:
            assert isinstance(decode_conventions(ds)["t2m"].data, da.Array)

"""Limits of valid values in CF attributes: of packed and of plain data, in reports and in fields."""

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.errors import AssumptionWarning, RejectionWarning
from xappa.grids.axes import recognise
from xappa.observations import Flag, read_observations
from xappa.state import derive_spec
from xappa.state.to_model import to_array
from xappa.valid_range import find_outside, is_packing_lost, mask_outside_limits, read_limits

T = "2m_temperature"
PACKED = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 273.15, "_FillValue": -32768}
OUT = Flag.REJECTED_BY_SOURCE.value


def stations(values=(280.0, 281.0, 318.0, 283.0), **attrs) -> xr.Dataset:
    return xr.Dataset(
        {"tas": ("obs", np.asarray(values), {"units": "K", "standard_name": "air_temperature"} | attrs)},
        {
            "time": ("obs", pd.date_range("2020-01-01", periods=4, freq="h")),
            "lat": ("obs", [50.0, 51.0, 52.0, 53.0], {"units": "degrees_north"}),
            "lon": ("obs", [0.0, 1.0, 2.0, 3.0], {"units": "degrees_east"}),
        },
    )


def through_file(ds: xr.Dataset, path, kind: str, **encoding) -> xr.Dataset:
    if kind == "zarr":
        ds.to_zarr(path / "a.zarr", encoding={"tas": {k: v for k, v in encoding.items() if k != "_FillValue"}})
        return xr.open_zarr(path / "a.zarr")
    pytest.importorskip("netCDF4")
    ds.to_netcdf(path / "a.nc", encoding={"tas": encoding}, format="NETCDF4" if kind == "nc" else "NETCDF3_CLASSIC")
    return xr.open_dataset(path / "a.nc", chunks={})


@pytest.mark.parametrize("kind", ["nc", "nc3"])
@pytest.mark.parametrize(
    "limits",
    [
        {"valid_range": np.array([-9000, 4000], "i2")},
        {"valid_max": np.int16(4000)},
        {"valid_min": np.int16(-9000), "valid_max": np.int16(4000)},
        {"valid_max": 313.15},  # of the type of the scale factor: unpacked
    ],
)
def test_limits_of_packed_data_are_packed(kind, limits, tmp_path):
    ds = through_file(stations(**limits), tmp_path, kind, **PACKED)
    obs = read_observations(ds).compute()
    assert obs[f"{T}_flag"].values.tolist() == [0, 0, OUT, 0]
    np.testing.assert_allclose(obs[T], stations()["tas"])
    fields = mask_outside_limits(ds, ["tas"])
    assert np.isnan(fields["tas"].values).tolist() == [False, False, True, False]
    assert fields["tas"].chunks is not None and fields["tas"].attrs == ds["tas"].attrs


def test_limits_in_zarr_are_packed_if_they_are_integers(tmp_path):
    ds = through_file(stations(valid_range=[-9000, 4000]), tmp_path, "zarr", **PACKED)
    assert read_observations(ds).compute()[f"{T}_flag"].values.tolist() == [0, 0, OUT, 0]


def test_limits_themselves_are_valid(tmp_path):
    edge = (4000 * 0.01 + 273.15, 281.0, 4001 * 0.01 + 273.15, -9000 * 0.01 + 273.15)
    ds = through_file(stations(edge, valid_range=np.array([-9000, 4000], "i2")), tmp_path, "nc", **PACKED)
    assert find_outside(ds["tas"]).values.tolist() == [False, False, True, False]
    single = stations(np.array([313.15, 281.0, 313.2, 283.0], "f4"), valid_max=313.15)
    assert find_outside(single["tas"]).values.tolist() == [False, False, True, False]


def test_unsigned_limits():
    packed = stations(valid_range=np.array([0, -56], "i1"))["tas"]  # 0 to 200
    packed.encoding = {"dtype": np.dtype("u1"), "scale_factor": 0.5, "add_offset": 213.0, "_Unsigned": "true"}
    np.testing.assert_allclose(read_limits(packed), (212.75, 313.25))


@pytest.mark.parametrize(
    "limits", [{"valid_max": 313.15}, {"valid_range": [273, 313]}, {"valid_min": 200.0, "valid_max": np.float32(313.0)}]
)
def test_limits_of_plain_data(limits):
    assert read_observations(stations(**limits))[f"{T}_flag"].values.tolist() == [0, 0, OUT, 0]


def test_what_is_no_limit():
    for attrs in ({"actual_range": [280.0, 300.0]}, {"valid_range": "0 to 300"}, {"valid_range": [1.0, 2.0, 3.0]}, {}):
        assert read_limits(stations(**attrs)["tas"]) is None
        assert read_observations(stations(**attrs))[f"{T}_flag"].values.tolist() == [0] * 4


def test_packed_limits_of_data_whose_packing_is_lost_are_said():
    ds = stations(valid_range=np.array([0, 100], "i2"))
    assert is_packing_lost(ds["tas"])
    with pytest.warns(AssumptionWarning, match="tas: its valid limits are of packed data"):
        assert read_observations(ds)[f"{T}_flag"].values.tolist() == [0] * 4


def test_places_and_errors_outside_their_limits_are_missing():
    ds = stations().assign(tas_error=("obs", [1.0, -999.9, 1.0, 1.0], {"units": "K", "valid_min": 0.0}))
    ds = ds.assign_coords(alt=("obs", [5.0, 5.0, -999.9, 5.0], {"standard_name": "altitude", "valid_min": -500.0}))
    ds["lat"].attrs["valid_max"] = 52.5
    obs = read_observations(ds)
    assert np.isnan(obs["altitude"]).values.tolist() == [False, False, True, False]
    assert obs[f"{T}_flag"].values.tolist() == [0, 0, 0, Flag.MISSING_PLACE]
    assert np.isnan(obs[f"{T}_error"]).values.tolist() == [False, True, False, False]


def fields(bad: float = 330.0, **attrs) -> xr.Dataset:
    """Two times on a small grid, with one value that is no temperature of the surface."""
    values = np.full((2, 4, 8), 280.0)
    values[0, 1, 2] = bad
    return xr.Dataset(
        {T: (("time", "latitude", "longitude"), values, {"units": "K"} | attrs)},
        {
            "time": pd.date_range("2020-01-01", periods=2, freq="6h"),
            "latitude": np.linspace(60.0, -60.0, 4),
            "longitude": np.arange(8) * 45.0,
        },
    )


@pytest.mark.parametrize("lazy", [False, True])
def test_fields_are_missing_outside_their_limits(lazy):
    ds = fields(valid_max=320.0)
    layout = recognise(ds)
    expected = np.zeros((2, 4, 8), bool)
    expected[0, 1, 2] = True
    if lazy:
        found = to_array(ds.chunk(time=1), derive_spec(ds, layout), layout)
    else:
        with pytest.warns(RejectionWarning, match=f"{T}: 1 values lie outside its valid limits"):
            found = to_array(ds, derive_spec(ds, layout), layout)
    np.testing.assert_array_equal(np.isnan(found[:, 0]), expected)


def test_a_reference_outside_its_limits_is_not_compared():
    analysis = fields(280.0)
    with pytest.warns(RejectionWarning, match="1 values lie outside"):
        scores = analysis.appa.verify(fields(330.0, valid_range=[200.0, 320.0]))
    assert float(scores[T].sel(metric="rmse")) == 0.0
    assert float(analysis.appa.verify(fields(330.0))[T].sel(metric="rmse")) > 1.0


def test_states_are_encoded_without_what_is_outside():
    nature = xappa.tutorial.nature_run().load().isel(time=slice(0, 2))
    nature[T].attrs["valid_max"] = float(nature[T].quantile(0.9))
    expected = nature.assign({T: nature[T].where(~find_outside(nature[T])).drop_attrs()}).appa.encode().compute()
    assert bool(expected["latent"].isnull().any())
    xr.testing.assert_allclose(nature.appa.encode().compute(), expected)


def test_limits_stay_lazy():
    def refuse(block):
        raise AssertionError("computed")

    ds = stations(valid_max=313.15)
    values = da.from_array(ds["tas"].values, chunks=2).map_blocks(refuse, dtype=float, meta=np.empty(0))
    obs = read_observations(ds.assign(tas=("obs", values, ds["tas"].attrs)))
    assert obs[T].chunks is not None and obs[f"{T}_flag"].chunks is not None


def test_a_real_packed_swath_keeps_what_is_inside(shared):
    pytest.importorskip("netCDF4")
    path = shared("real/ascat-metopa-20150702/ascat_20150702_084200_metopa_45145_eps_o_250_2300_ovw.l2.nc")
    with xr.open_dataset(path) as ds:
        np.testing.assert_allclose(read_limits(ds["wind_speed"]), (-0.005, 50.005))
        np.testing.assert_allclose(read_limits(ds["lat"]), (-90.0, 90.0), atol=1e-5)
        assert not any(bool(find_outside(ds[name]).any()) for name in ("wind_speed", "wind_dir", "lat", "lon"))

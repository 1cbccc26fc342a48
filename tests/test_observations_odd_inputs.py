"""Objects, attributes, flags and layouts that no reader expects: refused, or missing and counted; never a raw error."""

from __future__ import annotations

import decimal
import fractions
import io
import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from tests.fuzz.targets.archives import ISD_TABLE
from tests.fuzz.targets.datasets import points, profiles, series
from tests.test_observations_archives import GHCNH, LITE
from xappa.errors import ObservationError
from xappa.observations import Flag, read_observations

pytestmark = [
    pytest.mark.filterwarnings("ignore::xappa.errors.AssumptionWarning"),
    pytest.mark.filterwarnings("ignore::xappa.errors.RejectionWarning"),
]

T = "2m_temperature"


def table(**columns) -> pd.DataFrame:
    frame = {"time": "2018-11-02T12", "lat": [50.0, 51.0, 52.0], "lon": 5.0, "elev": 10.0, T: 280.0}
    return pd.DataFrame(frame | columns)


def as_objects(*values) -> np.ndarray:
    column = np.empty(len(values), object)
    for place, value in enumerate(values):
        column[place] = value
    return column


def tidy(**columns) -> pd.DataFrame:
    return table(**columns).rename(columns={T: "observation"}).assign(variable=T)


def dataset(**columns) -> xr.Dataset:
    ds = table(**columns).to_xarray().drop_vars("index").rename(index="x")
    return ds.set_coords(["time", "lat", "lon", "elev"])


FORMS = [table, tidy, dataset]
NO_NUMBERS = [[1, 2], (1.0,), {}, {1}, np.array([1.0]), object(), slice(0), range(3), float, pd.Timedelta("6h")]
NO_NUMBERS += [np.timedelta64(5, "h"), 10**400, decimal.Decimal("sNaN"), pd.Interval(0, 1), np.datetime64("2018-11-02")]


@pytest.mark.parametrize("form", FORMS)
class TestObjects:
    @pytest.mark.parametrize("value", NO_NUMBERS, ids=lambda value: type(value).__name__)
    def test_what_is_no_number_is_missing_and_counted(self, form, value):
        obs = read_observations(form(**{T: as_objects(280.0, value, 281.0)}))
        np.testing.assert_array_equal(obs[T], [280.0, np.nan, 281.0])
        assert sum(json.loads(obs.attrs["unreadable_values"]).values()) == 1

    @pytest.mark.parametrize("value", [decimal.Decimal("281.5"), fractions.Fraction(563, 2), "281.5", b"281.5", 281.5])
    def test_numbers_of_other_kinds_are_read(self, form, value):
        obs = read_observations(form(**{T: as_objects(280.0, value, 281.0)}))
        np.testing.assert_array_equal(obs[T], [280.0, 281.5, 281.0])

    @pytest.mark.parametrize("value", [[1, 2], {}, np.array([1.0])], ids=lambda value: type(value).__name__)
    def test_names_of_stations_are_the_text_of_what_has_no_hash(self, form, value):
        source = form(station=as_objects("a", value, "c"))
        source = source.set_coords("station") if form is dataset else source
        assert read_observations(source)["station"].values.tolist() == ["a", str(value), "c"]

    @pytest.mark.parametrize("value", [[1, 2], {}, np.array([1.0])], ids=lambda value: type(value).__name__)
    def test_times_that_have_no_hash_are_refused(self, form, value):
        with pytest.raises(ObservationError, match="cannot be read as times"):
            read_observations(form(time=as_objects(value, value, value)))


@pytest.mark.parametrize("height", [-12_001.0, 100_001.0, np.inf, -np.inf])
def test_heights_where_no_instrument_is_are_no_place(height):
    obs = read_observations(table(elev=[height, -400.0, 99_999.0]))
    assert obs[f"{T}_flag"].values.tolist() == [Flag.MISSING_PLACE, 0, 0]


class TestAttributes:
    @pytest.mark.parametrize("value", [5.0, None, ["a", 1], np.array([1.0]), pd.NA, (1, 2), {}])
    @pytest.mark.parametrize("key", ["grid_mapping", "coordinates", "formula_terms", "cell_measures", "comment"])
    def test_others_than_cf_has_are_passed_over(self, key, value):
        ds = points()
        ds["t2m"].attrs[key] = value
        np.testing.assert_array_equal(read_observations(ds)[T], points()["t2m"])

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("unknown_variables", "{"),
            ("missing_codes", "[]"),
            ("unreadable_values", '{"a": "b"}'),
            ("reports_read", "many"),
            ("units_assumed", 5),
        ],
    )
    def test_of_xappa_that_it_cannot_have_written_are_refused(self, name, value):
        obs = read_observations(table()).assign_attrs({name: value})
        with pytest.raises(ObservationError, match=f"{name}.*expected"):
            read_observations(obs)

    @pytest.mark.parametrize("text", ["x", "[]", "5", "{}", '{"by_source": 5}', '{"kind": "x", "by": []}'])
    def test_statements_on_correlated_errors_that_are_none_are_refused(self, text):
        obs = read_observations(table())
        obs[T].attrs["error_correlation"] = text
        with pytest.raises(ObservationError, match="error_correlation.*expected options of Correlation"):
            read_observations(obs)

    def test_what_reading_writes_is_read_again(self):
        obs = read_observations(table(**{T: as_objects(280.0, "?", -9999.0)}, other=1.0))
        assert {"unreadable_values", "missing_codes", "unknown_variables", "units_assumed"} <= set(obs.attrs)
        xr.testing.assert_identical(read_observations(obs), obs)


@pytest.mark.parametrize("flags", [[0, 80, 0], [0.0, 1.5, 0.0], ["0", "wrong", ""], np.array(["2018"] * 3, "M8[ns]")])
class TestFlags:
    def flagged(self, flags) -> xr.Dataset:
        obs = read_observations(table())
        name = f"{T}_flag"
        return obs.assign({name: ("obs", np.array(flags), obs[name].attrs)})

    def test_that_are_no_reasons_are_refused(self, flags):
        with pytest.raises(ObservationError, match="flags that are none of xappa's"):
            read_observations(self.flagged(flags))

    def test_of_a_file_too(self, tmp_path, flags):
        pytest.importorskip("netCDF4")
        self.flagged(flags).to_netcdf(tmp_path / "obs.nc")
        with pytest.raises(ObservationError, match="flags that are none of xappa's"):
            read_observations(tmp_path / "obs.nc").compute()


class TestLayouts:
    @pytest.mark.parametrize("counts", [[np.inf, 2.0], ["3", "2"], [2**62, 2**62], [10, 2], [3 + 0j, 2]])
    def test_counts_that_are_none(self, counts):
        ds = profiles()
        ds["rowSize"] = ("profile", np.array(counts), ds["rowSize"].attrs)
        with pytest.raises(ObservationError, match="rowSize counts"):
            read_observations(ds)

    def test_samples_without_an_instance(self):
        with pytest.raises(ObservationError, match="rowSize tells which of 'profile'.*there is none"):
            read_observations(profiles().isel(profile=slice(0)))

    @pytest.mark.parametrize("dim", ["station", "time"])
    def test_no_elements(self, dim):
        with pytest.raises(ObservationError, match="not one report"):
            read_observations(series().isel({dim: slice(0)}))

    def test_bounds_of_another_dimension_are_none(self):
        ds = series().drop_vars("time_bounds")
        ds["time_bounds"] = (("x", "nv"), np.zeros((4, 2), "M8[ns]"))
        assert read_observations(ds)[T].notnull().sum() == 6

    def test_flags_of_another_dimension_reject_nothing(self):
        obs = read_observations(table())
        other = obs.drop_vars(f"{T}_flag").assign({f"{T}_flag": ("y", np.ones(2, "i1"))})
        assert read_observations(other)[f"{T}_flag"].values.tolist() == [0, 0, 0]


class TestFiles:
    @pytest.mark.parametrize("key", ["scale_factor", "add_offset"])
    def test_packing_that_is_text_is_told_with_the_variable(self, tmp_path, key):
        netcdf = pytest.importorskip("netCDF4")
        points().to_netcdf(tmp_path / "a.nc")
        with netcdf.Dataset(tmp_path / "a.nc", "a") as file:
            file["msl"].setncattr(key, "x")
        with pytest.raises(ObservationError, match=r"a.nc(, variable 'msl')?: cannot be read as NetCDF"):
            read_observations(tmp_path / "a.nc").compute()

    def test_a_time_among_lazy_values_that_numpy_does_not_have(self, tmp_path):
        pytest.importorskip("netCDF4")
        days = xr.Variable("x", [0, 10**7, 0, 0, 0, 0], {"units": "days since 2018-01-01"})
        points().assign(launch=days).to_netcdf(tmp_path / "a.nc")
        assert read_observations(tmp_path / "a.nc").compute()[T].notnull().all()  # an unknown variable is not computed

    @pytest.mark.parametrize("version", [2, 3])
    def test_chunks_that_are_damaged_are_told_when_they_are_computed(self, tmp_path, version):
        path = tmp_path / "a.zarr"
        points().to_zarr(path, zarr_format=version)
        chunk = path / ("t2m/0" if version == 2 else "t2m/c/0")
        chunk.write_bytes(b"damaged")
        with pytest.raises(ObservationError, match=r"a.zarr, variable 't2m': cannot be read as Zarr"):
            read_observations(path).compute()

    def test_lazy_files_have_the_chunks_of_the_file_and_the_same_keys_again(self, tmp_path):
        pytest.importorskip("netCDF4")
        points().to_netcdf(tmp_path / "a.nc", encoding={"t2m": {"chunksizes": (2,)}})
        obs, again = (read_observations(tmp_path / "a.nc") for _ in range(2))
        assert obs[T].chunks == ((2, 2, 2),)
        assert obs[T].data.name == again[T].data.name


class TestArchives:
    @pytest.mark.parametrize("name", ["STATION", "LATITUDE", "LONGITUDE", "ELEVATION"])
    def test_isd_without_a_column_that_all_have(self, name):
        frame = pd.read_csv(io.StringIO(ISD_TABLE)).drop(columns=name)
        with pytest.raises(ObservationError, match=f"columns of ISD, but no {name}"):
            read_observations(frame)

    @pytest.mark.parametrize("name", ["Station_ID", "Latitude", "Longitude", "Elevation", "Year", "Minute"])
    def test_ghcnh_without_a_column_that_all_have(self, name):
        frame = pd.read_csv(io.StringIO(GHCNH), sep="|").drop(columns=name)
        with pytest.raises(ObservationError, match="columns of GHCNh, but no"):
            read_observations(frame)

    def test_text_among_numbers_is_counted(self, tmp_path):
        (tmp_path / "GHCNh_a.psv").write_text(GHCNH.replace("|-3.4|", "|cold|"))
        (tmp_path / "a.csv").write_text(ISD_TABLE.replace("-0034,1", "cold,1"))
        stations = pd.DataFrame({"station": ["010010-99999"], "lat": [70.9], "lon": [-8.7], "elev": [9.0]})
        for name in ("GHCNh_a.psv", "a.csv"):
            obs = read_observations(tmp_path / name)
            assert json.loads(obs.attrs["unreadable_values"])[T] == 1
        (tmp_path / "010010-99999-2020").write_text(LITE + LITE.split("\n")[0].replace("  -34 ", " cold ") + "\n")
        obs = read_observations(tmp_path / "010010-99999-2020", stations=stations)
        assert json.loads(obs.attrs["unreadable_values"])[T] == 1

"""Fields to latents and back: lazily, state by state, in the user's names, through Zarr, with the sea mask restored."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import dask
import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from hypothesis import given
from hypothesis import strategies as st

import xappa
from tests import archives
from xappa.errors import DatasetError, IntegrityError, OptionError, UnitsError
from xappa.grids.axes import Layout
from xappa.model.model import Model
from xappa.state import to_array
from xappa.state.region import choose_region

GLOBE = Layout(
    latitude="lat", longitude="lon", level="plev",
    latitudes=tuple(np.arange(90.0, -91, -15)), longitudes=tuple(np.arange(0.0, 360, 30)),
    levels=(85000.0, 50000.0, 10000.0), level_units="Pa",
)  # fmt: skip


@pytest.fixture(scope="module")
def nature() -> xr.Dataset:
    return xappa.tutorial.nature_run().isel(time=slice(3)).compute()


@pytest.fixture(scope="module")
def speedy() -> Model:
    return xappa.load("speedy", device="cpu")


@pytest.fixture(scope="module")
def official(shared: Callable[[str], Path]) -> Path:
    return shared("fixtures/run_dir")


@torch.no_grad()
def by_hand(model: Model, ds: xr.Dataset) -> tuple[torch.Tensor, np.ndarray]:
    """Latents and decoded fields, by the networks alone."""
    fields, times = to_array(ds, model.spec), ds.time.values.astype("M8[s]")
    standardised = torch.from_numpy(model.standardise(np.where(model.mask, fields, np.nan), times))
    latents = torch.cat([model.encode(standardised[k : k + 1], times[k : k + 1]) for k in range(len(times))])
    decoded = torch.cat([model.decode(latents[k : k + 1], times[k : k + 1]) for k in range(len(times))])
    return latents, model.destandardise(decoded.numpy(), times)


def quiet_load(path: Path) -> Model:
    with warnings.catch_warnings(action="ignore"):
        return xappa.load(path, device="cpu")


class TestNumbers:
    def test_they_are_those_of_the_networks(self, nature: xr.Dataset, speedy: Model) -> None:
        latents, fields = by_hand(speedy, nature)
        encoded = nature.appa.encode("speedy", dtype="float32", device="cpu")
        assert encoded["latent"].shape == (3, *speedy.latent_shape)
        np.testing.assert_allclose(encoded["latent"], latents, rtol=1e-5, atol=1e-5)
        decoded = encoded.appa.decode(device="cpu")
        for name in speedy.spec.variables:
            expected = fields[:, speedy.spec.of(name)]
            scale = np.nanstd(expected)
            found = decoded[name].values
            if speedy.spec.levels_of(name):
                found = decoded[name].sel(level=list(speedy.spec.levels_of(name))).values
            expected = expected.reshape(found.shape)
            if name.startswith(("total", "specific")):
                expected = np.maximum(expected, 0)
            np.testing.assert_allclose(found, expected, atol=1e-4 * scale)

    def test_float16_costs_nothing_that_matters(self, nature: xr.Dataset) -> None:
        encoded = nature.appa.encode()
        assert encoded["latent"].dtype == np.float32 and encoded["latent"].encoding["dtype"] == "float16"
        half, single = encoded.appa.decode(), nature.appa.encode(dtype="float32").appa.decode()
        for name in ("2m_temperature", "geopotential", "total_precipitation_6hr"):
            rounding = float(((half[name] - single[name]) ** 2).mean())
            assert rounding < 1e-3 * float(((single[name] - nature[name]) ** 2).mean())

    def test_quantities_that_cannot_be_negative(self, nature: xr.Dataset) -> None:
        encoded = nature.isel(time=[0]).appa.encode()
        with xappa.set_options(clip=False):
            free = encoded.appa.decode("total_precipitation_6hr")
        assert free.attrs["xappa_clipped"] == "False" and float(free["total_precipitation_6hr"].min()) < 0
        assert float(encoded.appa.decode("total_precipitation_6hr")["total_precipitation_6hr"].min()) == 0

    def test_members(self, nature: xr.Dataset) -> None:
        both = xr.concat([nature, nature + 0.5], xr.DataArray([3, 7], dims="member", name="member"), data_vars="all")
        both = both.drop_vars(["land_sea_mask", "geopotential_at_surface"])
        for name in both:
            both[name].attrs = nature[name].attrs
        encoded = both.appa.encode()
        assert encoded["latent"].dims[:2] == ("member", "time") and encoded.member.values.tolist() == [3, 7]
        single = nature.appa.encode()
        np.testing.assert_array_equal(encoded["latent"].sel(member=3), single["latent"])
        decoded = encoded.sel(member=[7]).appa.decode("2m_temperature")["2m_temperature"]
        assert decoded.dims == ("member", "time", "latitude", "longitude")
        one = encoded.sel(member=7).appa.decode("2m_temperature")["2m_temperature"]
        np.testing.assert_array_equal(decoded.values[0], one.values)

    def test_a_state_with_missing_values_has_no_latents(self, nature: xr.Dataset) -> None:
        holed = nature.copy(deep=True)
        holed["2m_temperature"][1, 5, 5] = np.nan
        encoded = holed.appa.encode()
        assert encoded["latent"].isnull().all(encoded["latent"].dims[1:]).values.tolist() == [False, True, False]
        np.testing.assert_array_equal(encoded["latent"][0], nature.appa.encode()["latent"][0])


class TestLabels:
    def test_as_it_was_written(self, nature: xr.Dataset) -> None:
        ds = nature.drop_vars(["land_sea_mask", "geopotential_at_surface"])
        ds = ds.rename(
            {"2m_temperature": "t2m", "geopotential": "gh", "latitude": "lat", "level": "plev", "time": "valid_time"}
        )
        ds["t2m"] = (ds["t2m"].astype("f8") - 273.15).assign_attrs(units="degC")
        ds["gh"] = (ds["gh"] / 9.80665).assign_attrs(units="gpm")
        ds = ds.assign_coords(
            longitude=(ds.longitude + 180) % 360 - 180, plev=("plev", ds.plev.values * 100.0, {"units": "Pa"})
        )
        ds = ds.sortby("longitude").sortby("lat", ascending=False).sortby("plev", ascending=False)
        back = ds.appa.encode().appa.decode()
        assert set(back) == set(ds)
        for axis in ("valid_time", "lat", "longitude", "plev"):
            np.testing.assert_array_equal(back[axis], ds[axis])
        for name in ds:
            assert back[name].attrs["units"] == ds[name].attrs["units"] and back[name].dtype == ds[name].dtype
        assert float(abs(back["t2m"] - ds["t2m"]).mean()) < 0.5
        assert float(abs(back["gh"] - ds["gh"]).mean()) < 10
        np.testing.assert_allclose(ds.appa.encode()["latent"], nature.appa.encode()["latent"], atol=3e-3)

    def test_the_sea_mask_is_restored(self, nature: xr.Dataset) -> None:
        ds = nature.copy()
        ds["sea_surface_temperature"] = ds["sea_surface_temperature"].where(ds.latitude > -60)
        encoded = ds.isel(latitude=slice(None, None, -1)).appa.encode()
        back = encoded.appa.decode()["sea_surface_temperature"].sortby("latitude")
        np.testing.assert_array_equal(back.isnull(), ds["sea_surface_temperature"].isnull())
        part = encoded.appa.decode("sea_surface_temperature", region=((-70, -30), (90, 200)))["sea_surface_temperature"]
        same = ds["sea_surface_temperature"].sel(latitude=part.latitude, longitude=part.longitude)
        np.testing.assert_array_equal(part.isnull(), same.isnull())
        assert part.isnull().any() and part.notnull().any()

    def test_provenance(self, nature: xr.Dataset, speedy: Model) -> None:
        encoded = nature.appa.encode()
        assert encoded.attrs["xappa_model"] == "speedy" and encoded.attrs["xappa_model_digest"] == speedy.digest
        assert encoded.attrs["xappa_regridded"] == ""
        assert encoded.appa.decode().attrs["xappa_model_digest"] == speedy.digest

    def test_another_grid(self, nature: xr.Dataset) -> None:
        finer = nature.appa.regrid(2.5)
        encoded = finer.appa.encode()
        assert encoded.attrs["xappa_regridded"].startswith("bilinear, from latitudes 73 values")
        back = encoded.appa.decode("2m_temperature")["2m_temperature"]
        assert back.shape == (3, 48, 96)
        assert float(abs(back - nature["2m_temperature"]).mean()) < 1.0


class TestLaziness:
    def counted(self, nature: xr.Dataset) -> tuple[xr.Dataset, list[int]]:
        seen: list[int] = []

        def note(block: np.ndarray, block_info: dict | None = None) -> np.ndarray:
            if block_info:
                seen.append(block_info[0]["chunk-location"][0])
            return block

        ds = nature.chunk(time=1)
        field = ds["2m_temperature"].data.map_blocks(note, dtype="f4", meta=np.zeros((0, 0, 0), "f4"))
        return ds.assign({"2m_temperature": (ds["2m_temperature"].dims, field, ds["2m_temperature"].attrs)}), seen

    def test_nothing_runs_at_the_call_and_then_only_what_is_needed(self, nature: xr.Dataset) -> None:
        ds, seen = self.counted(nature)
        encoded = ds.appa.encode()
        decoded = encoded.appa.decode()
        assert seen == []
        decoded["geopotential"].isel(time=2).compute()
        assert seen == [2]

    def test_one_task_a_state(self, nature: xr.Dataset) -> None:
        encoded = nature.chunk(time=1).appa.encode()
        assert encoded["latent"].chunks[0] == (1, 1, 1)
        graph = dask.optimize(encoded["latent"].data)[0].__dask_graph__()
        assert sum("xappa-encode" in str(key) for key in graph) == 3
        decoded = encoded.compute().appa.decode("2m_temperature")["2m_temperature"].data
        graph = dask.optimize(decoded)[0].__dask_graph__()
        assert len([key for key in graph if "xappa-decode" in str(key)]) <= 3
        assert decoded.chunks[0] == (1, 1, 1)

    def test_keys_are_a_function_of_what_is_computed(self, nature: xr.Dataset) -> None:
        ds = nature.chunk(time=1)
        first, again = ds.appa.encode()["latent"].data, ds.appa.encode()["latent"].data
        assert first.name == again.name != ds.appa.encode(dtype="float32")["latent"].data.name
        compute = nature.appa.encode().compute()
        one, two = (compute.appa.decode("2m_temperature", region=region) for region in (None, ((0, 40), (0, 40))))
        assert one["2m_temperature"].data.name != two["2m_temperature"].data.name


MEMORY = """
import resource
import dask, dask.array, numpy as np, xarray as xr
import xappa

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

nature = xappa.tutorial.nature_run().isel(time=[0]).compute()
times = nature.time.values[0] + np.arange(80) * np.timedelta64(6, "h")
ds = xr.Dataset(coords={**nature.coords, "time": times})
for name, field in nature.data_vars.items():
    if "time" in field.dims:
        one = dask.array.from_array(field.values, chunks=-1)
        many = one.map_blocks(np.copy, dtype="f4")
        ds[name] = (field.dims, dask.array.concatenate([many] * 80), field.attrs)
with dask.config.set(scheduler="synchronous"):
    encoded = ds.appa.encode()
    encoded.isel(time=[0]).compute().appa.decode().compute()
    before = peak()
    latents = encoded.compute()
    means = latents.appa.decode().mean().compute()
    print(peak() - before, ds.nbytes / 2**20, latents["latent"].nbytes / 2**20)
"""


def test_memory_holds_a_state_and_not_the_fields() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    more, fields, latents = map(float, done.stdout.split())
    assert fields > 50
    assert more < 0.5 * fields + latents, f"{more:.0f} MB for {fields:.0f} MB of fields"


class TestJoined:
    """Latents that were put together, or masked, with xarray's own means are latents."""

    @pytest.fixture(scope="class")
    def latents(self, nature: xr.Dataset) -> xr.Dataset:
        return nature.appa.encode().compute()

    @pytest.fixture(scope="class")
    def whole(self, latents: xr.Dataset) -> xr.Dataset:
        return latents.appa.decode(["sea_surface_temperature", "temperature"]).compute()

    @pytest.mark.parametrize(
        "join",
        [
            lambda a, b: xr.concat([a, b], "time", data_vars="all"),
            lambda a, b: xr.concat([a, b], "time", data_vars="minimal"),
            lambda a, b: xr.combine_by_coords([a, b], data_vars="all"),
            lambda a, b: xr.combine_nested([a, b], "time", combine_attrs="override"),
            lambda a, b: xr.concat([a.chunk(time=1), b.chunk(time=2)], "time", data_vars="all"),
        ],
    )
    def test_along_time(self, latents, whole, join) -> None:
        half = latents.sizes["time"] // 2
        joined = join(latents.isel(time=slice(0, half)), latents.isel(time=slice(half, None)))
        xr.testing.assert_equal(joined.appa.decode(list(whole)).compute(), whole)

    def test_along_members_and_regions(self, latents, whole) -> None:
        both = xr.concat([latents, latents], "member", data_vars="all").sel(latitude=slice(0, 40), longitude=[0, 90])
        found = both.appa.decode(list(whole)).compute()
        right = whole.sel(latitude=slice(0, 40), longitude=[0, 90])
        for member in (0, 1):
            xr.testing.assert_equal(found.isel(member=member, drop=True).drop_vars("member", errors="ignore"), right)

    def test_masked_in_time(self, latents, whole) -> None:
        known = latents.time < latents.time[1]
        found = latents.where(known).appa.decode(list(whole)).compute()
        xr.testing.assert_equal(found, whole.where(known))

    def test_one_row_or_column(self, latents, whole) -> None:
        found = latents.isel(latitude=5).appa.decode("sea_surface_temperature")["sea_surface_temperature"]
        np.testing.assert_array_equal(found[:, 0], whole["sea_surface_temperature"].isel(latitude=5))

    def test_masked_by_place_is_refused(self, latents) -> None:
        with pytest.raises(DatasetError, match="'latitude', or mask fields after decoding"):
            latents.where(latents.latitude > 0).appa.decode()

    def test_without_a_dimension_of_the_mask_is_refused(self, latents) -> None:
        with pytest.raises(DatasetError, match="'sea_mask' has the dimensions .'latitude',., and lacks longitude"):
            latents.assign(sea_mask=latents.sea_mask.any("longitude")).appa.decode("sea_surface_temperature")


class TestHalfPrecision:
    """float16 is how latents are stored, not how sums are made."""

    @pytest.mark.parametrize("way", ["computed", "lazy", "xappa.to_zarr", "xarray's to_zarr"])
    def test_statistics_are_right(self, nature, tmp_path, way) -> None:
        encoded = nature.appa.encode()
        right = float(encoded["latent"].astype("f8").std())
        if way == "computed":
            encoded = encoded.compute()
        elif way == "xappa.to_zarr":
            encoded = xr.open_zarr(xappa.to_zarr(encoded, tmp_path / "a.zarr"))
        elif way == "xarray's to_zarr":
            encoded.to_zarr(tmp_path / "a.zarr")
            encoded = xr.open_zarr(tmp_path / "a.zarr")
        assert float(encoded["latent"].std()) == pytest.approx(right, rel=1e-4)
        assert np.isfinite(encoded["latent"].std(("time", "latent_channel"))).all()
        if "zarr" in way:
            assert zarr.open_group(tmp_path / "a.zarr")["latent"].dtype == np.float16

    def test_a_store_is_written_on_in_half_precision(self, nature, tmp_path) -> None:
        first = xappa.to_zarr(nature.appa.encode(), tmp_path / "a.zarr")
        second = xappa.to_zarr(xr.open_zarr(first).isel(time=slice(0, 2)), tmp_path / "b.zarr")
        assert zarr.open_group(second)["latent"].dtype == np.float16
        raw = xr.open_zarr(first, mask_and_scale=False)
        xr.testing.assert_equal(
            raw.appa.decode("temperature").compute(), nature.appa.encode().appa.decode("temperature")
        )


class TestStores:
    def test_through_zarr(self, nature: xr.Dataset, tmp_path: Path) -> None:
        encoded = nature.appa.encode()
        path = xappa.to_zarr(encoded, tmp_path / "latents.zarr")
        stored = xr.open_zarr(path, consolidated=False)
        assert zarr.open_group(path)["latent"].dtype == np.float16
        assert stored["latent"].dtype == np.float64, "xarray reads wider, so that statistics do not overflow"
        np.testing.assert_array_equal(stored["latent"], encoded["latent"])
        xr.testing.assert_identical(stored.appa.decode().compute(), encoded.appa.decode().compute())
        size = sum(file.stat().st_size for file in path.rglob("c/*") if file.is_file())
        assert size < nature.nbytes / 10

    def test_the_tiny_official_model_through_zarr(self, official: Path, tmp_path: Path) -> None:
        model = quiet_load(official)
        truth = archives.weatherbench(model.spec, times=5)
        ds = archives.cds(truth)
        with warnings.catch_warnings(action="ignore"):
            encoded = ds.appa.encode(official)
            assert encoded["latent"].shape == (5, *model.latent_shape)
            xappa.to_zarr(encoded, tmp_path / "latents.zarr")
            stored = xr.open_zarr(tmp_path / "latents.zarr", consolidated=False)
            back = stored.appa.decode()
            latents, fields = by_hand(model, truth)
            np.testing.assert_allclose(stored["latent"], latents, rtol=2e-3, atol=2e-3)
            assert list(back["t"].dims) == ["valid_time", "pressure_level", "latitude", "longitude"]
            deviation = model.scale[0, 0, 0]
            np.testing.assert_allclose(back["t2m"], fields[:, 0], atol=0.02 * deviation)
        assert back["tp"].attrs["units"] == "m" and back["t2m"].attrs["units"] == "K"
        # This model has no mask of its own: the one of the Dataset is kept beside the latents.
        np.testing.assert_array_equal(back["sst"].isnull(), ds["sst"].isnull())

    def test_latents_find_their_model_again(self, official: Path, nature: xr.Dataset) -> None:
        with warnings.catch_warnings(action="ignore"):
            model = quiet_load(official)
            encoded = archives.weatherbench(model.spec).appa.encode(official).compute()
            moved = encoded.assign_attrs(xappa_model_address="no such model")
            xr.testing.assert_equal(moved.appa.decode(model=official).compute(), encoded.appa.decode().compute())
            with pytest.raises(IntegrityError, match="of the model that the latents belong to"):
                nature.appa.encode().appa.decode(model=official)


class TestRegion:
    @pytest.mark.parametrize(
        ("region", "latitudes", "longitudes"),
        [
            ({"latitude": slice(60, 30)}, [60, 45, 30], None),
            ({"lat": (30, 60)}, [60, 45, 30], None),
            ({"latitude": slice(60, None)}, list(range(60, -91, -15)), None),
            ({"latitude": slice(None, 60)}, [90, 75, 60], None),
            ({"longitude": slice(30, 90)}, None, [30, 60, 90]),
            ({"lon": slice(-40, 40)}, None, [-30, 0, 30]),
            ({"longitude": (-30, 30)}, None, [-30, 0, 30]),
            ({"longitude": (330, 30)}, None, [330, 360, 390]),
            ({"longitude": (170, -170)}, None, [180]),
            ({"longitude": (-100, -80)}, None, [270]),
            ({"longitude": (60, 60)}, None, [60]),
            ({"longitude": (-180, 180)}, None, list(range(-180, 180, 30))),
            ({"longitude": (0, 360)}, None, list(range(0, 360, 30))),
            (((30, 60), (-10, 40)), [60, 45, 30], [0, 30]),
        ],
    )
    def test_bounds(self, region: object, latitudes: list | None, longitudes: list | None) -> None:
        part = choose_region(region, GLOBE)  # type: ignore[arg-type]
        rows = [GLOBE.latitudes[i] for i in part.rows]
        assert rows == (latitudes or list(GLOBE.latitudes))
        assert list(part.longitudes) == (longitudes or list(GLOBE.longitudes))
        np.testing.assert_allclose((np.array(GLOBE.longitudes)[part.columns] - part.longitudes) % 360, 0)

    def test_levels_are_in_the_user_s_units(self) -> None:
        assert choose_region({"plev": (10000, 50000)}, GLOBE).levels.tolist() == [1, 2]
        assert choose_region({"level": slice(50000, None)}, GLOBE).levels.tolist() == [1, 2]

    @given(west=st.integers(-360, 360), width=st.integers(0, 359))
    def test_longitudes_go_eastwards(self, west: int, width: int) -> None:
        inside = {lon for lon in range(0, 360, 30) if (lon - west) % 360 <= width}
        if not inside:
            with pytest.raises(OptionError, match="holds no longitude"):
                choose_region({"longitude": (west, west + width)}, GLOBE)
            return
        part = choose_region({"longitude": (west, west + width)}, GLOBE)
        assert {GLOBE.longitudes[k] for k in part.columns} == inside
        assert (np.diff(part.longitudes) > 0).all()

    @pytest.mark.parametrize(
        ("region", "words"),
        [
            ({"latitude": (61, 74)}, "holds no latitude: between 61.0 and 74.0 lies none of 13 from 90 to -90"),
            ({"longitude": slice(10, None)}, "expected both ends"),
            ({"latitude": 30}, "'latitude': 30; expected"),
            ({"latitude": slice(0, 60, 2)}, "expected"),
            ({"height": (0, 1)}, "'height'.*its keys are latitude, longitude, level, lat, lon, plev"),
            ("Europe", "expected {'latitude'"),
            ({"latitude": ("a", "b")}, "expected two numbers"),
            ({"latitude": (0, float("nan"))}, "expected finite numbers"),
        ],
    )
    def test_what_is_no_region(self, region: object, words: str) -> None:
        with pytest.raises(OptionError, match=words):
            choose_region(region, GLOBE)  # type: ignore[arg-type]

    def test_part_of_the_fields_is_part_of_the_whole(self, nature: xr.Dataset) -> None:
        encoded = nature.appa.encode().compute()
        whole = encoded.appa.decode()
        part = encoded.appa.decode(
            ["temperature", "2m_temperature"], {"latitude": (20, 60), "longitude": (-30, 30), "level": (500, 925)}
        )
        assert list(part) == ["temperature", "2m_temperature"] and part.level.values.tolist() == [500, 700, 850, 925]
        columns = part.longitude.values % 360
        for name in part:
            same = whole[name].sel(latitude=part.latitude, longitude=columns)
            same = same.sel(level=part.level) if "level" in same.dims else same
            np.testing.assert_array_equal(part[name].values, same.values)

    def test_selecting_from_the_latents_is_selecting_from_the_fields(self, nature: xr.Dataset) -> None:
        encoded = nature.appa.encode().compute()
        where = {"latitude": slice(0, 40), "level": [850, 500], "longitude": slice(100, 200)}
        part = encoded.sel(where).isel(time=1).appa.decode("temperature")
        same = encoded.appa.decode("temperature").sel(where).isel(time=[1])
        np.testing.assert_array_equal(part["temperature"].sel(level=[850, 500]), same["temperature"])


class TestErrors:
    def test_everything_that_is_missing_at_once(self, nature: xr.Dataset) -> None:
        ds = nature.drop_vars("specific_humidity").isel(level=slice(1, None), latitude=slice(20, None))
        ds = ds.assign_coords(time=ds.time + np.timedelta64(1, "h"))
        ds["2m_temperature"].attrs["units"] = "kg"
        with pytest.raises(DatasetError) as error:
            ds.appa.encode()
        for words in ("cannot be encoded", "not model times", "specific_humidity", "levels 100 hPa", "'kg'"):
            assert words in str(error.value)

    def test_units_alone(self, nature: xr.Dataset) -> None:
        ds = nature.copy()
        ds["2m_temperature"] = ds["2m_temperature"].assign_attrs(units="kg")
        with pytest.raises(UnitsError, match="'2m_temperature'.*'kg'"):
            ds.appa.encode()

    def test_options(self, nature: xr.Dataset) -> None:
        with pytest.raises(OptionError, match="dtype='int8': expected one of 'float16', 'float32'"):
            nature.appa.encode(dtype="int8")
        encoded = nature.appa.encode()
        with pytest.raises(OptionError, match="unknown '2m_temprature'; did you mean '2m_temperature'"):
            encoded.appa.decode("2m_temprature")
        with pytest.raises(OptionError, match="asks for none"):
            encoded.appa.decode([])

    def test_what_holds_no_latents(self, nature: xr.Dataset) -> None:
        with pytest.raises(DatasetError, match="expected what ds.appa.encode makes"):
            nature.appa.decode()
        encoded = nature.appa.encode()
        with pytest.raises(DatasetError, match="never part of a latent state"):
            encoded.isel(latent_channel=slice(3)).appa.decode()
        with pytest.raises(DatasetError, match="not those of the model"):
            encoded.assign_coords(latitude=encoded.latitude + 1).appa.decode()
        with pytest.raises(DatasetError, match="no level is left of temperature"):
            encoded.isel(level=slice(0)).appa.decode("temperature")

    def test_values_that_are_not_plausible_stop_the_state(self, nature: xr.Dataset) -> None:
        ds = nature.copy()
        ds["mean_sea_level_pressure"] = (ds["mean_sea_level_pressure"] / 100).drop_attrs()
        with pytest.raises(UnitsError, match="'mean_sea_level_pressure' has no units"):
            ds.appa.encode().isel(time=0).compute()

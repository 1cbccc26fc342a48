"""What a store of `xappa.to_zarr` holds: values, labels, metadata, chunks, encodings."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

import xappa
from tests.stores import analysis
from xappa.errors import OptionError
from xappa.streaming.store import encoding

pytestmark = pytest.mark.usefixtures("nothing_on_disk")


class TestLayout:
    """What a store holds."""

    def test_values_labels_and_diagnostics(self, finished, tiny_model) -> None:
        expected = analysis(tiny_model).compute()
        stored = xr.open_zarr(finished)  # without a warning: metadata are consolidated
        xr.testing.assert_equal(stored.compute(), expected)
        assert stored["temperature"].attrs == expected["temperature"].attrs
        assert stored["member"].attrs["standard_name"] == "realization"
        assert {k: v for k, v in stored.attrs.items() if k != "xappa_store"} == expected.attrs
        assert stored["temperature"].encoding["chunks"] == (1, 4, 2, 8, 16)
        learned = xr.open_zarr(finished, group="diagnostics")
        assert learned.sizes["member"] == 3
        assert int(learned["reports"].sel(variable="2m_temperature", status="good")) == 6
        assert np.isfinite(learned["chi_squared"]).all()
        assert not finished.with_name("a.zarr.xappa").exists()

    def test_metadata(self, finished) -> None:
        meta = json.loads((finished / "temperature" / "zarr.json").read_text())
        assert meta["zarr_format"] == 3
        assert meta["fill_value"] == "NaN"
        assert [codec["name"] for codec in meta["codecs"]] == ["bytes", "zstd"]
        times = json.loads((finished / "time" / "zarr.json").read_text())["attributes"]
        assert times["units"].startswith("hours since 1970-01-01")
        assert times["standard_name"] == "time"

    def test_chunks_by_size(self) -> None:
        def fields(levels: int, height: int, width: int) -> xr.Dataset:
            shape = (2, 100, levels, height, width)
            data = xr.Variable(
                ("member", "time", "level", "latitude", "longitude"), np.broadcast_to(np.float32(0), shape)
            )
            surface = data.isel(level=0)
            return xr.Dataset({"t": data, "s": surface}, {"time": np.arange(100).astype("M8[h]").astype("M8[ns]")})

        small = fields(8, 48, 96)
        sizes = encoding.choose_chunks(small)
        assert sizes == {"member": 1, "time": 1, "level": 8, "latitude": 48, "longitude": 96}
        assert encoding.make_encodings(small, sizes, None)["t"]["chunks"] == (1, 1, 8, 48, 96)
        assert encoding.choose_region_sizes(small, sizes)["time"] == 27, (
            "several chunks are computed and written together"
        )
        assert encoding.choose_region_sizes(small, encoding.choose_chunks(small, {"time": 1}), {"time": 1})["time"] == 1
        large = fields(13, 721, 1440)
        sizes = encoding.choose_chunks(large)
        assert sizes["time"] == 1
        one = encoding.make_encodings(large, sizes, None)
        assert one["t"]["shards"] == (1, 1, 13, 721, 1440)
        assert one["t"]["chunks"] == (1, 1, 1, 721, 1440)
        assert one["s"]["chunks"] == (1, 1, 721, 1440)
        split = encoding.choose_chunks(large, {"latitude": 100, "time": -1})
        assert (split["latitude"], split["time"]) == (100, 100)

    @pytest.mark.parametrize("chunks", [{"times": 4}, {"time": 0}, {"time": 1.5}, {"time": True, "latitude": -2}])
    def test_chunks_that_cannot_be_honoured(self, tiny_model, tmp_path, chunks) -> None:
        with pytest.raises(OptionError, match="cannot be honoured"):
            xappa.to_zarr(analysis(tiny_model), tmp_path / "a.zarr", chunks=chunks)
        assert not list(tmp_path.iterdir())

    def test_chunks_that_do_not_fit_into_memory(self, tiny_model, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr("xappa.streaming.store.room.memory", lambda: 1e5)
        with pytest.raises(OptionError, match=r"time': 20.*use fewer times"):
            xappa.to_zarr(analysis(tiny_model), tmp_path / "a.zarr", chunks={"time": -1})

    def test_encodings_and_split_fields(self, tiny_model, tmp_path) -> None:
        found = analysis(tiny_model, last="2001-03-13T18")
        packing = {"temperature": {"dtype": "int16", "scale_factor": 0.01, "add_offset": 250.0, "_FillValue": -32768}}
        store = xappa.to_zarr(found, tmp_path / "a.zarr", encoding=packing, chunks={"latitude": 3})
        stored = xr.open_zarr(store)
        np.testing.assert_allclose(stored["temperature"], found["temperature"], atol=0.006)
        assert stored["2m_temperature"].encoding["chunks"][-2:] == (3, 16)
        np.testing.assert_array_equal(stored["2m_temperature"], found["2m_temperature"])
        with pytest.raises(OptionError, match=r"'t': no such variable; 'temperature': chunks and shards"):
            xappa.to_zarr(found, tmp_path / "b.zarr", encoding={"t": {}, "temperature": {"chunks": (1,)}})

    @pytest.mark.parametrize(
        ("packing", "missing"),
        [
            ({"dtype": "int16"}, -32768), ({"dtype": np.uint16, "add_offset": -300.0}, 65535),
            ({"dtype": "int16", "_FillValue": -9999}, -9999), ({"dtype": "int16", "missing_value": -9999}, -9999),
        ],
    )  # fmt: skip
    def test_packed_zeros_are_no_missing_values(self, tmp_path, packing, missing) -> None:
        values = np.linspace(-3, 3, 61)
        values[7] = np.nan
        found = xr.Dataset({"u": (("time", "x"), np.tile(values, (2, 1)))}, {"time": np.arange(2).astype("M8[h]")})
        store = xappa.to_zarr(found, tmp_path / "a.zarr", encoding={"u": {"scale_factor": 0.01} | packing})
        np.testing.assert_allclose(xr.open_zarr(store)["u"], found["u"], atol=1e-6)
        assert json.loads((store / "u" / "zarr.json").read_text())["fill_value"] == missing
        (store / "u" / "c" / "0" / "0").unlink()
        assert xr.open_zarr(store)["u"].isel(time=0).isnull().all(), "what is not written reads as missing"

    @pytest.mark.parametrize(("value", "missing"), [(400.0, {}), (-327.68, {}), (np.nan, {"_FillValue": None})])
    def test_values_that_do_not_fit_are_not_packed(self, tmp_path, value, missing) -> None:
        packing = {"u": {"dtype": "int16", "scale_factor": 0.01} | missing}
        found = xr.Dataset({"u": ("x", [0.0, 327.67, value])})
        with pytest.raises(OptionError, match=r"1 of 3 values, such as .* int16 holds .*-327.68 to 327.67"):
            xappa.to_zarr(found, tmp_path / "a.zarr", encoding=packing)
        with pytest.raises(OptionError, match="instead of _Unsigned"):
            xappa.to_zarr(found, tmp_path / "a.zarr", encoding={"u": {"_Unsigned": "true"}})
        wider = {"u": {"dtype": "int32", "scale_factor": 0.01}}
        store = xappa.to_zarr(found, tmp_path / "a.zarr", encoding=wider, overwrite=True)
        np.testing.assert_allclose(xr.open_zarr(store)["u"], found["u"])

    def test_what_was_computed_from_a_result(self, tiny_model, tmp_path) -> None:
        found = analysis(tiny_model)
        mixed = found[["temperature"]].mean("member").assign(static=found["2m_temperature"].isel(time=0, member=0))
        store = xappa.to_zarr(mixed.drop_vars("member", errors="ignore"), tmp_path / "a.zarr")
        np.testing.assert_allclose(xr.open_zarr(store)["temperature"], mixed["temperature"], rtol=1e-6)
        np.testing.assert_array_equal(xr.open_zarr(store)["static"], mixed["static"])
        memory = xr.Dataset({"a": ("x", np.arange(3.0))})
        xr.testing.assert_equal(xr.open_zarr(xappa.to_zarr(memory, tmp_path / "b.zarr")).compute(), memory)

    def test_netcdf(self, tiny_model, tmp_path) -> None:
        found = analysis(tiny_model, last="2001-03-13T18")
        found.to_netcdf(tmp_path / "a.nc")
        with xr.open_dataset(tmp_path / "a.nc") as stored:
            xr.testing.assert_allclose(stored.load(), found.compute())

    def test_an_empty_chunk_counts_as_written(self, tiny_model, tmp_path, monkeypatch) -> None:
        """Where all is missing a file is written nevertheless, or the region would be computed again and again."""
        found = analysis(tiny_model, last="2001-03-13T18") * np.float32("nan")
        store = xappa.to_zarr(found, tmp_path / "a.zarr")
        assert (store / "temperature" / "c" / "2").is_dir()

"""`ds.appa.assimilate`: labels, laziness, reproducibility, errors."""

from __future__ import annotations

import inspect
import re

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import xappa
from xappa.accessor import AppaAccessor
from xappa.diffusion.guidance import GUIDANCE
from xappa.diffusion.samplers import SAMPLERS
from xappa.errors import DatasetError, IntegrityError, ModelError, ObservationError, OptionError, UnitsError
from xappa.sampling import sampling_tasks
from xappa.tasks.assimilate import assimilate

TIMES = pd.date_range("2001-03-13", periods=4, freq="6h")


@pytest.fixture
def ds(tiny_model) -> xr.Dataset:
    return xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)


@pytest.fixture
def obs() -> pd.DataFrame:
    rows = {"time": TIMES[[0, 1, 3]], "lat": [10.0, -33.0, 85.0], "lon": [5.0, 359.0, 180.0]}
    return pd.DataFrame({**rows, "variable": "2m_temperature", "observation": [287.0, 283.0, 284.0], "error": 0.5})


@pytest.fixture
def run(tiny_model):
    def call(ds, obs, **options):
        return ds.appa.assimilate(obs, **{"model": tiny_model, "members": 2, "seed": 0, "steps": 4, **options})

    return call


def test_the_accessor_has_the_signature_of_its_twin() -> None:
    own, twin = (inspect.signature(f).parameters for f in (AppaAccessor.assimilate, assimilate))
    assert [(p.name, p.kind, p.default) for p in list(own.values())[1:]] == [
        (p.name, p.kind, p.default) for p in list(twin.values())[1:]
    ]


def test_nothing_is_sampled_before_compute(run, ds, obs, monkeypatch) -> None:
    calls = []
    whole = sampling_tasks._sample
    monkeypatch.setattr(sampling_tasks, "_sample", lambda *args: calls.append(args) or whole(*args))
    analysis = run(ds, obs, seed=71)
    assert all(dask.is_dask_collection(v.data) for v in analysis.data_vars.values())
    assert not calls
    analysis["2m_temperature"].isel(time=0).compute()
    assert len(calls) == 1
    analysis["temperature"].compute()
    assert len(calls) == 1, "latents are kept between computations"


def test_two_variables_in_one_compute_decode_once(run, ds, obs, monkeypatch) -> None:
    calls = []
    whole = sampling_tasks.decode
    monkeypatch.setattr(sampling_tasks, "decode", lambda *args: calls.append(args) or whole(*args))
    run(ds, obs, chunks=2, seed=72)[["2m_temperature", "temperature"]].compute()
    assert len(calls) == 4  # two members, two chunks of two times


def test_two_chunkings_of_one_analysis_can_be_computed_together(run, ds, obs) -> None:
    coarse, fine = (run(ds, obs, chunks=n)["2m_temperature"] for n in (4, 1))
    a, b = dask.compute(coarse, fine)
    np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_model_given_by_a_relative_path_is_found_after_a_change_of_directory(
    run, ds, obs, tiny_model, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tiny_model.parent)
    analysis = run(ds, obs, model=tiny_model.name, seed=73)
    monkeypatch.chdir(tmp_path)
    assert np.isfinite(analysis["2m_temperature"].isel(time=0).compute()).all()


def test_output_is_spelt_as_the_input(run, ds, obs) -> None:
    own = ds.rename(latitude="lat", longitude="lon").isel(lat=slice(None, None, -1))
    own = own.assign_coords(lon=(own.lon + 180) % 360 - 180).sortby("lon").rename({"2m_temperature": "t2m"})
    own = own.isel(level=slice(None, None, -1)).assign_coords(level=own.level.values[::-1] * 100)
    own.level.attrs["units"] = "Pa"
    found = run(own[["t2m", "temperature"]], obs)
    assert set(found.data_vars) == {"t2m", "temperature"}
    for name in ("lat", "lon", "level"):
        np.testing.assert_allclose(found[name], own[name])
    assert found.level.attrs["units"] == "Pa"
    reference = run(ds, obs)
    value = float(reference["2m_temperature"].sel(latitude=11.25, longitude=337.5).isel(member=0, time=1))
    assert float(found["t2m"].sel(lat=11.25, lon=-22.5).isel(member=0, time=1)) == pytest.approx(value, abs=1e-3)
    assert found.member.attrs["standard_name"] == "realization"


def test_the_same_seed_gives_the_same_analysis_and_member_numbers_continue(run, ds, obs) -> None:
    first = run(ds, obs, members=3, seed=5)["2m_temperature"].compute()
    sampling_tasks._CACHE.clear()
    again = run(ds, obs, members=3, seed=5)["2m_temperature"].compute()
    np.testing.assert_array_equal(first, again)
    later = run(ds, obs, members=range(2, 4), seed=5)["2m_temperature"].compute()
    assert list(later.member.values) == [2, 3]
    np.testing.assert_allclose(later.sel(member=2), first.sel(member=2), atol=1e-2)
    other = run(ds, obs, members=3, seed=6)["2m_temperature"].compute()
    assert np.abs(other - first).max() > 0.1


def test_a_seed_is_drawn_and_kept(run, ds, obs) -> None:
    one, two = (run(ds, obs, seed=None).attrs["xappa_seed"] for _ in range(2))
    assert one != two


def test_longer_than_a_window_and_single_times(run, tiny_model, obs) -> None:
    long = xappa.template("2001-03-13T00", "2001-03-15T06", model=tiny_model)
    assert run(long, obs)["2m_temperature"].compute().notnull().all()
    for stitching in ("causal", "blended"):
        assert run(long, obs, stitching=stitching)["2m_temperature"].compute().notnull().all()
    one = run(long.isel(time=[1]), obs)
    assert one.sizes["time"] == 1
    assert one["2m_temperature"].compute().notnull().all()


@pytest.mark.parametrize("guidance", GUIDANCE)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_guidance_works_with_every_sampler(run, ds, obs, guidance, sampler) -> None:
    """On fields; `test_guidance_samplers` has the moments."""
    result = run(ds, obs, guidance=guidance, sampler=sampler, steps=1, members=1)
    assert np.isfinite(result["2m_temperature"].isel(time=0).compute()).all()
    assert result.attrs["xappa_guidance"].startswith(f"{GUIDANCE[guidance].__name__}(")


def test_members_have_perturbed_observations_of_their_own(run, ds, obs) -> None:
    """Whatever members are asked for together; those of another member are others."""
    options = xappa.guidance.LatentOptimisation(iterations=5, perturb_observations=True)
    plain, both, second = (
        run(ds, obs, guidance=guidance, members=members)["2m_temperature"].isel(member=-1).compute()
        for guidance, members in ((xappa.guidance.LatentOptimisation(iterations=5), 2), (options, 2), (options, [1]))
    )
    np.testing.assert_allclose(both, second, atol=1e-2)
    assert float(np.abs(both - plain).max()) > 0.05


def test_precipitation_is_never_negative_and_sst_missing_over_land(run, ds, obs, tiny_model) -> None:
    found = run(ds, obs).compute()
    assert float(found["total_precipitation_6hr"].min()) >= 0
    missing = found["sea_surface_temperature"].isnull()
    land = xappa.load(tiny_model).statistics["land"] > 0.5
    assert (missing == land).all()


def test_tokens_are_the_same_in_every_call(run, ds, obs) -> None:
    assert run(ds, obs).attrs["xappa_run"] == run(ds, obs).attrs["xappa_run"]
    assert run(ds, obs).attrs["xappa_run"] != run(ds, obs, seed=1).attrs["xappa_run"]


def test_attributes_can_be_stored(run, ds, obs, tmp_path) -> None:
    found = run(ds, obs)
    found.to_netcdf(tmp_path / "a.nc")
    assert xr.open_dataset(tmp_path / "a.nc").attrs["xappa_model"] == "tiny"


def test_a_store_is_not_overwritten_unasked(run, ds, obs, tmp_path) -> None:
    xappa.to_zarr(run(ds, obs), tmp_path / "a.zarr")
    with pytest.raises(DatasetError):
        xappa.to_zarr(run(ds, obs, seed=99), tmp_path / "a.zarr")
    xappa.to_zarr(run(ds, obs, seed=99), tmp_path / "a.zarr", overwrite=True)


def test_diagnostics_of_a_foreign_dataset(ds) -> None:
    with pytest.raises(DatasetError, match="No diagnostics"):
        xappa.diagnostics(ds)


class TestErrors:
    """Found, expected, what to do."""

    def test_no_observation_inside_the_times(self, run, ds, obs) -> None:
        with pytest.raises(ObservationError, match=r"2005.*2001-03-13"):
            run(ds, obs.assign(time=pd.Timestamp("2005-01-01")))

    def test_unknown_observed_variable(self, run, ds, obs) -> None:
        with pytest.raises(ObservationError, match="2m_temperature"):
            run(ds, obs.assign(variable="2m_temperatur"))

    def test_unknown_variable_of_the_dataset(self, run, ds, obs) -> None:
        with pytest.raises(DatasetError, match=r"2m_temprature.*2m_temperature"):
            run(ds.rename({"2m_temperature": "2m_temprature"}), obs)
        found = run(ds.rename({"2m_temperature": "2m_temprature"}), obs, drop_unknown=True)
        assert "2m_temprature" not in found

    def test_units_that_cannot_be_converted(self, run, ds, obs) -> None:
        with pytest.raises(UnitsError, match=r"m s-1|m/s"):
            run(ds, obs.assign(units="m/s"))

    def test_latitude_beyond_90(self, run, ds, obs) -> None:
        with pytest.raises(ObservationError, match="90"):
            run(ds, obs.assign(lat=[100.0, 200.0, 300.0]))
        with pytest.raises(DatasetError, match="90"):
            run(ds.assign_coords(latitude=ds.latitude + 40), obs)

    def test_no_recognisable_axis(self, run, obs) -> None:
        with pytest.raises(DatasetError, match="time"):
            run(xr.Dataset({"a": ("x", [1.0])}), obs)

    def test_unsorted_and_duplicate_times(self, run, ds, obs) -> None:
        with pytest.raises(DatasetError, match=r"[Uu]nsorted|order|ascend|increas"):
            run(ds.isel(time=[1, 0, 2, 3]), obs)
        with pytest.raises(DatasetError, match=r"[Dd]uplicate|twice|repeat|more than once"):
            run(ds.isel(time=[0, 0, 1, 2]), obs)

    def test_times_that_are_not_model_times(self, run, ds, obs) -> None:
        with pytest.raises(DatasetError, match="2001-03-13T06"):
            run(ds.assign_coords(time=ds.time + pd.Timedelta("5h")), obs)

    def test_unknown_model(self, run, ds, obs) -> None:
        with pytest.raises(ModelError, match=r"Unknown model 'spedy'.*'speedy'"):
            run(ds, obs, model="spedy")

    @pytest.mark.parametrize("members", [0, [], [1, 1], -1, 1.5, True, "10", [0.5, 1], ["a"], [[1]], 2**70])
    def test_members(self, run, ds, obs, members) -> None:
        with pytest.raises(OptionError, match="members="):
            run(ds, obs, members=members)

    @pytest.mark.parametrize(
        ("option", "value", "valid"),
        [
            ("operator", "interpolat", "interpolate"),
            ("guidance", "mmp", "mmps"),
            ("sampler", "lsm", "lms"),
            ("stitching", "symmetric", "symmetrical"),
        ],
    )
    def test_a_wrong_name_is_answered_with_the_valid_ones(self, run, ds, obs, option, value, valid) -> None:
        with pytest.raises(OptionError, match=rf"Unknown {option} '{value}'.*'{valid}'"):
            run(ds, obs, **{option: value})

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("model", 5),
            ("effort", None),
            ("grid", 3.75),
            ("stitching", None),
            ("guidance", xappa.guidance.MMPS),
            ("sampler", xappa.samplers.LMS),
        ],
    )
    def test_other_things_than_names(self, run, ds, obs, option, value) -> None:
        with pytest.raises(OptionError, match=rf"{option}={re.escape(repr(value))}[:,] expected"):
            run(ds, obs, **{option: value})

    def test_steps_and_chunks(self, run, ds, obs) -> None:
        with pytest.raises(OptionError, match="steps=0"):
            run(ds, obs, steps=0)
        for steps in (2.5, "3"):
            with pytest.raises(OptionError, match=f"steps={steps!r}, expected a whole number"):
                run(ds, obs, steps=steps)
        with pytest.raises(OptionError, match="chunks="):
            run(ds, obs, chunks=0)

    def test_weights_with_a_wrong_hash(self, run, ds, obs, tiny_model, tmp_path) -> None:
        import shutil

        shutil.copytree(tiny_model, tmp_path / "model")
        file = tmp_path / "model" / "statistics.safetensors"
        file.write_bytes(file.read_bytes()[:-1] + b"?")
        with pytest.raises(IntegrityError, match=r"statistics\.safetensors: expected sha256"):
            run(ds, obs, model=tmp_path / "model")

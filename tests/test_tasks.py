"""Filter, forecast, free samples, backgrounds, constraints, cycling: labels, edges, diagnostics, bad input."""

from __future__ import annotations

import warnings

import dask
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import xappa
from tests.one_day import TIMES, cheap_options, reports, template
from xappa.background import LatentObservation, WarmStart
from xappa.diffusion.guidance import MMPS
from xappa.errors import (
    DatasetError,
    FitWarning,
    NoReportsError,
    ObservationError,
    OptionError,
    SamplingError,
    UnitsError,
)
from xappa.operators import Footprint
from xappa.sampling import sampling_tasks
from xappa.sampling.fit import compute_plausible_range, warn_of_poor_fit
from xappa.tasks.climatology import climatology
from xappa.tasks.effort import EFFORTS
from xappa.tasks.planning import choose_guidance
from xappa.verification import scores

options = pytest.fixture(scope="module")(cheap_options)
ds = pytest.fixture(scope="module")(template)
obs = pytest.fixture(scope="module")(reports)


@pytest.fixture(scope="module")
def states(ds, options) -> xr.Dataset:
    """Six free samples."""
    return ds.appa.sample(**{**options, "members": 6, "seed": 3}).compute()


def test_a_sample_is_lazy_labelled_and_of_the_prior(ds, options, states) -> None:
    free = ds.appa.sample(**options)
    assert all(dask.is_dask_collection(v.data) for v in free.data_vars.values())
    assert free.attrs["xappa_background"] == ""
    assert "xappa_observations" not in free.attrs
    anomalies = states["temperature"] - states["temperature"].mean("member")
    assert 0.2 < float(anomalies.std()) / 3.0 < 2.0
    assert list(xappa.diagnostics(free)["member"].values) == [0, 1]


def test_filter_is_the_last_time_of_observations_up_to_then(ds, obs, options) -> None:
    later = pd.concat([obs, obs.tail(1).assign(time=TIMES[3] + pd.Timedelta("2h"), observation=300.0)])
    now = ds.appa.filter(later, **options)
    assert list(now["time"].values) == [np.datetime64("2001-03-13T18", "ns")]
    assert int(now.appa.summary().loc["2m_temperature", "outside_times"]) == 1
    whole = ds.appa.assimilate(obs, **options)["2m_temperature"].isel(time=[-1])
    np.testing.assert_allclose(now["2m_temperature"], whole, atol=1e-3)


def test_reports_before_between_and_after_the_times(ds, obs, options) -> None:
    around = pd.to_datetime(["2001-03-12T20:00", "2001-03-13T03:00", "2001-03-13T09:30", "2001-03-14T04:00"])
    table = pd.concat([obs.head(1).assign(time=time, lat=10.0 + 5 * k) for k, time in enumerate(around)])
    sparse = ds.isel(time=[0, 3])
    analysis = sparse.appa.assimilate(table, quality="none", **options)
    counts = analysis.appa.summary().loc["2m_temperature"]
    assert (int(counts["good"]), int(counts["outside_times"])) == (2, 2)
    assert analysis.sizes["time"] == 2


def test_forecast_from_states_continues_them(states, options) -> None:
    ahead = states.appa.forecast("1D", **{**options, "members": 6, "steps": 12})
    assert dask.is_dask_collection(ahead["2m_temperature"].data)
    hours = ahead["lead_time"].values / np.timedelta64(1, "h")
    assert hours.tolist() == [6, 12, 18, 24]
    assert ahead["time"].values[0] == np.datetime64("2001-03-14T00")
    assert ahead["lead_time"].attrs["standard_name"] == "forecast_period"
    last = states["u_component_of_wind"].isel(time=-1, drop=True)
    field = ahead["u_component_of_wind"].compute()

    def similarity(lead: int) -> float:
        one, other = (f - f.mean("member") for f in (field.isel(time=lead, drop=True), last))
        return float((one * other).mean() / np.sqrt((one**2).mean() * (other**2).mean()))

    assert similarity(0) > 0.3
    assert similarity(0) > similarity(3)
    assert states.appa.forecast("1D", **options).appa.check(options["model"]).ok


@pytest.mark.parametrize("mode", ["autoregressive", "all-at-once"])
def test_leads_may_be_chosen(ds, obs, options, mode) -> None:
    ahead = ds.appa.forecast(["6h", pd.Timedelta("24h"), np.timedelta64(36, "h")], obs=obs, mode=mode, **options)
    assert (ahead["lead_time"].values / np.timedelta64(1, "h")).tolist() == [6, 24, 36]
    assert np.isfinite(ahead["2m_temperature"].compute()).all()
    same = ds.appa.forecast("36h", obs=obs, mode=mode, **options)["2m_temperature"].isel(time=[0, 3, 5])
    np.testing.assert_allclose(ahead["2m_temperature"], same, atol=1e-3)


def test_a_forecast_of_observations_continues_their_analysis(ds, obs, options) -> None:
    near = ds.isel(time=[2, 3]).appa.forecast("6h", obs=obs, **{**options, "steps": 8})
    assert int(near.appa.summary().loc["2m_temperature", "good"]) == 1
    residual = xappa.diagnostics(near)["chi_squared"].compute()
    assert residual.sizes["member"] == 2
    assert np.isfinite(residual).all()


def test_forecast_starts_from_few_or_gappy_states(states, options) -> None:
    one = states.isel(time=[3]).appa.forecast("6h", **options)
    gap = states.isel(time=[0, 3]).appa.forecast("6h", **options)
    np.testing.assert_allclose(one["2m_temperature"], gap["2m_temperature"], atol=1e-4)


@pytest.mark.parametrize(
    ("lead", "message"),
    [
        ("7h", r"'7h' is no multiple of the model's 6 h; the nearest: 6h and 12h"),
        ("2h", r"'2h' is no multiple .* nearest: 6h"),
        ("-6h", "is not ahead"),
        ("0h", "is not ahead"),
        (["6h", "9h", "500D"], r"'9h' is no multiple.*'500D' is longer than 366 days.*sample"),
        (24, "a number has no unit"),
        ("soon", "expected a length of time such as '24h'"),
        ([], "lead is empty"),
    ],
)
def test_leads_that_make_no_sense(states, options, lead, message) -> None:
    with pytest.raises(OptionError, match=message):
        states.appa.forecast(lead, **options)


def test_long_leads_are_warned_of(states, options) -> None:
    with pytest.warns(UserWarning, match="longest lead is 16 days"):
        states.appa.forecast("16D", **options)


def test_forecast_refuses_what_it_cannot_use(ds, obs, states, options) -> None:
    with pytest.raises(OptionError, match=r"background= without obs="):
        states.appa.forecast("6h", background="ds", **options)
    with pytest.raises(OptionError, match=r"WarmStart as the background of a forecast"):
        states.appa.forecast("6h", obs=obs, background=WarmStart(), **options)
    with pytest.raises(OptionError, match="Unknown mode 'auto'.*'autoregressive'"):
        states.appa.forecast("6h", mode="auto", **options)
    with pytest.raises(DatasetError, match="4 of 4 states|2 of 2 states"):
        ds.appa.forecast("6h", **options)["2m_temperature"].compute()


def test_a_background_draws_the_analysis_to_it(states, obs, options) -> None:
    truth = states.isel(member=[0])

    def error(background) -> float:
        found = truth.appa.assimilate(obs, background=background, **{**options, "steps": 6})
        return float(np.square(found["temperature"].isel(time=0) - truth["temperature"][0, 0]).mean())

    free = error(None)
    assert error(LatentObservation(covariance="autoencoder")) < 0.5 * free
    assert error(WarmStart(sigma=0.2)) < 0.5 * free
    assert error("ds") < free
    by_ensemble = truth.appa.assimilate(obs, background=states, **options)
    assert by_ensemble.attrs["xappa_background"].startswith("LatentObservation(covariance='auto'")
    assert (
        by_ensemble.attrs["xappa_run"] != truth.appa.assimilate(obs, background=-states, **options).attrs["xappa_run"]
    )


def test_backgrounds_that_do_not_fit(ds, states, obs, options) -> None:
    def run(background):
        return ds.appa.assimilate(obs, background=background, **options)

    late = states.assign_coords(time=states["time"] + pd.Timedelta("10D"))
    with pytest.raises(DatasetError, match=r"no time of the analysis: it has 4 from 2001-03-23"):
        run(late)
    with pytest.raises(DatasetError, match=r"lacks 2 of the 4 times .* 2001-03-13T12.*LatentObservation"):
        run(WarmStart(states.isel(time=[0, 1])))
    with pytest.raises(DatasetError, match=r"outside of which lie|global|whole globe"):
        run(states.isel(latitude=slice(2, 5)))
    with pytest.raises(DatasetError, match=r"missing: temperature"):
        run(states.drop_vars("temperature"))
    with pytest.raises(OptionError, match=r"background=3: expected 'ds'"):
        run(3)
    with pytest.raises(OptionError, match=r"sigma=5000; expected a noise level of the model, from 0.001 to 1000"):
        run(WarmStart(states, sigma=5000.0))
    coarse = states.isel(member=0, longitude=slice(None, None, 2))
    assert np.isfinite(run(WarmStart(coarse, sigma=0.5))["2m_temperature"].compute()).all()


def test_constraints_in_one_call(ds, states, obs, options) -> None:
    truth = states.isel(member=0, drop=True)
    sst = truth[["sea_surface_temperature"]].map(lambda field: field + 1.0, keep_attrs=True)
    others = {"forecast": WarmStart(states, sigma=2.0), "obs": obs, **options, "steps": 6}
    found = xappa.experimental.constrain(ds, forcing=sst, forcing_error={"sea_surface_temperature": 0.1}, **others)
    free = xappa.experimental.constrain(ds, **others)
    assert found.attrs["xappa_experimental"] == "constrain"
    sea = int(sst["sea_surface_temperature"].isel(time=0).notnull().sum())
    assert int(found.appa.summary().loc["sea_surface_temperature", "good"]) == 4 * sea

    def distance(result) -> float:
        return float(np.abs(result["sea_surface_temperature"].compute() - sst["sea_surface_temperature"]).mean())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)  # of so small a model
        assert distance(found) < 0.7 * distance(free)
    constant = xappa.experimental.constrain(ds, forcing=sst.isel(time=0, drop=True), **options)
    assert int(constant.appa.summary().loc["sea_surface_temperature", "good"]) == 4 * sea
    with pytest.raises(OptionError, match="No constraint"):
        xappa.experimental.constrain(ds, **options)
    with pytest.raises(DatasetError, match="forcing lacks 3 of 4 times"):
        xappa.experimental.constrain(ds, forcing=sst.isel(time=[0]), **options)


def test_cycling_goes_on_where_it_stopped(tiny_model, obs, options, tmp_path, monkeypatch) -> None:
    from xappa.tasks import cycle as module

    days = xappa.template("2001-03-13T00", "2001-03-14T06", model=tiny_model)[["2m_temperature"]]
    reports = pd.concat([obs.assign(time=obs["time"] + pd.Timedelta(12 * k, "h")) for k in range(3)])
    arguments = {
        **options,
        "members": 4,
        "steps": 2,
        "quality": "none",
        "window": "24h",
        "step": "12h",
        "store": tmp_path / "cycle",
    }
    write, written = module.to_zarr, []

    def failing(result, path, **keys):
        if len(written) == 1:
            raise RuntimeError("the power fails")
        written.append(path)
        return write(result, path, **keys)

    monkeypatch.setattr(module, "to_zarr", failing)
    with pytest.raises(RuntimeError, match="power"):
        xappa.cycle(days, reports, **arguments)
    monkeypatch.setattr(module, "to_zarr", write)
    cycled = xappa.cycle(days, reports, **arguments)
    assert sorted(p.name for p in (tmp_path / "cycle").glob("*.zarr")) == [f"step-0000{k}.zarr" for k in range(3)]
    assert list(cycled.analysis.data_vars) == ["2m_temperature"]
    assert dict(cycled.analysis.sizes) == {"member": 4, "time": 6, "latitude": 8, "longitude": 16}
    assert np.isfinite(cycled.analysis["2m_temperature"]).all()
    # A window of 24 hours has a background once an analysis ended where it begins: at the third step.
    assert [str(t)[:13] for t in cycled.innovations["step"].values] == ["2001-03-14T06"]
    assert (cycled.innovations["count"] > 0).all()
    assert (cycled.innovations["spread"] > 0).all()
    before = (tmp_path / "cycle" / "step-00000.zarr").stat().st_mtime
    xappa.cycle(days, reports, **arguments)
    assert (tmp_path / "cycle" / "step-00000.zarr").stat().st_mtime == before
    with pytest.raises(OptionError, match="a cycle with other seed"):
        xappa.cycle(days, reports, **{**arguments, "seed": 7})
    for wrong, message in (
        ({"window": "20h"}, "window='20h': expected a multiple of the model's 6 h"),
        ({"window": "18h"}, "no multiple of step='12h'"),
        ({"window": "30h", "step": "30h"}, "6 times of the model, expected a multiple of 5"),
    ):
        with pytest.raises(OptionError, match=message):
            xappa.cycle(days, reports, **{**arguments, **wrong, "store": tmp_path / "other"})


@pytest.fixture
def cycle(tiny_model, obs, tmp_path):
    """Cycling over 24 hours in steps of 12, as cheap as can be."""
    days = xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)
    cheap = {"members": 1, "steps": 1, "effort": "preview", "quality": "none", "window": "12h"}
    cheap |= {"model": tiny_model, "background": LatentObservation(covariance="autoencoder"), "store": tmp_path / "c"}

    def call(reports=obs, operator=None, ds=days, **others):
        return xappa.cycle(ds, reports, operator, **{**cheap, **others})

    return call


def test_a_cycle_refuses_what_an_analysis_refuses(cycle, ds, obs, options, tmp_path) -> None:
    rain = obs.assign(variable="total_precipitation_6hr", observation=0.001, error=np.nan)
    old = obs.assign(time=obs["time"] - pd.Timedelta("365D"))
    frozen = obs.assign(observation=20.0)
    for wrong, operator, message in (
        (rain, None, "no_error.*error={.total_precipitation_6hr.: ...}"),
        (obs, {"a": "interpolate"}, "no coordinate 'source'"),
        (old, None, "No report lies inside the times"),
        (frozen, None, "3 out_of_range"),
    ):
        with pytest.raises(ObservationError, match=message):
            ds.appa.assimilate(wrong, operator, **options)
        with pytest.raises(ObservationError, match=message):
            cycle(wrong, operator)
        assert not (tmp_path / "c").exists()
    with pytest.raises(NoReportsError, match=r"No window of the cycle.*2001-03-13T00:00 to 2001-03-13T06:00"):
        cycle(old)


def test_innovations_know_the_heights_of_stations_and_surface(cycle, ds, obs, tmp_path) -> None:
    def mean(altitude: float, surface: float | None = None) -> float:
        height = (("latitude", "longitude"), np.full((8, 16), surface))
        fields = ds if surface is None else ds.assign_coords(orography=height)
        # In the second window; before it heights play no part, so that the background is the same.
        late = obs["time"] == obs["time"].max()
        reports = obs.assign(elev=np.where(late, altitude, np.nan))
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "The height of the model's surface")
            found = cycle(reports, ds=fields, store=tmp_path / f"{altitude}-{surface}")
        return float(found.innovations["mean"].squeeze())

    at_sea = mean(0.0)
    assert mean(1000.0) - at_sea == pytest.approx(6.5, abs=1e-3)
    assert mean(1000.0, surface=1000.0) == pytest.approx(at_sea, abs=1e-3)


def test_a_cycle_is_written_as_the_dataset_and_shows_it_so(cycle, ds, obs, tmp_path) -> None:
    own = ds[["temperature", "2m_temperature"]].sel(level=[500]).isel(latitude=slice(None, None, -1))
    own = own.rename({"2m_temperature": "t2m", "latitude": "lat"})
    own["t2m"] = own["t2m"].assign_attrs(units="degC")
    seen = set()

    def index(state: xr.Dataset) -> xr.DataArray:
        seen.add((state["t2m"].attrs["units"], *state["t2m"].dims[-2:]))
        return (state["t2m"] / 10).rename("index").assign_attrs(units="1")

    coords = {
        name: ("obs", obs[column]) for name, column in (("time", "time"), ("latitude", "lat"), ("longitude", "lon"))
    }
    reports = xr.Dataset({"index": ("obs", [1.0, 1.1, 1.2], {"units": "1"})}, coords)
    found = cycle(reports, index, ds=own, error={"index": 0.1})
    assert seen == {("degC", "lat", "longitude")}
    assert list(found.innovations["variable"].values) == ["index"]
    plain = cycle(ds=own, store=tmp_path / "own").analysis
    assert list(plain.data_vars) == ["temperature", "t2m"] and plain["t2m"].attrs["units"] == "degC"
    expected = cycle(store=tmp_path / "plain").analysis.sel(level=[500]).isel(latitude=slice(None, None, -1))
    np.testing.assert_allclose(plain["t2m"] + 273.15, expected["2m_temperature"], rtol=1e-6)
    np.testing.assert_array_equal(plain["temperature"], expected["temperature"])
    np.testing.assert_array_equal(plain["lat"], expected["latitude"])
    with pytest.raises(UnitsError, match="'t2m'"):
        cycle(ds=own.assign(t2m=own["t2m"].assign_attrs(units="m")), store=tmp_path / "other")


def test_a_cycle_of_streamed_reports(cycle, obs, tmp_path) -> None:
    eager = xappa.read_observations(obs)
    lazy = cycle(eager.chunk(obs=2), store=tmp_path / "lazy")
    expected = cycle(eager, store=tmp_path / "eager")
    xr.testing.assert_allclose(lazy.innovations, expected.innovations)
    xr.testing.assert_allclose(lazy.analysis, expected.analysis)


def test_a_store_belongs_to_what_functions_and_tables_say(cycle, obs) -> None:
    def function(added: float):
        return lambda state: state["2m_temperature"] + added

    heights = pd.DataFrame({"station": [f"s{k}" for k in range(9)], "altitude": 0.0})
    error = {"2m_temperature": 0.5}

    def call(added: float = 0.0, radius: float = 800.0, altitude: float = 0.0, **others):
        operator = Footprint(radius=np.full(3, radius)) @ function(added)
        quality = xappa.Quality(background=None, buddies=None, stations=heights.assign(altitude=altitude))
        return cycle(operator=operator, quality=quality, **{"error": error, **others})

    first = call()
    xr.testing.assert_identical(call().analysis, first.analysis)
    for named, other in (
        ("operator", {"added": 30.0}),
        ("operator", {"radius": 900.0}),
        ("quality", {"altitude": 50.0}),
        ("error", {"error": {"2m_temperature": 0.6}}),
    ):
        with pytest.raises(OptionError, match=f"a cycle with other {named};"):
            call(**other)
    with xappa.set_options(clip=False), pytest.raises(OptionError, match="a cycle with other options;"):
        call()


def test_a_window_without_reports_has_its_forecast(cycle, obs, tmp_path) -> None:
    # Of two sources one reports in the first window only.
    sources = {"early": obs.iloc[:1], "late": obs.iloc[1:]}
    both = cycle(sources, {"early": "nearest"})
    assert list(both.innovations["count"].values.ravel()) == [1.0]
    early = cycle(obs.iloc[:1], store=tmp_path / "early")
    assert np.isfinite(early.analysis["2m_temperature"]).all() and not early.innovations.sizes["step"]
    late = cycle(obs.iloc[2:], store=tmp_path / "late")
    assert np.isfinite(late.analysis["2m_temperature"]).all() and late.innovations.sizes["step"] == 1


def test_the_embedded_model_forecasts_better_than_climatology() -> None:
    truth = xappa.tutorial.nature_run()
    ahead = truth.isel(time=slice(0, 4)).appa.forecast("12h", members=2, steps=6, seed=0)
    field = ahead["geopotential"].sel(level=500).mean("member").compute()
    later = truth["geopotential"].sel(level=500, time=field["time"])
    mean = climatology(ahead)["geopotential"].sel(level=500).compute()

    def error(guess) -> float:
        return float(scores.rmse(guess, later))

    assert error(field) < 0.6 * error(mean)


class TestDiagnostics:
    """What only the run can know."""

    def test_fit_and_departures_are_those_of_the_result(self, ds, options) -> None:
        rows = {"time": TIMES[[0, 1, 3]].repeat(5), "lat": np.tile(np.linspace(-60, 60, 5), 3), "lon": 20.0}
        table = pd.DataFrame({**rows, "variable": "temperature", "level": 500, "observation": 262.0, "error": 1.0})
        with xappa.set_options(clip=False):
            analysis = ds.appa.assimilate(table, quality="none", **options)
        found = xappa.diagnostics(analysis)
        assert dask.is_dask_collection(found["chi_squared"].data)
        places = xappa.read_observations(table)
        departure = 262.0 - analysis.compute().appa.observe(places)["temperature"]
        np.testing.assert_allclose(
            found["departure_mean"].sel(variable="temperature"), departure.mean("obs"), atol=1e-3
        )
        rms = np.sqrt(np.square(departure).mean("obs"))
        np.testing.assert_allclose(found["departure_rms"].sel(variable="temperature"), rms, atol=1e-3)
        assert (found["chi_squared"] <= rms**2).all()
        assert int(found["evaluations"]) == 3

    def test_a_report_in_two_windows_counts_once(self, tiny_model, obs, options) -> None:
        long = xappa.template("2001-03-13T00", "2001-03-14T06", model=tiny_model)
        run = sampling_tasks._sample
        seen = []
        sampled = long.appa.assimilate(obs, quality="none", **{**options, "seed": 77})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sampling_tasks, "_sample", lambda *a, **k: seen.append(run(*a, **k)) or seen[-1])
            sampled["2m_temperature"].isel(time=0).compute()
        assert seen[0].diagnostics["count"].tolist() == [3]

    @pytest.mark.parametrize(("value", "count", "expected"), [(10.0, 50, "does not reach"), (0.1, 50, "nearer to")])
    def test_an_implausible_fit_is_warned_of(self, value, count, expected) -> None:
        with pytest.warns(FitWarning, match=rf"chi-squared an observation is {value:.2g}, .*{expected}"):
            warn_of_poor_fit(fit_statistics([value], [count]), ["t"])

    @pytest.mark.parametrize(("value", "count"), [(1.2, 50), (10.0, 3), (0.6, 50)])
    def test_a_plausible_fit_is_not(self, value, count, recwarn) -> None:
        warn_of_poor_fit(fit_statistics([value], [count]), ["t"])
        assert not recwarn.list

    def test_the_bounds_follow_the_number_of_reports_and_of_noise_levels(self) -> None:
        assert compute_plausible_range(20, 12) == (0.3, 2.5) and compute_plausible_range(20, 6) == (0.3, 4.0)
        assert compute_plausible_range(5000, 12) == (0.75, 2.5) and compute_plausible_range(200, 12)[0] == 0.5

    def test_the_variable_that_is_worst_is_named_with_a_likely_cause(self) -> None:
        mean, rms = [0.1, 280.0, np.nan], [1.0, 300.0, np.nan]
        with pytest.warns(FitWarning, match=r"due to msl: 9 of 40 reports; .* differ by \+280 on average") as found:
            warn_of_poor_fit(fit_statistics([1.0, 9.0, np.nan], [100, 40, 0], mean, rms), ["t", "msl", "u"])
        assert "a bias, a wrong height or wrong units" in str(found[0].message)
        spread = fit_statistics([1.0, 19.0], [100, 40], mean=[0.1, 10.0], rms=[1.0, 300.0])
        with pytest.warns(FitWarning, match=r"by 300 \(root mean square\).*errors are larger") as found:
            warn_of_poor_fit(spread, ["t", "msl"], levels=12)
        assert "standard" not in str(found[0].message)
        with pytest.warns(FitWarning, match='effort="standard" comes nearer'):
            warn_of_poor_fit(spread, ["t", "msl"], levels=6)

    def test_the_line_that_computes_is_blamed(self, ds, tiny_model, options) -> None:
        frame = pd.DataFrame({"time": "2001-03-13T06", "lat": np.linspace(-60, 60, 40), "lon": 5.0})
        frame["2m_temperature"], frame["2m_temperature_error"] = np.where(np.arange(40) % 2, 330.0, 200.0), 0.1
        analysis = ds.appa.assimilate(frame, quality="none", **options)
        with pytest.warns(FitWarning) as found:
            analysis.compute(scheduler="threads")
        assert [w.filename for w in found if w.category is FitWarning] == [__file__]


def fit_statistics(value, count, mean=0.0, rms=1.0) -> dict:
    """As of `fit`, for two members."""
    shape = (2, len(count))
    columns = {"chi_squared": value, "departure_mean": mean, "departure_rms": rms}
    return {"count": np.array(count)} | {
        name: np.broadcast_to(np.asarray(a, float), shape) for name, a in columns.items()
    }


class TestBadInput:
    """Refused with a reason, or harmless."""

    @pytest.mark.parametrize("error", [0.0, -1.0])
    def test_errors_of_zero_or_less(self, ds, obs, options, error) -> None:
        bare = obs.drop(columns="error")
        with pytest.raises(OptionError, match=r"2m_temperature: .* is no deviation; expected a number above zero"):
            ds.appa.assimilate(bare, error={"2m_temperature": error}, **options)
        # Of single reports they are as if none was given: the table's take their place.
        reported = ds.appa.assimilate(obs.assign(error=error), **options)["2m_temperature"]
        np.testing.assert_array_equal(reported, ds.appa.assimilate(bare, **options)["2m_temperature"])

    def test_two_observations_that_contradict_each_other(self, ds, obs, options) -> None:
        twice = pd.concat([obs, obs.assign(observation=obs["observation"] - 4.0)])
        with pytest.raises(NoReportsError, match="contradictory"):
            ds.appa.assimilate(twice, quality="none", **options)
        apart = pd.concat([obs, obs.assign(observation=obs["observation"] - 4.0, lat=obs["lat"] + 0.1)])
        found = ds.appa.assimilate(apart, quality="none", **{**options, "steps": 6}).compute()
        assert np.isfinite(found["2m_temperature"]).all()
        between = found.appa.observe(xappa.read_observations(obs.head(1)))["2m_temperature"].mean()
        assert 278.0 < float(between) < 292.0

    def test_an_operator_that_does_not_depend_on_the_state(self, ds, obs, options) -> None:
        def constant(state):
            return (state["2m_temperature"] * 0 + 285.0).rename("2m_temperature")

        found = ds.appa.assimilate(obs, operator=constant, quality="none", **options)["temperature"].compute()
        np.testing.assert_allclose(found, ds.appa.sample(**options)["temperature"].compute(), atol=1e-2)

    @pytest.mark.parametrize("seed", [1.5, "a", True, -1, 2**64])
    def test_seeds(self, ds, obs, options, seed) -> None:
        for call in (ds.appa.sample, lambda **keys: ds.appa.assimilate(obs, **keys)):
            with pytest.raises(OptionError, match="seed=.*whole number"):
                call(**{**options, "seed": seed})

    def test_no_members_no_such_effort(self, ds, obs, states, options) -> None:
        for call in (lambda **k: ds.appa.filter(obs, **k), lambda **k: states.appa.forecast("6h", **k), ds.appa.sample):
            with pytest.raises(OptionError, match="members=0"):
                call(**{**options, "members": 0})
            with pytest.raises(OptionError, match="Unknown effort 'fast'.*'preview', 'standard', 'reference'"):
                call(**options, effort="fast")

    def test_times_that_are_no_model_times(self, ds, obs, options) -> None:
        odd = ds.assign_coords(time=ds["time"] + pd.Timedelta("1h"))
        for call in (odd.appa.sample, lambda **keys: odd.appa.filter(obs, **keys)):
            with pytest.raises(DatasetError, match=r"nearest are 2001-03-13T00:00 and 2001-03-13T06:00"):
                call(**options)

    def test_nan_inside_stops_and_leaves_nothing(self, ds, obs, options, tmp_path, monkeypatch) -> None:
        model = xappa.load(options["model"])
        forward = model.denoiser.forward

        def failing(x_t, sigma, *rest):
            out = forward(x_t, sigma, *rest)
            if float(torch.as_tensor(sigma).max()) < 5:
                out = out.clone()
                out[1] = float("nan")
            return out

        monkeypatch.setattr(model.denoiser, "forward", failing)
        monkeypatch.setattr("xappa.sampling.sampling_tasks.load", lambda *a, **k: model)
        analysis = ds.appa.assimilate(obs, **{**options, "seed": 4321})
        message = r"noise level [0-9.]+: numbers of member 1 are not finite, in the window from 2001-03-13T00:00 to .*"
        with pytest.raises(SamplingError, match=message + "Likely cause: the model's denoiser"):
            xappa.to_zarr(analysis, tmp_path / "analysis.zarr")
        if (tmp_path / "analysis.zarr").exists():  # begun, and marked as not complete
            begun = xr.open_zarr(tmp_path / "analysis.zarr", consolidated=False)
            assert "xappa_unfinished" in begun.attrs
            assert begun["2m_temperature"].isnull().all()


def test_efforts_set_what_is_not_set_explicitly(ds, obs, options) -> None:
    base = {key: value for key, value in options.items() if key != "steps"}
    reference = ds.appa.assimilate(obs, effort="reference", **base).attrs
    assert reference["xappa_guidance"].startswith('MMPS({"iterations": 2, "tolerance": null')
    assert reference["xappa_sampler"].startswith('PC({"steps": 32')
    preview = ds.appa.assimilate(obs, effort="preview", sampler="ddim", steps=7, **base).attrs
    assert preview["xappa_sampler"].startswith('DDIM({"steps": 7')
    assert set(EFFORTS) == {"preview", "standard", "reference"}
    assert choose_guidance(None, True, "reference") == choose_guidance(None, False, "reference") == MMPS.official()

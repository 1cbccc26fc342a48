"""Quality control: each check on its own, the same flags in every chunking, and the raw SYNOP file."""

from __future__ import annotations

import json
from dataclasses import replace

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xappa
from tests.installed import needs
from xappa.errors import ObservationError, OptionError
from xappa.model.directory import read_model
from xappa.model.normalisation import ChannelNormalisation
from xappa.observations import Flag, flag_counts, read_observations, with_errors
from xappa.observations.qc import QUALITY, Quality, choose_quality, run_quality_control
from xappa.observations.qc.batch import ReportBatch
from xappa.observations.qc.position_checks import find_leaps
from xappa.tasks.qc_reference import ModelBackground

T, P, U, V = "2m_temperature", "mean_sea_level_pressure", "10m_u_component_of_wind", "10m_v_component_of_wind"
ALONE = QUALITY["none"]


def reports(**columns) -> xr.Dataset:
    size = len(next(iter(columns.values())))
    frame = pd.DataFrame({"time": "2024-01-01T00", "lat": 0.0, "lon": np.arange(size) * 0.1} | columns)
    return with_errors(read_observations(frame), {T: 2.0, P: 100.0, U: 3.0, V: 3.0}).copy(deep=True)


def cluster(rng, size: int = 60, **columns) -> xr.Dataset:
    """Stations within some 300 km, whose temperatures differ by a kelvin or so."""
    values = {T: 280 + rng.standard_normal(size), "lat": rng.uniform(48, 51, size), "lon": rng.uniform(5, 9, size)}
    return reports(**(values | {"station": [f"s{i}" for i in range(size)]} | columns))


def flagged(obs: xr.Dataset, name: str = T) -> list[int]:
    return obs[f"{name}_flag"].values.tolist()


def constant(mean: float, deviation: float):
    def background(batch: ReportBatch):
        return {name: (np.full(len(batch), mean), np.full(len(batch), deviation)) for name in batch.value}

    return background


class TestBackground:
    def test_the_bound_is_k_times_the_root_of_both_variances(self):
        bound = 5 * np.hypot(1.5, 2.0)
        obs = reports(**{T: 280 + bound * np.array([0.999, -0.999, 1.001, -1.001])})
        found = run_quality_control(obs, Quality(buddies=None, near_duplicates=None), background=constant(280.0, 1.5))
        assert flagged(found) == [0, 0, Flag.BACKGROUND_CHECK, Flag.BACKGROUND_CHECK]

    def test_where_the_background_says_nothing_nothing_is_checked(self):
        obs = reports(**{T: [200.0, 300.0]})
        found = run_quality_control(obs, Quality(buddies=None), background=constant(np.nan, 1.0))
        assert flagged(found) == [0, 0]

    def test_one_component_takes_the_other_with_it(self):
        obs = reports(**{U: [40.0, 1.0, 2.0], V: [0.0, 1.0, 2.0]})
        found = run_quality_control(obs, Quality(buddies=None), background=constant(0.0, 3.0))
        assert flagged(found, U) == flagged(found, V) == [Flag.BACKGROUND_CHECK, 0, 0]

    def test_the_model_is_a_background(self, tiny_model):
        frame = pd.DataFrame({"time": "2001-03-13T00", "lat": [10.0, -33.0], "lon": [5.0, 9.0], T: [287.0, 240.0]})
        found = xappa.quality_control(frame, Quality(buddies=None), model=tiny_model)
        assert flagged(found) == [0, Flag.BACKGROUND_CHECK]
        assert f"{T}_error" not in found, "errors of the table are for the checks alone"

    def test_fields_are_a_background_and_members_their_error(self, tiny_model, rng):
        ds = xappa.template("2001-03-13T00", "2001-03-13T12", model=tiny_model)[[T]]
        field = ds[T].copy(data=np.full(ds[T].shape, 250.0))
        frame = pd.DataFrame({"time": "2001-03-13T05", "lat": [10.0, -33.0], "lon": [5.0, 9.0], T: [287.0, 252.0]})
        quality = Quality(buddies=None)
        found = xappa.quality_control(frame, quality, model=tiny_model, background=field.to_dataset(), error={T: 1.0})
        assert flagged(found) == [Flag.BACKGROUND_CHECK, 0]
        shift = xr.DataArray([-20.0, 0.0, 20.0], dims="member")
        members = (field + shift).to_dataset(name=T)
        found = xappa.quality_control(frame, quality, model=tiny_model, background=members, error={T: 1.0})
        assert flagged(found) == [0, 0], "a spread of 20 K allows 37 K"

    def test_reports_over_a_period_are_no_states(self, tiny_model):
        frame = pd.DataFrame({"time": "2001-03-13T00", "lat": [10.0], "lon": [5.0], T: [220.0]})
        obs = read_observations(frame).assign_coords(period=("obs", np.array([24], "timedelta64[h]")))
        assert flagged(xappa.quality_control(obs, model=tiny_model)) == [0]


class TestBuddies:
    quality = Quality(background=None, near_duplicates=None)

    def test_a_report_that_its_neighbours_contradict(self, rng):
        obs = cluster(rng)
        obs[T][7] = 310.0
        found = run_quality_control(obs, self.quality)
        assert np.flatnonzero(flagged(found)).tolist() == [7]
        assert flagged(found)[7] == Flag.BUDDY_CHECK

    def test_neighbours_of_wrong_reports_are_not_drawn_in(self, rng):
        obs = cluster(rng, 100)
        wrong = rng.choice(100, 25, replace=False)
        obs[T][wrong] += rng.choice([-40, 40], 25)
        found = np.flatnonzero(flagged(run_quality_control(obs, self.quality)))
        assert set(found) <= set(wrong)
        assert len(found) >= 24

    def test_no_check_without_enough_neighbours_or_far_from_them(self, rng):
        obs = cluster(rng, 4)
        obs[T][0] = 310.0
        assert not any(flagged(run_quality_control(obs, self.quality)))
        far = cluster(rng, 30, lat=np.r_[-40.0, np.full(29, 50.0)])
        far[T][0] = 310.0
        assert not any(flagged(run_quality_control(far, self.quality)))

    def test_a_station_is_not_its_own_neighbour(self, rng):
        """One bad station that reports every 10 minutes must not outvote those around it."""
        bad = pd.DataFrame({"time": pd.date_range("2024-01-01", periods=18, freq="10min"), "station": "bad"})
        good = cluster(rng, 20)
        obs = xr.concat(
            [good, reports(**{T: np.full(18, 320.0), "lat": 49.5, "lon": 7.0, **bad})], "obs", data_vars="all"
        )
        found = run_quality_control(obs, self.quality)
        assert flagged(found) == [0] * 20 + [Flag.BUDDY_CHECK] * 18

    def test_heights_are_accounted_for(self, rng):
        height = rng.uniform(0, 3000, 60)
        obs = cluster(rng, elev=height)
        obs[T] = obs[T] - 0.0065 * height
        assert not any(flagged(run_quality_control(obs, Quality(None, 3.0, near_duplicates=None))))

    def test_a_front_is_not_an_error(self, rng):
        obs = cluster(rng, 200)
        obs[T] = obs[T].where(obs.longitude < 7, obs[T] - 8)
        assert not any(flagged(run_quality_control(obs, self.quality)))

    def test_pressure_at_stations_is_compared_at_one_height(self, rng):
        height = rng.uniform(0, 2000, 40)
        pressure = 101325 * (1 - 2.25577e-5 * height) ** 5.25588 + 50 * rng.standard_normal(40)
        pressure[3] += 5000
        columns = {"surface_pressure": pressure, "elev": height, "lat": rng.uniform(48, 51, 40)}
        obs = with_errors(reports(**columns), {"surface_pressure": 100.0})
        found = run_quality_control(obs, self.quality)
        assert np.flatnonzero(flagged(found, "surface_pressure")).tolist() == [3]

    @settings(max_examples=10)
    @given(st.integers(0, 2**32 - 1))
    def test_the_order_of_reports_does_not_matter(self, seed):
        rng = np.random.default_rng(seed)
        obs = cluster(rng, 40)
        obs[T][rng.choice(40, 6)] += rng.choice([-30, 30], 6)
        order = rng.permutation(40)
        found = run_quality_control(obs, self.quality)
        again = run_quality_control(obs.isel(obs=order), self.quality)
        assert np.array_equal(np.array(flagged(found))[order], flagged(again))


class TestNearDuplicates:
    quality = Quality(None, None)

    def test_two_names_of_one_station(self):
        names = ["06447", "EBBR", "EBAW"]
        obs = reports(**{T: [280.0, 280.4, 280.2], "station": names, "lat": [50.9, 50.905, 51.2], "lon": 4.5})
        assert flagged(run_quality_control(obs, self.quality)) == [0, Flag.NEAR_DUPLICATE, 0]

    def test_different_values_times_levels_and_the_same_name_are_kept(self):
        near = {"lat": [50.9, 50.905], "lon": 4.5}
        for columns in (
            {T: [280.0, 283.0], "station": ["a", "b"]},
            {T: [280.0, 280.4], "station": ["a", "b"], "time": ["2024-01-01T00", "2024-01-01T00:20"]},
            {T: [280.0, 280.4], "station": ["a", "a"], "time": ["2024-01-01T00", "2024-01-01T00:10"]},
            {T: [280.0, 280.4]},
        ):
            assert flagged(run_quality_control(reports(**(near | columns)), self.quality)) == [0, 0]

    def test_sources_are_told_apart_without_names(self):
        table = pd.DataFrame({"time": "2024-01-01T00", "lat": [50.9], "lon": 4.5, T: 280.0})
        obs = with_errors(read_observations({"synop": table, "metar": table.assign(lat=50.91)}), {T: 2.0})
        assert flagged(run_quality_control(obs, self.quality)) == [0, Flag.NEAR_DUPLICATE]

    def test_both_components_must_agree(self):
        obs = reports(
            **{U: [5.0, 5.0, 5.0], V: [0.0, 9.0, 9.5], "station": ["a", "b", "c"], "lon": 0.001 * np.arange(3)}
        )
        found = run_quality_control(obs, self.quality)
        assert flagged(found, U) == flagged(found, V) == [0, 0, Flag.NEAR_DUPLICATE]

    def test_long_series_of_close_stations_stay_cheap(self):
        """Pairs are sought in space and time together: 20 000 reports of two stations are no 10^8 pairs."""
        times = np.repeat(pd.date_range("2024-01-01", periods=10_000, freq="1min"), 2)
        obs = reports(**{T: np.full(20_000, 280.0), "time": times, "station": ["a", "b"] * 10_000, "lon": 0.0})
        found = run_quality_control(obs, Quality(None, None, near_time=0.5))
        assert flag_counts(found).loc[T, ["good", "near_duplicate"]].tolist() == [10_000, 10_000]


class TestPlaces:
    def test_zeros_for_a_missing_position_are_told_from_buoys(self):
        frame = pd.DataFrame({"time": "2024-01-01", "lat": 0.0, "lon": 0.0, "elev": [350.0, 0.0, np.nan], T: 280.0})
        frame["station"] = ["inland", "buoy", "ship"]
        assert flagged(read_observations(frame)) == [Flag.MISSING_PLACE, 0, 0]

    def test_a_leap_and_back_is_a_wrong_position(self):
        time = pd.date_range("2024-01-01", periods=5, freq="1h")
        track = {"lat": [10.0, 10.1, -10.2, 10.3, 10.4], "lon": 20.0, "station": "SHIP1", "time": time}
        obs = reports(**{T: np.full(5, 290.0), P: np.full(5, 1e5), **track})
        found = run_quality_control(obs, Quality(None, None))
        assert flagged(found) == flagged(found, P) == [0, 0, Flag.MISPLACED, 0, 0]
        assert not find_leaps(obs.isel(obs=[0, 1, 3, 4]), 60.0).any()

    def test_a_name_that_several_platforms_share_is_let_pass(self):
        time = pd.date_range("2024-01-01", periods=9, freq="1h")
        obs = reports(**{T: np.full(9, 290.0), "lat": [10.0, 50.0, 11.0] * 3, "station": "SHIP", "time": time})
        assert not find_leaps(obs, 60.0).any()

    def test_aircraft_are_fast(self):
        time = pd.date_range("2024-01-01", periods=3, freq="1h")
        columns = {
            "temperature": np.full(3, 230.0),
            "level": 250.0,
            "lat": [0.0, 8.0, 0.0],
            "station": "A",
            "time": time,
        }
        assert not find_leaps(reports(**columns), 60.0).any()

    def test_heights_against_a_table(self):
        table = pd.DataFrame({"station": ["a", "b", "c"], "altitude": [100.0, 20.0, 500.0]})
        place = {"station": list("abcd"), "elev": [100.0, 350.0, 550.0, 9.0], "lat": 10.0}
        obs = reports(**{T: np.full(4, 280.0), P: np.full(4, 1e5), **place})
        for stations in (table, {"a": 100.0, "b": 20.0, "c": 500.0}):
            found = run_quality_control(obs, Quality(None, None, near_duplicates=None, stations=stations))
            assert flagged(found) == [0, Flag.HEIGHT_MISMATCH, 0, 0]
            assert flagged(found, P) == [0, 0, 0, 0], "a station reduces its pressure with its true height"

    def test_pressures_of_high_stations(self):
        height = [100.0, 749.0, 751.0, 1499.0, 1501.0, np.nan]
        obs = reports(**{P: np.full(6, 1e5), "surface_pressure": np.full(6, 9e4), "elev": height, "lat": 10.0})
        checks = Quality(None, None, near_duplicates=None)
        found = run_quality_control(obs, checks, reduced=[P, "surface_pressure"])
        assert flagged(found, P) == [0, 0, 0, 0, Flag.HIGH_STATION, 0]
        assert flagged(found, "surface_pressure") == [0, 0, *3 * [Flag.HIGH_STATION], 0]
        assert not any(flagged(run_quality_control(obs, checks), "surface_pressure"))  # a model with surface pressure
        assert not any(
            flagged(run_quality_control(obs, Quality(None, None, near_duplicates=None, sea_level_pressure=None)), P)
        )
        assert xappa.summary(found).loc[P].to_dict() == {"good": 5, "high_station": 1}

    def test_a_model_without_surface_pressure_takes_that_at_sea_level(self):
        obs = reports(**{"elev": [700.0, 800.0], "lat": 10.0, "surface_pressure": 92000.0})
        found = xappa.quality_control(obs, Quality(None, None, model_height=None), model="speedy")
        assert "surface_pressure" not in xappa.load("speedy").spec.variables
        assert flagged(found, "surface_pressure") == [0, Flag.HIGH_STATION]

    def test_positions_against_a_table(self):
        table = pd.DataFrame({"station": ["a"], "altitude": 100.0, "latitude": 10.0, "longitude": 359.9})
        obs = reports(**{T: np.full(2, 280.0), "station": ["a", "a"], "elev": 100.0, "lat": [10.0, -10.0], "lon": 0.0})
        found = run_quality_control(obs, Quality(None, None, stations=table))
        assert flagged(found) == [0, Flag.MISPLACED]

    def test_heights_against_the_model_and_reason(self):
        obs = reports(**{T: np.full(4, 280.0), "elev": [0.0, 1000.0, 12000.0, np.nan]})
        quality = Quality(None, None, model_height=500.0)
        found = run_quality_control(obs, quality, surface=np.array([100.0, 100.0, np.nan, 100.0]))
        assert flagged(found) == [0, Flag.HEIGHT_MISMATCH, Flag.HEIGHT_MISMATCH, 0]


class TestWindows:
    @pytest.fixture
    def obs(self, rng) -> xr.Dataset:
        size = 600
        time = np.sort(rng.integers(0, 36 * 3600, size)) * np.timedelta64(1, "s") + np.datetime64("2024-01-01", "us")
        wind = {"wind_speed": rng.uniform(1, 9, size), "wind_direction": rng.uniform(180, 270, size)}
        obs = cluster(rng, size, time=time, station=[f"s{i % 150}" for i in range(size)], **wind)
        obs[T][rng.choice(size, 20, replace=False)] += 40
        return obs

    @pytest.mark.parametrize("chunk", [7, 100, 600])
    @pytest.mark.parametrize("shuffled", [False, True])
    def test_flags_do_not_depend_on_chunks(self, obs, chunk, shuffled, rng):
        obs = obs.isel(obs=rng.permutation(600)) if shuffled else obs
        expected = run_quality_control(obs, Quality(), background=constant(280.0, 2.0))
        calls = []

        def background(batch: ReportBatch):
            calls.append(len(batch))
            return constant(280.0, 2.0)(batch)

        lazy = run_quality_control(obs.chunk(obs=chunk), Quality(), background=background)
        assert not calls and dask.is_dask_collection(lazy[f"{T}_flag"].data)
        # What was not checked is counted where values are in memory.
        assert set(expected.attrs) - set(lazy.attrs) == {"reports_not_checked", "reports_checked_by_climatology"}
        counted = lazy.compute().assign_attrs(expected.attrs)
        xr.testing.assert_identical(counted.drop_vars("station"), expected.drop_vars("station"))
        assert len(calls) == 7, "midnight to 03 UTC, and five windows of six hours and one of three"
        assert (expected[f"{T}_flag"] == Flag.BACKGROUND_CHECK).sum() == 20

    @pytest.mark.parametrize("fields", [False, True])
    def test_flags_do_not_depend_on_what_is_judged_together(self, tiny_model, monkeypatch, rng, fields):
        """All windows, or one after the other; with mean states of all times, or of two at a time."""
        size = 300
        time = np.sort(rng.integers(0, 24 * 3600, size)) * np.timedelta64(1, "s") + np.datetime64("2001-03-13", "us")
        places = {"lat": rng.uniform(40, 48, size), "lon": rng.uniform(0, 8, size)}
        station = np.where(rng.random(size) < 0.2, "", [f"s{i % 90}" for i in range(size)])
        obs = reports(**{T: rng.normal(280.0, 4.0, size)}, time=time, station=station, **places)
        obs = with_errors(obs, {T: 1.0})
        obs[f"{T}_error"][::7] = np.nan
        background = None
        if fields:
            ds = xappa.template("2001-03-13T00", "2001-03-14T00", model=tiny_model)
            background = ds.appa.sample(model=tiny_model, members=3, steps=2, seed=0)[[T]].compute()
        quality = Quality(background=3.0, buddies=2.0)
        together = xappa.quality_control(obs, quality, model=tiny_model, background=background)
        monkeypatch.setattr("xappa.observations.qc.windows.AT_ONCE", 1)
        monkeypatch.setattr("xappa.tasks.qc_reference.STATES_BYTES", 1)
        alone = xappa.quality_control(obs, quality, model=tiny_model, background=background)
        xr.testing.assert_identical(together, alone)
        assert {Flag.GOOD, Flag.BACKGROUND_CHECK, Flag.BUDDY_CHECK} <= set(flagged(together))

    @pytest.mark.parametrize("constant", [False, True])
    def test_a_mean_that_is_the_same_at_all_times_is_taken_for_all_at_once(self, tiny_model, monkeypatch, constant):
        """Any other for as many times as fit into memory, here those of one window."""
        model = read_model(tiny_model)
        if constant:
            mean = np.arange(1, len(model.spec.channels) + 1, dtype="f4")
            model = replace(model, normalisation=ChannelNormalisation(mean, mean, model.spec))
        days = np.datetime64("2001-03-13", "us") + np.arange(5) * np.timedelta64(1, "D")
        states = model.climatology(days)
        assert (states == states[0]).all() == model.normalisation.constant_mean == constant

        made = []
        read = type(model.normalisation).mean
        monkeypatch.setattr(type(model.normalisation), "mean", lambda own, at: made.append(len(at)) or read(own, at))
        monkeypatch.setattr("xappa.tasks.qc_reference.load", lambda address: model)
        monkeypatch.setattr("xappa.tasks.qc_reference.STATES_BYTES", 1)
        zero, none = np.zeros(5), np.full(5, -1)
        batch = ReportBatch(
            days, zero + 45, zero + 9, zero + np.nan, zero + np.nan, none, none, none,
            {T: zero + 280}, {T: zero + 1}, {T: np.zeros(5, "i1")}, window=np.arange(5),
        )  # fmt: skip
        found, deviation = ModelBackground("", model.digest, model.spec)(batch)[T]
        assert len(made) == (1 if constant else 5)
        if constant:
            assert (found == model.spec.index(T) + 1).all() and (deviation == found).all()

    def test_reports_without_a_time_keep_their_flag(self, obs):
        obs = obs.assign_coords(time=obs.time.where(np.arange(600) % 100 != 5))
        for form in (obs, obs.chunk(obs=50)):
            found = run_quality_control(xappa.observations.check(form.drop_vars(f"{T}_flag")), Quality()).compute()
            assert (found[f"{T}_flag"] == Flag.MISSING_TIME).values.nonzero()[0].tolist() == list(range(5, 600, 100))

    def test_earlier_reasons_stay(self, obs):
        before = xappa.observations.with_flag(obs, T, np.ones(600, bool), Flag.WITHHELD)
        assert set(flagged(run_quality_control(before, Quality(), background=constant(0.0, 1.0)))) == {Flag.WITHHELD}

    def test_nothing_is_checked_if_nothing_is_asked(self, obs):
        assert run_quality_control(obs, ALONE, background=constant(0.0, 1.0)).identical(obs)


class TestOptions:
    def test_names(self):
        assert set(QUALITY) == {"none", "standard", "strict"}
        assert choose_quality("standard") == Quality() == xappa.Quality()
        with pytest.raises(OptionError, match=r"Unknown quality 'standrad'.*'standard'"):
            choose_quality("standrad")
        with pytest.raises(OptionError, match="quality=3"):
            choose_quality(3)  # type: ignore[arg-type]

    def test_wrong_options_are_named_together(self):
        with pytest.raises(OptionError, match=r"background=-1.*least=1.5.*no column altitude"):
            Quality(background=-1, least=1.5, stations=pd.DataFrame({"station": []}))  # type: ignore[arg-type]

    def test_only_what_differs_is_printed(self):
        assert repr(Quality(buddies=None, stations={"a": 1.0})) == "Quality(buddies=None, stations=<1 stations>)"


class TestSummary:
    def test_of_observations_and_of_an_analysis(self, tiny_model):
        frame = pd.DataFrame({"time": "2001-03-13T06", "lat": [10.0, 20, 30], "lon": 5.0, T: [287.0, 372.0, 220.0]})
        ds = xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)
        analysis = ds.appa.assimilate(frame, model=tiny_model, seed=0, steps=2)
        expected = {"good": 1, "out_of_range": 1, "background_check": 1}
        assert json.loads(analysis.attrs["xappa_reports"]) == {T: expected}
        assert analysis.appa.summary().loc[T].to_dict() == expected
        assert xappa.summary(xappa.quality_control(frame, model=tiny_model)).loc[T].to_dict() == expected
        counts = xappa.diagnostics(analysis)["reports"].sel(variable=T).to_series()
        assert counts[counts > 0].to_dict() == expected
        unchecked = ds.appa.assimilate(frame, model=tiny_model, seed=0, steps=2, quality="none")
        assert unchecked.appa.summary().loc[T].to_dict() == {"good": 2, "out_of_range": 1}

    def test_of_anything_else(self):
        with pytest.raises(ObservationError, match=r"found.*dimensions|Found a Dataset with the dimensions \(x\)"):
            xappa.summary(xr.Dataset({"a": ("x", [1.0])}))

    def test_a_wrong_name_is_refused_before_anything_is_read(self, tiny_model):
        ds = xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)
        with pytest.raises(OptionError, match="Unknown quality"):
            ds.appa.assimilate(pd.DataFrame(), model=tiny_model, quality="good")


SOUND = {T: 8.0, P: 600.0, U: 10.0, V: 10.0}
GROSS = {T: 30.0, P: 4000.0, U: 40.0, V: 40.0}


def neighbour_residuals(latitude, longitude, value, count: int = 10, within: float = 1000.0):
    """Departure of each value from the median of its nearest others, and 1.4826 times their MAD; great circles."""
    phi, lam = np.deg2rad(latitude), np.deg2rad(longitude)
    place = np.array([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
    residual, scale = np.full(len(value), np.nan), np.full(len(value), np.nan)
    for i in range(len(value)):
        cosine = place[:, i] @ place
        cosine[i] = -2
        near = np.argpartition(-cosine, count)[:count]
        distance = 6371.0 * np.arccos(np.clip(cosine, -1, 1))
        near = near[distance[near] < within]
        if len(near) >= 5:
            middle = np.median(value[near])
            residual[i], scale[i] = value[i] - middle, 1.4826 * np.median(np.abs(value[near] - middle))
    return residual, scale


@pytest.fixture(scope="module")
def synop(shared) -> xr.Dataset:
    needs("eccodes")
    return read_observations(shared("real/synop-global-20181102/perf_synop.bufr")).load()


@pytest.fixture(scope="module")
def checked(synop) -> xr.Dataset:
    return xappa.quality_control(synop)


class TestRawSynop:
    """Flags against what neighbours alone say, by other code than that of the checks."""

    @pytest.mark.parametrize("name", [T, P, U, V])
    def test_gross_errors_are_caught_and_sound_reports_kept(self, synop, checked, name):
        twice = np.isin(synop[f"{name}_flag"], [Flag.DUPLICATE, Flag.UNUSED])
        rows = np.flatnonzero(synop[name].notnull() & ~twice)
        value = synop[name].values[rows]
        if name == T:
            value = value + 0.0065 * np.nan_to_num(synop.altitude.values[rows])
        residual, scale = neighbour_residuals(synop.latitude.values[rows], synop.longitude.values[rows], value)
        sound = np.abs(residual) <= np.maximum(SOUND[name], 3 * scale)
        gross = np.abs(residual) > np.maximum(GROSS[name], 10 * scale)
        flag = checked[f"{name}_flag"].values[rows]
        lost = (flag[sound] != Flag.GOOD).mean()
        assert sound.sum() > 5500
        assert (flag[gross] != Flag.GOOD).all()
        assert lost <= 0.03

    def test_errors_that_are_put_in_are_found(self, synop):
        """Of sound reports with five others within 500 km, 200 a variable are falsified grossly."""
        rng, added, wrong = np.random.default_rng(5), {T: 40.0, P: 5000.0, U: 50.0, V: 50.0}, {}
        false = synop.copy(deep=True)
        for name, error in added.items():
            rows = np.flatnonzero(synop[name].notnull() & (synop[f"{name}_flag"] == Flag.GOOD))
            rows = rng.permutation(rows)[:2000]
            residual, _ = neighbour_residuals(
                synop.latitude.values[rows], synop.longitude.values[rows], synop[name].values[rows], within=500.0
            )
            wrong[name] = rows[np.abs(residual) <= SOUND[name]][:200]
            false[name][wrong[name]] += rng.choice([-error, error], 200)
        found = xappa.quality_control(false)
        caught = {name: (found[f"{name}_flag"].values[rows] != Flag.GOOD).mean() for name, rows in wrong.items()}
        print(caught)
        assert min(caught.values()) >= 0.99, caught

    def test_the_known_gross_errors(self, synop, checked):
        assert synop[T].max() > 372 and flagged(checked)[int(np.nanargmax(synop[T]))] == Flag.OUT_OF_RANGE
        speed = np.hypot(synop[U], synop[V])
        assert speed.max() > 348 and flagged(checked, U)[int(np.nanargmax(speed))] == Flag.OUT_OF_RANGE
        used = checked[[T, P, U, V]].where(checked[f"{T}_flag"] == Flag.GOOD)
        assert used[T].max() < 320 and used[T].min() > 200

"""Reports of one station and time: repeats keep one, contradictions are judged together, whatever the order of rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xappa
from xappa.observations import Flag, check, flag_counts, read_observations, with_errors
from xappa.observations.qc import Quality, run_quality_control

pytestmark = pytest.mark.filterwarnings("ignore::xappa.errors.UnitsWarning")

T, P, U, V = "2m_temperature", "mean_sea_level_pressure", "10m_u_component_of_wind", "10m_v_component_of_wind"
TWICE, CONTRADICTORY = int(Flag.DUPLICATE), int(Flag.CONTRADICTORY)
BUDDIES = Quality(background=None, near_duplicates=None)


def table(values, name: str = T, **columns) -> pd.DataFrame:
    frame = {"time": "2024-01-01T00", "lat": 50.0, "lon": 5.0, "station": "S", name: values}
    return pd.DataFrame(frame | columns)


def flags(obs: xr.Dataset, name: str = T) -> list[int]:
    return obs[f"{name}_flag"].values.tolist()


def constant(mean: float, deviation: float):
    return lambda batch: {n: (np.full(len(batch), mean), np.full(len(batch), deviation)) for n in batch.value}


def used(obs: xr.Dataset, name: str = T) -> list[float]:
    return sorted(obs[name].values[(obs[f"{name}_flag"] == 0) & obs[name].notnull()].tolist())


def permuted(frame: pd.DataFrame):
    """The table in several orders of rows."""
    yield frame
    yield frame.iloc[::-1]
    for seed in range(3):
        yield frame.sample(frac=1, random_state=seed)


class TestReading:
    @pytest.mark.parametrize(
        ("name", "values"),
        [
            (T, [265.0, 285.0]),
            (P, [100000.0, 101500.0]),
            ("10m_wind_speed", [3.0, 30.0]),
            ("10m_wind_from_direction", [90.0, 180.0]),
            ("2m_relative_humidity", [0.2, 0.9]),
            ("total_precipitation_6hr", [0.0, 0.02]),
            (T, [265.0, 285.0, 300.0]),
        ],
    )
    def test_values_that_differ_are_all_contradictory(self, name, values):
        for frame in permuted(table(values, name)):
            assert set(flags(read_observations(frame), name)) == {CONTRADICTORY}

    def test_they_are_counted_under_their_own_reason(self):
        counts = flag_counts(read_observations(table([265.0, 285.0])))
        assert counts.loc[T, "contradictory"] == 2 and counts.loc[T].sum() == 2

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            (T, [280.0, 280.0]),
            (T, [280.15, 280.45]),
            (P, [101300.0, 101340.0]),
            ("10m_wind_from_direction", [358.0, 2.0]),
        ],
    )
    def test_values_that_agree_within_the_steps_they_are_written_in_are_duplicates(self, name, values):
        assert sorted(flags(read_observations(table(values, name)), name)) == [0, TWICE]

    def test_of_those_that_agree_the_finest_written_is_used_in_any_order(self):
        for frame in permuted(table([280.15, 280.45, 280.15])):  # 7, 7.3 and 7 degC
            assert used(read_observations(frame)) == [280.45]

    def test_of_equal_values_the_one_with_the_smaller_error_is_used(self):
        for frame in permuted(table([280.0, 280.0], **{f"{T}_error": [2.0, 1.0]})):
            obs = read_observations(frame)
            assert obs[f"{T}_error"].values[obs[f"{T}_flag"] == 0].tolist() == [1.0]

    def test_equal_values_at_two_heights_leave_the_same_one_in_any_order(self):
        heights = set()
        for frame in permuted(table([280.0] * 3, elev=[np.nan, 120.0, 100.0])):
            obs = read_observations(frame)
            heights.add(float(obs["altitude"].values[obs[f"{T}_flag"] == 0].item()))
        assert heights == {100.0}

    def test_a_repeat_of_one_side_is_no_vote(self):
        for frame in permuted(table([265.0, 285.0, 285.0])):
            obs = read_observations(frame)
            assert used(obs) == []
            assert sorted(flags(obs)) == [TWICE, CONTRADICTORY, CONTRADICTORY]

    def test_what_is_rejected_otherwise_contradicts_nothing(self):
        for frame in permuted(table([265.0, 400.0, np.nan])):
            obs = read_observations(frame)
            assert used(obs) == [265.0]
            assert flag_counts(obs).loc[T, "contradictory"] == 0

    def test_differences_within_known_errors_are_no_contradiction(self):
        obs = read_observations(table([280.0, 283.0], **{f"{T}_error": 3.0}))
        assert sorted(flags(obs)) == [0, TWICE]
        assert flags(read_observations(table([280.0, 283.0], **{f"{T}_error": 0.5}))) == [CONTRADICTORY] * 2

    def test_other_levels_times_stations_and_periods_contradict_nothing(self):
        for columns in (
            {"time": ["2024-01-01T00", "2024-01-01T01"]},
            {"station": ["a", "b"]},
            {"station": "", "lat": [50.0, 50.01]},
        ):
            assert flags(read_observations(table([265.0, 285.0], **columns))) == [0, 0]
        aloft = table([250.0, 220.0, 251.0], "temperature", level=[500.0, 300.0, 500.0])
        assert flags(read_observations(aloft), "temperature").count(0) == 2
        rain = table([0.0, 0.02], "total_precipitation", period=[6, 12])
        assert flags(read_observations(rain), "total_precipitation") == [0, 0]

    def test_unnamed_reports_of_one_place_contradict_each_other(self):
        assert flags(read_observations(table([265.0, 285.0], station=""))) == [CONTRADICTORY] * 2

    def test_one_component_that_differs_takes_the_other_with_it(self):
        obs = read_observations(table([5.0, -5.0], U, **{V: 3.0}))
        assert flags(obs, U) == flags(obs, V) == [CONTRADICTORY] * 2

    def test_both_components_are_taken_from_one_report(self):
        for frame in permuted(table([5.0, 5.2, 5.1], U, **{V: [3.1, 3.0, np.nan]})):
            obs = read_observations(frame)
            assert ((obs[f"{U}_flag"] == 0) & obs[U].notnull() & obs[V].notnull()).sum() == 1
            assert len(used(obs, U)) == len(used(obs, V)) == 1

    def test_winds_from_two_directions_contradict_each_other(self):
        frame = table([8.0, 8.0], "wind_speed", wind_direction=[10.0, 190.0])
        obs = read_observations(frame)
        assert flags(obs, U) == flags(obs, V) == [CONTRADICTORY] * 2
        calm = read_observations(table([8.0, 8.0], "wind_speed", wind_direction=[358.0, 2.0]))
        assert sorted(flags(calm, U)) == sorted(flags(calm, V)) == [0, TWICE]

    def test_quantities_of_ones_own_agree_if_they_are_equal(self):
        frame = table([1.0, 1.0, 2.0, 2.1], "fire", station=["a", "a", "b", "b"])
        obs = read_observations(frame, unknown=["fire"])
        assert flags(obs, "fire") == [0, TWICE, CONTRADICTORY, CONTRADICTORY]

    def test_sources_are_judged_together(self):
        one, other = table([265.0]), table([285.0])
        for sources in ([one, other], [other, one], {"a": one, "b": other}):
            assert flags(read_observations(sources)) == [CONTRADICTORY] * 2

    def test_checking_again_changes_nothing(self):
        obs = read_observations(table([265.0, 285.0, 280.0, 280.0], station=["a", "a", "b", "b"]))
        assert check(obs).identical(obs)

    def test_lazy_reports_are_judged_alike(self):
        frame = table([265.0, 285.0, 280.0, 280.4, 270.0], station=["a", "a", "b", "b", "c"])
        obs = read_observations(frame).drop_vars(f"{T}_flag")
        lazy = check(obs.chunk(obs=2))
        assert lazy[f"{T}_flag"].chunks is not None
        assert flags(lazy.compute()) == flags(check(obs)) == [CONTRADICTORY, CONTRADICTORY, TWICE, 0, 0]


class TestJudging:
    def test_the_background_keeps_the_one_that_passes(self):
        for frame in permuted(table([280.0, 320.0, 240.0])):
            obs = with_errors(read_observations(frame), {T: 1.0})
            found = run_quality_control(obs, Quality(buddies=None), background=constant(280.0, 2.0))
            assert used(found) == [280.0]
            assert sorted(flags(found)) == [0, CONTRADICTORY, CONTRADICTORY]

    def test_none_is_used_where_two_pass_or_none_does(self):
        for values in ([278.0, 282.0], [200.0, 320.0]):
            obs = with_errors(read_observations(table(values)), {T: 1.0})
            found = run_quality_control(obs, Quality(buddies=None), background=constant(280.0, 2.0))
            assert flags(found) == [CONTRADICTORY] * 2

    def test_none_is_used_where_nothing_can_judge(self):
        obs = with_errors(read_observations(table([265.0, 285.0])), {T: 1.0})
        for background in (None, constant(np.nan, 1.0)):
            assert flags(run_quality_control(obs, Quality(), background=background)) == [CONTRADICTORY] * 2
        assert flags(xappa.quality_control(table([265.0, 285.0]), "none")) == [CONTRADICTORY] * 2

    @pytest.mark.parametrize("station", ["S", ""])
    def test_buddies_keep_the_one_that_they_confirm(self, rng, station):
        """Neither of the two is a neighbour of others, or of the other, before it is judged."""
        size = 30
        around = table(280 + rng.standard_normal(size), lat=rng.uniform(48, 52, size), lon=rng.uniform(3, 7, size))
        around["station"] = [f"s{i}" for i in range(size)]
        frame = pd.concat([around, table([280.0, 320.0, 320.0], station=station)], ignore_index=True)
        for rows in permuted(frame):
            obs = with_errors(read_observations(rows), {T: 1.0})
            found = run_quality_control(obs, BUDDIES)
            assert 280.0 in used(found) and 320.0 not in used(found)
            assert (found[f"{T}_flag"] == 0).sum() == size + 1

    def test_contradictory_reports_do_not_outvote_their_neighbours(self, rng):
        size = 8
        place = {"lat": rng.uniform(49, 51, size), "lon": rng.uniform(4, 6, size)}
        good = table(280 + 0.3 * rng.standard_normal(size), station=[f"s{i}" for i in range(size)], **place)
        wrong = pd.concat([table([320.0, 330.0], station="", lat=lat, lon=5.0) for lat in np.linspace(49.2, 50.8, 9)])
        obs = with_errors(read_observations(pd.concat([good, wrong], ignore_index=True)), {T: 1.0})
        found = run_quality_control(obs, BUDDIES)
        assert flags(found)[:size] == [0] * size
        assert set(flags(found)[size:]) == {CONTRADICTORY}

    def test_wrong_places_do_not_count(self):
        """Of two heights of one station the table knows one."""
        frame = table([265.0, 285.0], elev=[100.0, 2500.0])
        obs = with_errors(read_observations(frame), {T: 1.0})
        found = run_quality_control(obs, Quality(None, None, near_duplicates=None, stations={"S": 100.0}))
        assert flags(found) == [0, Flag.HEIGHT_MISMATCH]

    def test_a_difference_within_the_default_errors_leaves_one(self):
        error = float(xappa.observation_errors("ecmwf-like")[T])
        obs = read_observations(table([280.0, 280.0 + 1.2 * error]))
        assert flags(obs) == [CONTRADICTORY] * 2
        found = xappa.quality_control(obs, "none")
        assert sorted(flags(found)) == [0, TWICE]

    def test_a_judgement_stays_when_reports_are_read_again(self, tiny_model):
        frame = table([287.0, 240.0], time="2001-03-13T00", lat=10.0)
        found = xappa.quality_control(frame, Quality(buddies=None), model=tiny_model)
        assert flags(found) == [0, CONTRADICTORY]
        assert flags(xappa.quality_control(found, "none")) == [0, CONTRADICTORY]
        assert flags(read_observations(found)) == [0, CONTRADICTORY]
        assert flags(xappa.quality_control(found, Quality(buddies=None), model=tiny_model)) == [0, CONTRADICTORY]

    def test_lazy_reports_are_judged_alike(self, rng):
        frame = table(
            [280.0, 320.0, 281.0, 281.0, 279.0, 283.5],
            station=["a", "a", "b", "b", "c", "c"],
            lat=[50.0, 50.0, 51.0, 51.0, 52.0, 52.0],
        )
        obs = with_errors(read_observations(frame), {T: 1.0})
        quality, background = Quality(buddies=None), constant(280.0, 2.0)
        expected = run_quality_control(obs, quality, background=background)
        assert flags(expected) == [0, CONTRADICTORY, 0, TWICE, CONTRADICTORY, CONTRADICTORY]
        lazy = run_quality_control(obs.chunk(obs=2), quality, background=background)
        assert lazy[f"{T}_flag"].chunks is not None
        assert flags(lazy.compute()) == flags(expected)

    @settings(deadline=None, max_examples=25)
    @given(st.integers(0, 2**32 - 1))
    def test_the_order_of_rows_never_decides(self, seed):
        """Stations that report once, twice alike and twice otherwise, winds, near-duplicates and several an hour."""
        rng = np.random.default_rng(seed)
        station = rng.integers(0, 25, 80)
        places = rng.uniform([48, 3], [52, 7], (25, 2))
        places[20:] = places[:5] + 1e-3  # other names of the same stations
        frame = pd.DataFrame(
            {
                "time": np.datetime64("2024-01-01") + rng.integers(0, 4, 80) * np.timedelta64(20, "m"),
                "lat": places[station, 0],
                "lon": places[station, 1],
                "station": [f"s{k}" for k in station],
                "elev": rng.choice([np.nan, 10.0, 20.0], 80),
                T: 280 + rng.choice([0.0, 0.3, 2.0, 6.0, 40.0, np.nan], 80),
                U: rng.choice([1.0, 1.2, 5.0, 60.0, np.nan], 80),
                V: rng.choice([1.0, -4.0, np.nan], 80),
            }
        )
        found = []
        for order in (np.arange(80), rng.permutation(80)):
            obs = with_errors(read_observations(frame.iloc[order]), {T: 1.0, U: 2.0, V: 2.0})
            checked = run_quality_control(obs, Quality(), background=constant(280.0, 50.0)).to_dataframe()
            place = ["time", "latitude", "longitude", "altitude"]
            # Of reports that are the same in all that is used, whichever.
            found.append(
                [sorted(map(str, checked.loc[checked[f"{n}_flag"] == 0, [*place, n]].values)) for n in (T, U, V)]
            )
        assert found[0] == found[1]


def test_what_a_correction_replaces_takes_what_is_derived_from_it_along(tmp_path):
    """Of METAR: neither the wind, nor the humidity, of a report that was corrected contradicts the new ones."""
    path = tmp_path / "metar_20190701_1300.txt"
    path.write_text("LFPG 011250Z 24010KT 12/08 Q0987=\nMETAR COR LFPG 011250Z 06030KT 24/18 Q1010=\n")
    stations = pd.DataFrame({"station": ["LFPG"], "latitude": 49.0, "longitude": 2.5, "altitude": 119.0})
    obs = read_observations(path, stations=stations)
    counts = flag_counts(obs)
    assert "contradictory" not in counts.columns[(counts > 0).any()]
    np.testing.assert_allclose(used(obs), [24 + 273.15])
    assert len(used(obs, U)) == len(used(obs, V)) == 1 and used(obs, U)[0] < 0
    for name in ("surface_pressure", P, "2m_specific_humidity"):
        assert int((obs[f"{name}_flag"] == 0).sum()) <= 1

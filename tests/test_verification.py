"""Scores against brute force, analytic integrals and what must hold of any ensemble."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xappa.errors import DatasetError, ObservationError, OptionError
from xappa.verification import scores
from xappa.verification.stations import identify_stations, interpolate_inverse_distance, withhold

LATITUDE = np.linspace(-88.125, 88.125, 48)
LONGITUDE = np.arange(0, 360, 15.0)


def grid(values: np.ndarray, *dims: str) -> xr.DataArray:
    coords = {"latitude": LATITUDE, "longitude": LONGITUDE}
    return xr.DataArray(values, dims=(*dims, "latitude", "longitude"), coords=coords)


def brute_crps(members: np.ndarray, truth: float) -> float:
    n = len(members)
    double = sum(abs(a - b) for a in members for b in members)
    return float(np.mean(np.abs(members - truth)) - double / (2 * n * (n - 1)))


# --- crps


@pytest.mark.parametrize("members", [2, 3, 8, 31])
def test_crps_is_the_double_sum(rng: np.random.Generator, members: int) -> None:
    forecast, truth = rng.standard_normal((members, 20)), rng.standard_normal(20)
    expected = [brute_crps(forecast[:, k], truth[k]) for k in range(20)]
    point = scores.crps(xr.DataArray(forecast, dims=("member", "obs")), xr.DataArray(truth, dims="obs"), dim=())
    np.testing.assert_allclose(point, expected, atol=1e-12)


def test_crps_keeps_its_digits_on_pressures_in_single_precision(rng: np.random.Generator) -> None:
    forecast = (101325 + rng.standard_normal((8, 50))).astype("f4")
    truth = (101325 + rng.standard_normal(50)).astype("f4")
    expected = np.mean([brute_crps(forecast[:, k].astype("f8"), float(truth[k])) for k in range(50)])
    score = scores.crps(xr.DataArray(forecast, dims=("member", "obs")), xr.DataArray(truth, dims="obs"))
    np.testing.assert_allclose(score, expected, rtol=1e-12)


def test_crps_of_one_member_is_its_absolute_error(rng: np.random.Generator) -> None:
    one, truth = grid(rng.standard_normal((1, 48, 24)), "member"), grid(rng.standard_normal((48, 24)))
    expected = scores.mean(abs(one.isel(member=0) - truth))
    np.testing.assert_allclose(scores.crps(one, truth), expected)
    np.testing.assert_allclose(scores.crps(one.isel(member=0), truth), expected)


def test_fair_crps_does_not_depend_on_the_number_of_members(rng: np.random.Generator) -> None:
    n = 40_000
    truth = xr.DataArray(rng.standard_normal(n), dims="obs")
    few, many = (xr.DataArray(rng.standard_normal((m, n)), dims=("member", "obs")) for m in (2, 20))
    exact = 1 / np.sqrt(np.pi)  # E|X - Y| - E|X - X'| / 2 of standard normals
    assert float(scores.crps(few, truth)) == pytest.approx(exact, abs=0.02)
    assert float(scores.crps(many, truth)) == pytest.approx(exact, abs=0.02)


finite = st.floats(-50, 50, width=32)


@settings(max_examples=50, deadline=None)
@given(arrays("f8", (6, 5), elements=finite), arrays("f8", 5, elements=finite), st.permutations(range(6)), finite)
def test_crps_symmetries(members: np.ndarray, truth: np.ndarray, order: list[int], shift: float) -> None:
    def score(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return scores.crps(xr.DataArray(x, dims=("member", "obs")), xr.DataArray(y, dims="obs"), dim=()).values

    plain = score(members, truth)
    np.testing.assert_array_equal(score(members[list(order)], truth).round(10), plain.round(10))
    np.testing.assert_allclose(score(members + shift, truth + shift), plain, atol=1e-9)
    np.testing.assert_allclose(score(2 * members, 2 * truth), 2 * plain, atol=1e-9)
    np.testing.assert_allclose(score(-members, -truth), plain, atol=1e-9)


# --- weights


def test_weights_integrate_over_the_sphere() -> None:
    sine = np.sin(np.deg2rad(LATITUDE))[:, None] * np.ones(24)
    for power, integral in ((0, 1.0), (1, 0.0), (2, 1 / 3), (4, 1 / 5)):
        assert float(scores.mean(grid(sine**power))) == pytest.approx(integral, abs=2e-3)
    # Rotation about another axis leaves the integral as it is, if areas are right.
    x = np.cos(np.deg2rad(LATITUDE))[:, None] * np.cos(np.deg2rad(LONGITUDE))
    assert float(scores.mean(grid(x**2))) == pytest.approx(1 / 3, abs=2e-3)


def test_poles_have_no_negative_weight() -> None:
    latitude = xr.DataArray(np.array([-90.0, 0.0, 90.0]), dims="latitude")
    weights = scores.area_weights(latitude)
    assert float(weights.min()) >= 0 and float(weights[1]) == 1


def test_points_count_alike(rng: np.random.Generator) -> None:
    error = rng.standard_normal(48)
    points = xr.DataArray(error, dims="obs", coords={"latitude": ("obs", LATITUDE)})
    np.testing.assert_allclose(scores.rmse(points, xr.zeros_like(points)), np.sqrt(np.mean(error**2)))


def test_weights_by_the_standard_name(rng: np.random.Generator) -> None:
    field = grid(rng.standard_normal((48, 24)))
    renamed = field.rename(latitude="north")
    renamed["north"].attrs["standard_name"] = "latitude"
    assert float(scores.mean(renamed)) == pytest.approx(float(scores.mean(field)))


def test_own_weights(rng: np.random.Generator) -> None:
    field = grid(rng.standard_normal((48, 24)))
    weights = xr.DataArray((LATITUDE > 0).astype(float), coords={"latitude": LATITUDE}, dims="latitude")
    half = np.sqrt(np.mean(field.values[LATITUDE > 0] ** 2))
    np.testing.assert_allclose(scores.rmse(field, xr.zeros_like(field), weights=weights), half)


# --- the others


def test_rmse_bias_spread_by_hand(rng: np.random.Generator) -> None:
    forecast, truth = rng.standard_normal((4, 3, 48, 24)), rng.standard_normal((3, 48, 24))
    weight = np.cos(np.deg2rad(LATITUDE))[:, None] * np.ones(24)
    f, t = grid(forecast, "member", "time"), grid(truth, "time")
    error = forecast.mean(0) - truth
    by_time = [np.sqrt(np.average(error[k] ** 2, weights=weight)) for k in range(3)]
    np.testing.assert_allclose(scores.rmse(f, t, dim=("latitude", "longitude")), by_time)
    np.testing.assert_allclose(scores.rmse(f, t), np.sqrt(np.mean(np.square(by_time))))
    np.testing.assert_allclose(scores.bias(f, t), np.average(error.mean(0), weights=weight))
    variance = forecast.var(0, ddof=1).mean(0)
    np.testing.assert_allclose(scores.spread(f), np.sqrt(np.average(variance, weights=weight)))


def test_spread_skill_of_an_exchangeable_ensemble_is_one(rng: np.random.Generator) -> None:
    for members in (2, 8):
        signal = 3 * rng.standard_normal((40, 48, 24))
        deviation = rng.uniform(0.5, 2, (48, 24))
        truth = grid(signal + deviation * rng.standard_normal(signal.shape), "time")
        forecast = grid(signal + deviation * rng.standard_normal((members, *signal.shape)), "member", "time")
        assert float(scores.spread_skill(forecast, truth)) == pytest.approx(1, abs=0.02)


def test_one_member_has_no_spread(rng: np.random.Generator) -> None:
    one, truth = grid(rng.standard_normal((1, 48, 24)), "member"), grid(rng.standard_normal((48, 24)))
    assert np.isnan(scores.spread_skill(one, truth)) and np.isnan(scores.spread(one.isel(member=0)))
    assert scores.spread(one).dims == ()


def test_levels_are_kept(rng: np.random.Generator) -> None:
    forecast, truth = rng.standard_normal((3, 2, 48, 24)), rng.standard_normal((2, 48, 24))
    f = grid(forecast, "member", "level").assign_coords(level=[500, 850])
    t = grid(truth, "level").assign_coords(level=[500, 850])
    for score in (scores.rmse, scores.bias, scores.crps, scores.spread_skill):
        both = score(f, t)
        assert both.dims == ("level",)
        np.testing.assert_allclose(both.sel(level=850), score(f.sel(level=850), t.sel(level=850)))


def test_missing_points_are_skipped_in_every_score(rng: np.random.Generator) -> None:
    forecast, truth = rng.standard_normal((3, 48, 24)), rng.standard_normal((48, 24))
    truth[:, :10] = np.nan
    f, t = grid(forecast, "member"), grid(truth)
    sea = {"longitude": slice(10, None)}
    for score in (scores.rmse, scores.bias, scores.crps, scores.spread_skill):
        np.testing.assert_allclose(score(f, t), score(f.isel(sea), t.isel(sea)))


def test_where_a_member_is_missing_the_others_are_scored(rng: np.random.Generator) -> None:
    f, t = grid(rng.standard_normal((4, 48, 24)), "member"), grid(rng.standard_normal((48, 24)))
    hole = f.copy()
    hole[0, :, 10:] = np.nan
    for score in (scores.rmse, scores.bias, scores.mae, scores.crps, scores.expected, scores.spread):
        own, squared = (hole,) if score in (scores.expected, scores.spread) else (hole, t), score not in (
            scores.bias, scores.mae, scores.crps
        )  # fmt: skip
        whole, rest = {"longitude": slice(0, 10)}, {"longitude": slice(10, None), "member": slice(1, None)}
        parts = [score(*(a.isel(part, missing_dims="ignore") for a in (f, t)[: len(own)])) for part in (whole, rest)]
        power = 2 if squared else 1
        expected = ((10 * parts[0] ** power + 14 * parts[1] ** power) / 24) ** (1 / power)
        np.testing.assert_allclose(score(*own), expected)
    deviation = xr.full_like(t, 0.3)
    places = [{"longitude": part["longitude"]} for part in (whole, rest)]
    dressed = [
        scores.crps_dressed(f.isel(part), t.isel(place), deviation.isel(place))
        for part, place in zip((whole, rest), places, strict=True)
    ]
    np.testing.assert_allclose(scores.crps_dressed(hole, t, deviation), (10 * dressed[0] + 14 * dressed[1]) / 24)
    alone = f.copy()
    alone[1:] = np.nan
    assert np.isnan(scores.spread(alone)) and np.isnan(scores.crps(alone, t))
    np.testing.assert_allclose(scores.rmse(alone, t), scores.rmse(f[0], t))


def test_scores_are_lazy_and_the_same(rng: np.random.Generator) -> None:
    forecast, truth = rng.standard_normal((3, 4, 48, 24)), rng.standard_normal((4, 48, 24))
    f, t = grid(forecast, "member", "time"), grid(truth, "time")
    for score in (scores.rmse, scores.bias, scores.crps, scores.spread_skill):
        lazy = score(f.chunk(member=1, time=2), t.chunk(time=2))
        assert lazy.chunks is not None
        np.testing.assert_allclose(lazy.compute(), score(f, t), rtol=1e-12)


def test_different_coordinates_are_refused(rng: np.random.Generator) -> None:
    field = grid(rng.standard_normal((48, 24)))
    for score in (scores.rmse, scores.bias, scores.crps, scores.spread_skill):
        with pytest.raises(DatasetError, match="regrid"):
            score(field, field.isel(latitude=slice(1, None)))


# --- stations


def reports(**columns: object) -> xr.Dataset:
    n = len(np.asarray(columns["latitude"]))
    columns.setdefault("time", np.full(n, np.datetime64("2018-11-02T12", "s")))
    names = ("time", "latitude", "longitude", "station", "altitude", "level")
    coords = {k: ("obs", np.asarray(columns.pop(k))) for k in names if k in columns}
    return xr.Dataset({k: ("obs", np.asarray(v)) for k, v in columns.items()}, coords=coords)


def test_sources_of_one_station_are_merged() -> None:
    obs = reports(
        latitude=[50.001, 50.002, 50.0, 20.0, 10.0, 12.0, 60.0],
        longitude=[8.0, 8.001, 368.0, 30.0, -30.0, -31.0, 10.0],
        station=["10637", "EDDF", "", "", "SHIPX", "SHIPX", "10637"],
    )
    keys = identify_stations(obs.isel(obs=slice(0, 6)))
    assert keys[0] == keys[1] == keys[2]  # two identifiers, and none, at one place
    assert len({keys[0], keys[3], keys[4]}) == 3
    assert keys[4] == keys[5]  # a ship, wherever it is
    moving = identify_stations(obs)
    assert moving[0] == moving[6] != moving[1]  # now 10637 is seen far from itself, and goes by its name alone


def test_keys_without_identifiers_are_places() -> None:
    keys = identify_stations(reports(latitude=[1.001, 1.002, 1.2, 5.0], longitude=[359.999, 0.001, 0.0, 180.0]))
    assert keys[0] == keys[1] and len(set(keys)) == 3


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.floats(0, 0.9), st.integers(0, 5))
def test_withholding_parts_by_station(n: int, fraction: float, seed: int) -> None:
    rng = np.random.default_rng(n)
    number = rng.integers(0, 12, n)
    obs = reports(latitude=number * 3.0, longitude=number * 5.0, station=[f"S{k}" for k in number])
    used, withheld = withhold(obs, fraction, seed)
    assert used.sizes["obs"] + withheld.sizes["obs"] == n
    assert not set(used.station.values) & set(withheld.station.values)
    assert len(set(withheld.station.values)) == round(fraction * len(set(number)))
    order = rng.permutation(n)
    again = withhold(obs.isel(obs=order), fraction, seed)[1]
    assert set(again.station.values) == set(withheld.station.values)


def test_withholding_a_wrong_share() -> None:
    with pytest.raises(OptionError, match="fraction=1.5"):
        withhold(reports(latitude=[0.0], longitude=[0.0]), 1.5)


def test_inverse_distance_by_hand() -> None:
    used = reports(latitude=[0.0, 0.0, 3.0], longitude=[1.0, -2.0, 0.0], t=[10.0, 20.0, 40.0])
    used = used.rename(t="2m_temperature")
    held = reports(latitude=[0.0], longitude=[0.0], t=[0.0]).rename(t="2m_temperature")
    weight = np.array([1.0, 1 / 4, 1 / 9])
    for k in (1, 2, 3, 8):
        expected = np.average([10.0, 20.0, 40.0][:k], weights=weight[:k])
        np.testing.assert_allclose(
            interpolate_inverse_distance(used, held, "2m_temperature", neighbours=k), [expected], rtol=1e-6
        )


def test_inverse_distance_across_the_date_line_and_the_pole() -> None:
    used = reports(latitude=[0.0, 0.0, 89.0], longitude=[-179.0, 170.0, 200.0], t=[1.0, 2.0, 3.0])
    used = used.rename(t="2m_temperature")
    held = reports(latitude=[0.0, 89.5], longitude=[179.9, 20.0], t=[0.0, 0.0]).rename(t="2m_temperature")
    np.testing.assert_allclose(interpolate_inverse_distance(used, held, "2m_temperature", neighbours=1), [1.0, 3.0])


def test_inverse_distance_brings_temperature_to_the_height() -> None:
    where = {"latitude": [0.0, 0.0], "longitude": [1.0, -1.0]}
    used = reports(**where, altitude=[1000.0, np.nan], t=[280.0, 290.0], p=[1.0, 3.0])
    used = used.rename(t="2m_temperature", p="mean_sea_level_pressure")
    held = reports(latitude=[0.0], longitude=[0.0], altitude=[200.0], t=[0.0], p=[0.0])
    held = held.rename(t="2m_temperature", p="mean_sea_level_pressure")
    # 800 m below its neighbour it is 5.2 K warmer; the other's height is not known.
    np.testing.assert_allclose(interpolate_inverse_distance(used, held, "2m_temperature"), [(280 + 5.2 + 290) / 2])
    np.testing.assert_allclose(interpolate_inverse_distance(used, held, "mean_sea_level_pressure"), [2.0])


def test_inverse_distance_asks_good_reports_of_the_time_and_level() -> None:
    noon = np.datetime64("2018-11-02T12", "s")
    hours = np.timedelta64(1, "h")
    used = reports(
        latitude=[1.0, 1.0, 2.0, 3.0, 0.5, 0.6],
        longitude=np.zeros(6),
        station=["a", "a", "b", "c", "bad", "empty"],
        level=[500.0, 500.0, 500.0, 850.0, 500.0, 500.0],
        time=[noon, noon + hours, noon + 6 * hours, noon, noon, noon],
        temperature=[1.0, 5.0, 2.0, 3.0, 99.0, np.nan],
        temperature_flag=np.array([0, 0, 0, 0, 2, 0], "i1"),
    )
    held = reports(
        latitude=[0.0, 0.0, 0.0],
        longitude=np.zeros(3),
        level=[500.0, 850.0, 300.0],
        time=[noon, noon, noon],
        temperature=np.zeros(3),
    )
    np.testing.assert_allclose(interpolate_inverse_distance(used, held, "temperature"), [1.0, 3.0, np.nan])


def test_a_station_is_not_its_own_neighbour(rng: np.random.Generator) -> None:
    all_ = reports(latitude=rng.uniform(-80, 80, 30), longitude=rng.uniform(0, 360, 30), t=rng.standard_normal(30))
    all_ = all_.rename(t="2m_temperature")
    left_out = interpolate_inverse_distance(all_, all_, "2m_temperature", neighbours=3)
    for k in range(5):
        others = np.arange(30) != k
        alone = interpolate_inverse_distance(all_.isel(obs=others), all_.isel(obs=[k]), "2m_temperature", neighbours=3)
        np.testing.assert_allclose(left_out[k], alone[0])


def test_inverse_distance_of_an_unknown_variable() -> None:
    obs = reports(latitude=[0.0], longitude=[0.0], t=[0.0])
    with pytest.raises(ObservationError, match="found \\['t'\\]"):
        interpolate_inverse_distance(obs, obs, "2m_temperature")

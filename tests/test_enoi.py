"""The EnOI baseline against the textbook, and the networks of the twin experiments."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from tests.benchmarks.enoi import Observed, analyse, gaspari_cohn, inflation, season, windows
from tests.benchmarks.networks import Reports, channel_deviation, draw_values, network, stations, to_observations
from tests.benchmarks.scores import channel_scores, gaussian_crps, summary
from xappa.errors import OptionError
from xappa.model.state import StateSpec

SHAPE = (3, 2, 4, 6)  # time, channel, latitude, longitude
LATITUDE = np.linspace(-67.5, 67.5, 4)
LONGITUDE = np.arange(6) * 60.0


def problem(rng: np.random.Generator, members: int = 30, count: int = 25) -> tuple[np.ndarray, Observed]:
    mixing = rng.standard_normal((10, *SHAPE))
    ensemble = np.tensordot(rng.standard_normal((members, 10)), mixing, 1)
    ensemble += 0.3 * rng.standard_normal((members, *SHAPE))
    time, channel, cell = (rng.integers(0, n, count) for n in (SHAPE[0], SHAPE[1], SHAPE[2] * SHAPE[3]))
    observed = Observed(time, channel, cell, rng.standard_normal(count), rng.uniform(0.5, 1.5, count))
    return ensemble + 0.5, observed


def textbook(ensemble: np.ndarray, observed: Observed, rho: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Gain ``P H^T (H P H^T + R)^-1`` with matrices written out; `rho` weakens the observations of one cell's view."""
    flat = ensemble.reshape(len(ensemble), -1)
    covariance = np.cov(flat.T)
    row = (observed.time * SHAPE[1] + observed.channel) * SHAPE[2] * SHAPE[3] + observed.cell
    error = np.diag(observed.error**2 / (1 if rho is None else rho))
    gain = covariance[:, row] @ np.linalg.inv(covariance[np.ix_(row, row)] + error)
    mean = flat.mean(0) + gain @ (observed.value - flat.mean(0)[row])
    variance = np.diag(covariance - gain @ covariance[row])
    return mean.reshape(SHAPE), variance.reshape(SHAPE)


def test_without_localisation_it_is_the_kalman_gain(rng: np.random.Generator) -> None:
    ensemble, observed = problem(rng)
    for block in (2, 4):
        mean, variance = analyse(ensemble, observed, LATITUDE, LONGITUDE, length=np.inf, block=block)
        expected = textbook(ensemble, observed)
        np.testing.assert_allclose(mean, expected[0], atol=1e-5)
        np.testing.assert_allclose(variance, expected[1], atol=1e-5)


def test_each_cell_sees_observations_weakened_with_distance(rng: np.random.Generator) -> None:
    ensemble, observed = problem(rng)
    length = 4000.0
    mean, variance = analyse(ensemble, observed, LATITUDE, LONGITUDE, length=length, block=1)
    a, b = np.deg2rad(LATITUDE), np.deg2rad(LONGITUDE)
    row, column = np.divmod(observed.cell, 6)
    for i, j in ((0, 0), (2, 5), (3, 3)):
        cosine = np.sin(a[i]) * np.sin(a[row]) + np.cos(a[i]) * np.cos(a[row]) * np.cos(b[j] - b[column])
        rho = gaspari_cohn(6371 * np.arccos(np.clip(cosine, -1, 1)) / length)
        assert 0 < (rho > 1e-4).sum() < len(rho)
        expected = textbook(ensemble, observed, np.where(rho > 1e-4, rho, 1e-12))
        np.testing.assert_allclose(mean[:, :, i, j], expected[0][:, :, i, j], atol=2e-4)
        np.testing.assert_allclose(variance[:, :, i, j], expected[1][:, :, i, j], atol=2e-4)


def test_without_observations_it_is_the_ensemble(rng: np.random.Generator) -> None:
    ensemble, _ = problem(rng)
    none = np.zeros(0, int)
    mask = np.ones((2, 4, 6), bool)
    mask[1, 0] = False
    nothing = Observed(none, none, none, none * 1.0, none * 1.0)
    mean, variance = analyse(ensemble, nothing, LATITUDE, LONGITUDE, mask=mask)
    np.testing.assert_allclose(mean[:, mask], ensemble.mean(0)[:, mask], atol=1e-5)
    np.testing.assert_allclose(variance[:, mask], ensemble.var(0, ddof=1)[:, mask], rtol=1e-4)
    assert np.isnan(mean[:, ~mask]).all() and np.isnan(variance[:, ~mask]).all()


def test_far_from_observations_it_is_the_ensemble(rng: np.random.Generator) -> None:
    ensemble, _ = problem(rng)
    one = Observed(np.array([0]), np.array([0]), np.array([0]), np.array([9.0]), np.array([0.1]))
    mean, _ = analyse(ensemble, one, LATITUDE, LONGITUDE, length=800.0, block=1)
    moved = np.abs(mean - ensemble.mean(0)).max((0, 1)) > 1e-3
    assert moved[0, 0] and moved.sum() == 1


def test_gaspari_cohn() -> None:
    # The fifth-order function as published, from a table of its values: 5/24 at 1, and smooth where its pieces meet.
    np.testing.assert_allclose(gaspari_cohn(np.array([0.0, 1.0, 2.0, 3.0])), [1, 5 / 24, 0, 0], atol=1e-12)
    r = np.linspace(0, 2.5, 2501)
    value = gaspari_cohn(r)
    assert (np.diff(value) <= 1e-12).all() and (value >= 0).all()
    slope = np.gradient(value, r)
    assert np.abs(np.diff(slope)).max() < 5e-3
    # Positive definite: as a covariance on a line it has no negative eigenvalue.
    x = np.arange(60) * 0.1
    assert np.linalg.eigvalsh(gaspari_cohn(x[:, None] - x)).min() > -1e-10


def test_season_takes_the_same_days_of_other_years() -> None:
    times = np.arange("2000-01-01", "2004-01-01", np.timedelta64(6, "h"), dtype="datetime64[s]")
    starts = np.arange(len(times) - 7)
    chosen = season(times, starts, np.datetime64("2010-01-05T12", "s"), count=300)
    assert len(chosen) == 300 == len(set(chosen))
    day = (times[chosen] - times[chosen].astype("datetime64[Y]")) / np.timedelta64(1, "D")
    assert ((day <= 4.5 + 45) | (day >= 4.5 - 45 + 365)).all()
    assert (day > 300).any() and (day < 60).any()
    assert set((times[chosen] - times[chosen].astype("datetime64[D]")) / np.timedelta64(1, "h")) == {12.0}
    everything = season(times, starts, np.datetime64("2010-07-01T00", "s"), count=10**6)
    assert len(everything) == pytest.approx(4 * 4 * 90, abs=8)


def test_windows_are_consecutive(rng: np.random.Generator) -> None:
    record = rng.standard_normal((20, *SHAPE[1:])).astype("f2")
    out = windows(record, np.array([3, 12]), 4)
    np.testing.assert_array_equal(out[1], record[12:16])
    assert out.dtype == np.float16


def test_inflation_brings_spread_to_error() -> None:
    mse, variance = np.array([4.0, 8.0]), np.array([1.0, 2.0])
    assert np.mean(variance * inflation(mse, variance) ** 2) == pytest.approx(np.mean(mse))


# --- networks


@pytest.fixture(scope="module")
def spec() -> StateSpec:
    surface = ("2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind", "mean_sea_level_pressure")
    channels: list[tuple[str, int | None]] = [(n, None) for n in (*surface, "sea_surface_temperature")]
    for name in ("temperature", "u_component_of_wind", "v_component_of_wind", "geopotential"):
        channels += [(name, level) for level in (50, 100, 500, 850)]
    channels += [("specific_humidity", level) for level in (200, 500, 850)]
    latitude = tuple(np.linspace(-87, 87, 48))
    return StateSpec(tuple(channels), latitude, tuple(np.arange(96) * 3.75), 6, 8, ("sea_surface_temperature",))


@pytest.fixture(scope="module")
def land(spec: StateSpec) -> np.ndarray:
    return np.broadcast_to(np.arange(96) < 30, (48, 96)).astype(float)


@pytest.fixture(scope="module")
def mask(spec: StateSpec, land: np.ndarray) -> np.ndarray:
    mask = np.ones(spec.shape, bool)
    mask[spec.index("sea_surface_temperature")] = land == 0
    return mask


def test_columns(spec: StateSpec, land: np.ndarray) -> None:
    deviation = np.full(spec.shape[0], 1e-3)
    reports = network("A", spec, deviation, land=land)
    assert set(reports.time) == {0, 2, 4, 6}
    cells = np.unique(reports.cell)
    assert len(cells) == 415
    seen = {spec.channels[c] for c in np.unique(reports.channel)}
    assert ("temperature", 100) in seen and ("temperature", 50) not in seen
    assert {level for name, level in seen if name == "specific_humidity"} == {500, 850}
    assert ("mean_sea_level_pressure", None) in seen and ("geopotential", 500) not in seen
    assert len(reports) == 415 * 4 * len(seen)
    humidity = reports.channel == spec.index("specific_humidity", 850)
    np.testing.assert_allclose(reports.error[humidity], 3e-4)
    wind = reports.channel == spec.index("u_component_of_wind", 500)
    np.testing.assert_allclose(reports.error[wind], 1.0)
    # Land is 31 % of the sphere here and four times as dense; the north is up to three times as dense as the south.
    assert land.ravel()[cells].mean() == pytest.approx(4 * 30 / (4 * 30 + 66), abs=0.08)
    assert (cells // 96 >= 24).mean() > 0.65


def test_surface_points_are_uniform_on_the_sphere(spec: StateSpec) -> None:
    reports = network("B", spec, np.ones(spec.shape[0]))
    cells = np.unique(reports.cell)
    assert len(cells) == 230 and set(reports.time) == set(range(8)) and len(reports) == 230 * 8 * 4
    latitude = np.array(spec.latitude)[cells // 96]
    assert (np.abs(latitude) < 30).mean() == pytest.approx(0.5, abs=0.1)


def test_values_lie_where_the_channel_exists(spec: StateSpec, mask: np.ndarray) -> None:
    deviation = np.arange(1.0, spec.shape[0] + 1)
    reports = network("C", spec, deviation, mask=mask)
    assert len(reports) == 8 * round(0.01 * mask.sum())
    assert mask.reshape(len(mask), -1)[reports.channel, reports.cell].all()
    np.testing.assert_allclose(reports.error, 0.1 * deviation[reports.channel])
    keys = np.stack([reports.time, reports.channel, reports.cell])
    assert np.unique(keys, axis=1).shape == keys.shape
    assert not np.array_equal(reports.cell[reports.time == 0], reports.cell[reports.time == 1])


@pytest.mark.parametrize("kind", ["A", "B", "C"])
def test_seeds_decide(spec: StateSpec, kind: str) -> None:
    one, same, other = (network(kind, spec, np.ones(spec.shape[0]), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.cell, same.cell)
    assert not np.array_equal(one.cell, other.cell)


def test_unknown_network(spec: StateSpec) -> None:
    with pytest.raises(OptionError, match="'A', 'B', 'C'"):
        network("Z", spec, np.ones(spec.shape[0]))


@pytest.mark.parametrize("kind", ["A", "B", "C"])
def test_both_forms_say_the_same(spec: StateSpec, land: np.ndarray, mask: np.ndarray, kind: str) -> None:
    rng = np.random.default_rng(3)
    truth = rng.standard_normal((8, *spec.shape))
    times = np.datetime64("2005-01-01", "s") + np.arange(8) * spec.step
    reports = network(kind, spec, rng.uniform(1, 2, spec.shape[0]), land=land, mask=mask)
    values = draw_values(reports, truth)
    obs = to_observations(reports, spec, times, values)
    columns: list[list[float]] = []
    for name in spec.variables:
        if name not in obs:
            continue
        rows = np.flatnonzero(obs[name].notnull())
        part = obs.isel(obs=rows)
        time = np.searchsorted(times, part.time.values)
        level = part.level.values
        channel = [spec.index(name, None if np.isnan(lev) else int(lev)) for lev in level]
        cell = np.searchsorted(spec.latitude, part.latitude) * 96 + np.searchsorted(spec.longitude, part.longitude)
        columns += np.stack([time, channel, cell, part[name], part[f"{name}_error"]], 1).tolist()
    expected = np.stack([reports.time, reports.channel, reports.cell, values, reports.error], 1)
    np.testing.assert_allclose(sorted(columns), sorted(expected.tolist()))
    if kind != "C":
        standard = (values - reports.read(truth)) / reports.error
        assert standard.std() == pytest.approx(1, abs=5 / np.sqrt(2 * len(reports)))


def test_reports_in_standardised_units(rng: np.random.Generator) -> None:
    scale = rng.uniform(1, 2, (2, 4, 6))
    reports = Reports(np.array([0]), np.array([1]), np.array([8]), np.array([3.0]))
    np.testing.assert_allclose(reports.in_units_of(scale), 3 / scale[1, 1, 2])
    latitude = np.array([-60.0, 60.0])
    np.testing.assert_allclose(channel_deviation(np.array([[[1.0], [7.0]]]), latitude), 5.0)


def test_stations(spec: StateSpec, land: np.ndarray) -> None:
    times = np.datetime64("2005-01-01", "s") + np.arange(8) * spec.step
    obs = stations(spec, times, land, 500 * land)
    assert obs.sizes["obs"] == 8 * 1500 and len(np.unique(obs.station)) == 1500
    assert (obs["longitude"].values < 30 * 3.75).mean() > 0.85
    assert float(obs["2m_temperature_error"][0]) == pytest.approx(np.sqrt(2))
    assert float(abs(obs.latitude).max()) <= 90 and float(obs.altitude.min()) >= 0


# --- scores of arrays


def test_gaussian_crps_is_that_of_a_large_sample(rng: np.random.Generator) -> None:
    sample = 0.7 + 1.3 * rng.standard_normal(200_000)
    half = rng.permutation(sample)
    brute = np.abs(sample).mean() - 0.5 * np.abs(sample - half).mean()
    assert float(gaussian_crps(np.array(0.7), np.array(1.3))) == pytest.approx(brute, abs=0.01)
    np.testing.assert_allclose(gaussian_crps(np.array([-2.0]), np.array([0.0])), [2.0])


def test_channel_scores(rng: np.random.Generator) -> None:
    latitude = np.array([-60.0, 0.0, 60.0])
    members, truth = rng.standard_normal((5, 8, 2, 3, 4)), rng.standard_normal((8, 2, 3, 4))
    mask = np.ones((2, 3, 4), bool)
    mask[1, :, 0] = False
    factor = rng.uniform(1, 2, (2, 3, 4))
    hidden = np.where(mask, truth, np.nan)
    scores = channel_scores(members, hidden, latitude, mask=mask, factor=factor)
    weight = np.broadcast_to(np.array([0.5, 1, 0.5])[:, None], (3, 4)) * mask
    error = ((members.mean(0) - truth) * factor) ** 2
    expected = [np.mean([np.average(error[t, c], weights=weight[c]) for t in range(7)]) for c in range(2)]
    np.testing.assert_allclose(scores["mse"], expected)
    np.testing.assert_allclose(scores["mse_last"], [np.average(error[7, c], weights=weight[c]) for c in range(2)])
    pairs = np.abs(members[:, None] - members[None]).sum((0, 1)) / (2 * 5 * 4)
    crps = (np.abs(members - truth).mean(0) - pairs) * factor
    np.testing.assert_allclose(scores["crps_last"], [np.average(crps[7, c], weights=weight[c]) for c in range(2)])


def test_a_calibrated_gaussian_and_its_members_score_alike(rng: np.random.Generator) -> None:
    latitude = np.linspace(-80, 80, 40)
    shape = (4, 2, 40, 60)
    mean, deviation = rng.standard_normal(shape), rng.uniform(0.5, 1.5, shape)
    truth = mean + deviation * rng.standard_normal(shape)
    members = mean + deviation * rng.standard_normal((10, *shape))
    gauss = summary([channel_scores(mean, truth, latitude, variance=deviation**2)])
    sample = summary([channel_scores(members, truth, latitude)])
    assert gauss["spread_skill"] == pytest.approx(1, abs=0.03) and sample["spread_skill"] == pytest.approx(1, abs=0.03)
    assert sample["crps"] == pytest.approx(gauss["crps"], rel=0.03)
    assert sample["rmse"] == pytest.approx(gauss["rmse"] * np.sqrt(1.1), rel=0.03)


def test_cf_form_is_a_dataset(spec: StateSpec) -> None:
    times = np.datetime64("2005-01-01", "s") + np.arange(8) * spec.step
    obs = to_observations(network("A", spec, np.ones(spec.shape[0])), spec, times)
    assert isinstance(obs, xr.Dataset) and set(obs.dims) == {"obs"}
    assert obs["temperature"].attrs["units"] == "K"
    assert obs["temperature"].attrs["ancillary_variables"] == "temperature_error"

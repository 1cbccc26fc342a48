"""Representativeness by grid spacing, and correlated errors from observations to tensors."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import xappa
from xappa.errors import ObservationError, OptionError
from xappa.observations import (
    Correlation,
    concat,
    observation_errors,
    read_observations,
    with_correlation,
    with_representativeness,
)
from xappa.observations.errors.correlation import list_correlations
from xappa.observations.errors.noise import draw_standard_errors
from xappa.observations.errors.representativeness import compute_grid_spacing, estimate_representativeness
from xappa.operators.forward.correlated import build_error_covariance

T, T2 = "temperature", "2m_temperature"


def soundings() -> xr.Dataset:
    frame = pd.DataFrame(
        {
            "time": "2024-01-01",
            "lat": [0.0] * 3 + [10.0] * 3,
            "lon": 0.0,
            "station": ["a"] * 3 + ["b"] * 3,
            "level": [1000.0, 500.0, 850.0, 1000.0, 500.0, 250.0],
            "t": 250.0,
        }
    )
    return read_observations(frame, error={"t": 2.0})


def test_it_grows_with_the_cell_and_is_added_to_the_variance():
    sizes = [estimate_representativeness(T2, side) for side in (10.0, 40.0, 300.0)]
    assert sizes == sorted(sizes) and 0.8 < sizes[-1] < 1.2
    # By definition: k(p) a (L / 300 km)^p, here with p = 1.01 and k = 0.112.
    assert float(sizes[-1]) == pytest.approx(np.sqrt(9.4 * 0.1111), rel=0.01)
    frame = pd.DataFrame({"time": "2024-01-01", "lat": [0.0, 60.0], "lon": 0.0, "t2m": 280.0})
    obs = with_representativeness(read_observations(frame, error={T2: 0.5}), 2.8)
    side = 111.2 * 2.8 * np.sqrt([1.0, 0.5])
    np.testing.assert_allclose(obs[f"{T2}_error"], np.sqrt(0.25 + estimate_representativeness(T2, side) ** 2))
    with pytest.raises(OptionError, match="already"):
        with_representativeness(obs, 2.8)


def test_it_is_what_a_linear_fit_leaves_of_a_random_field(rng):
    """Fields with this structure function, drawn on a square; what a plane leaves of them has the stated variance."""
    n, side = 14, 300.0
    axis = (np.arange(n) + 0.5) / n * side
    x, y = (a.ravel() for a in np.meshgrid(axis, axis))
    structure = 9.4 * (np.hypot(x[:, None] - x, y[:, None] - y) / 300.0) ** 1.01
    plane = np.linalg.qr(np.stack([np.ones_like(x), x, y], 1))[0]
    project = np.eye(n * n) - plane @ plane.T
    covariance = -0.5 * project @ structure @ project
    values, vectors = np.linalg.eigh(covariance)
    fields = vectors * np.sqrt(values.clip(0)) @ rng.standard_normal((n * n, 4000))
    assert float(fields.std()) == pytest.approx(float(estimate_representativeness(T2, side)), rel=0.03)


def test_aloft_it_goes_by_level():
    level = np.array([850.0, 500.0, 250.0, np.nan])
    wind = estimate_representativeness("u_component_of_wind", 300.0, level)
    assert wind[2] > wind[1] > 1.0
    assert (estimate_representativeness("brightness_temperature", 300.0, level) == 0.0).all()
    obs = with_representativeness(soundings(), xr.Dataset(coords={"lat": [0.0, 3.75], "lon": [0.0, 3.75]}))
    assert (obs[f"{T}_error"] > 2.0).all()
    assert obs[f"{T}_error"].attrs["representativeness_km"] == pytest.approx(414.0, abs=4.0)


def test_tables_with_a_grid():
    plain, coarse = observation_errors("ecmwf-like"), observation_errors("ecmwf-like", grid=3.75)
    assert coarse[T2] > plain[T2] and all(coarse[T][p] > plain[T][p] for p in plain[T])
    assert observation_errors("ecmwf-like", grid=0.25) == plain  # 40 km are in it already
    assert observation_errors("speedy-twin", grid=3.75) == observation_errors("speedy-twin")
    assert read_observations(soundings(), error=coarse).sizes["obs"] == 6


@pytest.mark.parametrize("grid", [0.0, -1.0, xr.Dataset()])
def test_grids_that_are_none(grid):
    with pytest.raises(OptionError, match="grid"):
        compute_grid_spacing(grid, np.zeros(1))


def dense(obs: xr.Dataset, covariance) -> np.ndarray:
    return (covariance @ torch.eye(obs.sizes["obs"], dtype=torch.float64)).numpy()


def rows(obs: xr.Dataset, **more):
    size = obs.sizes["obs"]
    zeros, error = np.zeros(size, int), obs[f"{T}_error"].to_numpy()
    return build_error_covariance(obs, (T,), zeros, np.arange(size), error, dtype=torch.float64, **more)


def test_along_profiles():
    obs = with_correlation(soundings(), {T: Correlation("exponential", "level", scale=0.5)})
    found = dense(obs, rows(obs))
    p = np.log(obs["level"].to_numpy())
    same = obs["station"].to_numpy()[:, None] == obs["station"].to_numpy()
    np.testing.assert_allclose(found, 4.0 * same * np.exp(-np.abs(p[:, None] - p) / 0.5), atol=1e-12)


def test_in_blocks_and_along_tracks():
    obs = soundings()
    uniform = with_correlation(obs, {T: Correlation("uniform", strength=0.3)})
    same = obs["station"].to_numpy()[:, None] == obs["station"].to_numpy()
    np.testing.assert_allclose(dense(obs, rows(uniform)), 4.0 * np.where(np.eye(6) > 0, 1.0, 0.3 * same), atol=1e-12)
    place = with_correlation(obs, {T: Correlation("exponential", "place", scale=1000.0, by=())})
    far = dense(obs, rows(place))[0, 3]
    assert far == pytest.approx(4.0 * np.exp(-6371.0 * np.deg2rad(10.0) / 1000.0), rel=1e-3)
    frame = pd.DataFrame(
        {
            "time": pd.date_range("2024-01-01", periods=4, freq="h"),
            "lat": [0.0, 1.0, 2.0, 1.0],
            "lon": 0.0,
            "station": "ship",
            "t": 280.0,
            "level": 1000.0,
        }
    )
    ship = read_observations(frame, error={"t": 2.0})
    track = with_correlation(ship, {T: Correlation("exponential", "track", scale=500.0, by=("station",))})
    degree = 6371.0 * np.deg2rad(1.0)
    np.testing.assert_allclose(dense(ship, rows(track))[0], 4.0 * np.exp(-degree / 500.0 * np.arange(4)), rtol=1e-9)
    hours = with_correlation(ship, {T: Correlation("exponential", "time", scale=2.0, by=("station",))})
    np.testing.assert_allclose(dense(ship, rows(hours))[0], 4.0 * np.exp(-np.arange(4) / 2.0), rtol=1e-9)


def test_large_blocks_are_cut():
    frame = pd.DataFrame({"time": "2024-01-01", "lat": np.linspace(0, 1, 1100), "lon": 0.0, "t": 250.0, "level": 500.0})
    obs = read_observations(frame, error={"t": 1.0})
    covariance = rows(with_correlation(obs, {T: Correlation("uniform", by=("time",))}))
    assert max(index.shape[1] for _, part in covariance.parts for index, _ in part.parts) <= 512
    v = torch.ones(1100, dtype=torch.float64)
    torch.testing.assert_close(covariance.solve(covariance @ v), v)


def test_with_an_independent_part_beside_it():
    obs = with_correlation(soundings(), {T: Correlation("exponential", "level", scale=0.5)})
    total = np.full(6, 2.5)
    found = dense(obs, rows(obs, total=total))
    alone = dense(obs, rows(obs))
    np.testing.assert_allclose(found, (alone + (2.5**2 - 4.0) * np.eye(6)) / 2.5**2, atol=1e-12)


def test_independent_errors_need_no_covariance():
    assert rows(soundings()) is None


def test_the_correlation_is_kept():
    one = Correlation("exponential", "level", scale=0.5)
    obs = with_correlation(soundings(), {T: one})
    assert [which for _, which in list_correlations(obs, T)] == [one]
    assert [which for _, which in list_correlations(read_observations(obs, error={"t": 1.0}), T)] == [one]
    pieces = concat([obs.isel(obs=slice(2)), obs.isel(obs=slice(2, None))])
    assert "source" not in pieces.coords
    assert [(rows.tolist(), which) for rows, which in list_correlations(pieces, T)] == [(list(range(6)), one)]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kind": "gaussian"}, "kind='gaussian'"),
        ({"along": "channel", "scale": -1.0}, "(?s)along='channel'.*scale=-1"),
        ({"strength": 1.0}, "strength=1.0"),
        ({"along": "time", "scale": "12h"}, "scale='12h', expected a number above 0"),
        ({"scale": np.timedelta64(12, "h"), "strength": "half"}, "(?s)scale=.*12.*strength='half', expected a number"),
    ],
)
def test_wrong_options_are_named_together(options, match):
    with pytest.raises(OptionError, match=match):
        Correlation(**options)


def test_what_observations_lack():
    with pytest.raises(OptionError, match="No observed quantity 'q'"):
        with_correlation(soundings(), {"q": Correlation()})
    with pytest.raises(OptionError, match="needs the coordinate source"):
        with_correlation(soundings(), {T: Correlation(by=("source",))})


def test_an_analysis_takes_the_correlation_into_account(tiny_model):
    ds = xappa.template("2000-01-01", "2000-01-02", tiny_model)
    times = ds["time"].values
    frame = pd.DataFrame({"time": times[0], "lat": np.linspace(-60, 60, 12), "lon": 0.0, "t2m": 285.0, "station": "a"})
    obs = read_observations(frame, error={"t2m": 1.0})
    alike = with_correlation(obs, {T2: Correlation("uniform", strength=0.95)})
    options = {"model": tiny_model, "seed": 0, "steps": 2}
    independent, correlated = (xappa.assimilate(ds, one, **options)[T2] for one in (obs, alike))
    again = xappa.assimilate(ds, alike, **options)[T2]
    assert independent.data.name != correlated.data.name == again.data.name
    assert float(abs(independent - correlated).max()) > 1e-3
    with pytest.raises(OptionError, match=r"correlated.*mmps"):
        xappa.assimilate(ds, alike, guidance="sda", **options)[T2].compute()


SHORT, LONG = Correlation("exponential", "level", scale=0.2), Correlation("exponential", "level", scale=0.9)
HOURS = Correlation("exponential", "time", scale=3.0, by=("station",))


def sounding(station: str, latitude: float, correlation: Correlation | None = None, **columns) -> xr.Dataset:
    table = {"time": pd.date_range("2024-01-01", periods=3, freq="h"), "lat": latitude, "lon": 0.0, "station": station}
    table |= {"level": [850.0, 700.0, 500.0], "t": [280.0, 270.0, 255.0], "t_error": 2.0} | columns
    obs = read_observations(pd.DataFrame(table), units={"t": "K"})
    if correlation is not None and correlation is not HOURS:
        obs = obs.assign_coords(time=("obs", np.repeat(obs["time"].values[:1], 3)))
    return obs if correlation is None else with_correlation(obs, {T: correlation})


def block(obs: xr.Dataset) -> np.ndarray:
    """Covariance of three reports of one source, from its own statement."""
    found = rows(obs)
    return 4.0 * np.eye(3) if found is None else dense(obs, found)


class TestSources:
    """What is said of one source holds for that source, in whatever order they come."""

    @pytest.mark.parametrize("labels", [("a", "b", "c"), None])
    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
    @pytest.mark.parametrize("kinds", [(SHORT, LONG, None), (SHORT, HOURS, None), (SHORT, SHORT, HOURS)])
    def test_each_keeps_its_own(self, labels, order, kinds):
        # All three have the same station and time, so that nothing but the source keeps them apart.
        parts = [sounding("x", 10.0 * k, kinds[k]) for k in order]
        obs = read_observations(parts if labels is None else {labels[k]: p for k, p in zip(order, parts, strict=True)})
        expected = np.zeros((9, 9))
        for k, part in enumerate(parts):
            expected[3 * k : 3 * k + 3, 3 * k : 3 * k + 3] = block(part)
        np.testing.assert_allclose(dense(obs, rows(obs)), expected, atol=1e-12)

    def test_independent_ones_stay_so_where_another_has_none_of_the_quantity(self):
        table = {"time": "2024-01-01", "lat": 0.0, "lon": 0.0, "station": "x", "level": [850.0, 700.0, 500.0]}
        theta = pd.DataFrame(table | {"theta": 300.0, "theta_error": 2.0})
        obs = read_observations(
            [sounding("x", 10.0, SHORT), read_observations(theta, units={"theta": "K"}, derive=False)]
        )
        obs = read_observations(obs)
        error = obs[f"{T}_error"].to_numpy()
        found = build_error_covariance(obs, (T,), np.zeros(6, int), np.arange(6), error, dtype=torch.float64)
        np.testing.assert_allclose(dense(obs, found)[3:, 3:], np.diag(error[3:] ** 2))

    def test_joined_again_they_keep_it(self):
        two = read_observations({"a": sounding("x", 0.0, SHORT), "b": sounding("x", 10.0, LONG)})
        three = read_observations([two, sounding("x", 20.0, HOURS)])
        assert [which for _, which in list_correlations(three, T)] == [SHORT, LONG, HOURS]
        pieces = concat([two.isel(obs=[0, 3]), two.isel(obs=[1, 2, 4, 5])])
        assert [which for _, which in list_correlations(pieces, T)] == [SHORT, LONG]
        clash = concat([two, read_observations({"a": sounding("x", 20.0, HOURS)})])
        assert dict.fromkeys(clash["source"].values) == dict.fromkeys(["a", "b", "a 2"])
        assert [which for _, which in list_correlations(clash, T)] == [SHORT, LONG, HOURS]

    def test_stated_by_source(self):
        obs = read_observations({"a": sounding("x", 0.0), "b": sounding("x", 10.0)})
        both = with_correlation(obs, {T: SHORT})
        assert [(r.tolist(), which) for r, which in list_correlations(both, T)] == [
            ([0, 1, 2], SHORT),
            ([3, 4, 5], SHORT),
        ]
        one = with_correlation(obs, {T: {"b": LONG}})
        assert [(r.tolist(), which) for r, which in list_correlations(one, T)] == [([3, 4, 5], LONG)]
        more = with_correlation(one, {T: {"a": SHORT}})
        assert [which for _, which in list_correlations(more, T)] == [SHORT, LONG]
        with pytest.raises(OptionError, match="No source 'c'.*'a', 'b'"):
            with_correlation(obs, {T: {"c": SHORT}})

    @pytest.mark.parametrize("size", [1, 3])
    def test_what_xarray_joins_is_refused_with_what_to_do(self, size):
        parts = [sounding("x", 0.0, SHORT).isel(obs=slice(size)), sounding("x", 10.0, LONG).isel(obs=slice(size))]
        joined = xr.concat(parts, "obs")
        with pytest.raises(ObservationError, match=rf"not said of {size} reports.*read_observations\(\[a, b\]\)"):
            read_observations(joined)
        told = with_correlation(joined, {T: SHORT})
        assert [which for _, which in list_correlations(read_observations(told), T)] == [SHORT]

    def test_pieces_that_say_the_same_are_joined_by_xarray_too(self):
        obs = sounding("x", 0.0, SHORT)
        joined = read_observations(xr.concat([obs.isel(obs=[0]), obs.isel(obs=[1, 2])], "obs"))
        assert [(r.tolist(), which) for r, which in list_correlations(joined, T)] == [([0, 1, 2], SHORT)]

    @pytest.mark.parametrize("first", [0, 1])
    def test_with_others_of_which_nothing_was_said_xarray_refuses_itself(self, first):
        parts = [sounding("x", 0.0, SHORT), sounding("x", 10.0)]
        with pytest.raises(ValueError, match="error_correlation"):
            xr.concat([parts[first], parts[1 - first]], "obs")

    def test_what_is_stated_of_one_quantity_holds_without_the_other(self):
        obs = sounding("x", 0.0, SHORT).assign(geopotential=("obs", [1e4, 3e4, 5e4], {"units": "m2 s-2"}))
        both = with_correlation(obs, {"geopotential": LONG})
        for name, which in ((T, SHORT), ("geopotential", LONG)):
            assert [found for _, found in list_correlations(both[[name]], name)] == [which]

    def test_sources_of_which_nothing_is_said_are_refused(self):
        obs = read_observations({"a": sounding("x", 0.0, SHORT), "b": sounding("x", 10.0, LONG)})
        other = obs.assign_coords(source=("obs", ["a"] * 3 + ["c"] * 3))
        with pytest.raises(ObservationError, match="not said of the source 'c'"):
            read_observations(other)
        with pytest.raises(ObservationError, match="not said of the source ''"):
            read_observations(obs.drop_vars("source"))

    def test_a_file_keeps_it(self, tmp_path):
        obs = read_observations({"a": sounding("x", 0.0, SHORT), "b": sounding("x", 10.0)})
        obs.to_netcdf(tmp_path / "obs.nc")
        again = read_observations(tmp_path / "obs.nc")
        assert [(r.tolist(), which) for r, which in list_correlations(again, T)] == [([0, 1, 2], SHORT)]

    def test_it_is_kept_where_a_name_is_told(self):
        renamed = sounding("x", 0.0, SHORT).rename({T: "temp", f"{T}_error": "temp_error"}).drop_vars(f"{T}_flag")
        again = read_observations(renamed, rename={"temp": T})
        assert [which for _, which in list_correlations(again, T)] == [SHORT]

    def test_means_leave_it_out_and_say_so(self):
        obs = read_observations({"a": sounding("x", 0.0, SHORT), "b": sounding("x", 10.0)})
        means = xappa.superob(obs, 1.0)
        assert means.attrs["superob_error_correlation"] == "left out, of the reports' temperature"
        assert not list_correlations(means, T)

    def test_drawn_errors_are_independent_between_sources(self):
        obs = read_observations({"a": sounding("x", 0.0, LONG), "b": sounding("x", 10.0, LONG)})
        drawn = draw_standard_errors(obs, T, np.arange(6), (20000, 6), seed=0)
        found, expected = np.corrcoef(drawn.T), np.zeros((6, 6))
        expected[:3, :3] = expected[3:, 3:] = block(sounding("x", 0.0, LONG)) / 4.0
        np.testing.assert_allclose(found, expected, atol=0.03)

    @pytest.mark.parametrize("form", ["labelled", "list", "with operators"])
    def test_the_analysis_does_not_depend_on_their_order(self, tiny_model, form):
        ds = xappa.template("2024-01-01", "2024-01-01T18", tiny_model)
        places = {"level": [850.0, 500.0, 500.0], "t": [280.0, 270.0, 270.0]}
        parts = {name: sounding("x", 20.0 * k, kind, **places) for k, (name, kind) in enumerate(
            {"a": SHORT, "b": Correlation("uniform", strength=0.9), "c": None}.items()
        )}  # fmt: skip
        options = {"model": tiny_model, "seed": 0, "steps": 3, "quality": "none"}
        found = []
        for order in (("a", "b", "c"), ("c", "b", "a")):
            chosen = {name: parts[name] for name in order}
            sources = list(chosen.values()) if form == "list" else chosen
            operator = {name: "nearest" if name == "a" else "interpolate" for name in order}
            options["operator"] = operator if form == "with operators" else None
            found.append(xappa.assimilate(ds, sources, **options)[T].values)
        np.testing.assert_array_equal(found[0], found[1])
        alone = xappa.assimilate(ds, {name: part.drop_attrs() for name, part in parts.items()}, **options)[T].values
        assert np.abs(alone - found[0]).max() > 1e-3

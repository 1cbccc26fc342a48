"""The error of the autoencoder on decoded members, and in scores."""

import numpy as np
import pytest
import xarray as xr
from scipy.stats import expon, norm

import xappa
from tests.one_day import cheap_options, reports, template
from xappa.model.reconstruction import MOST, add_reconstruction_error, correlate_noise, estimate_error_spectra
from xappa.verification import scores

options = pytest.fixture(scope="module")(cheap_options)
ds = pytest.fixture(scope="module")(template)
obs = pytest.fixture(scope="module")(reports)


class TestNoise:
    """Fields with noise of the error's size, correlated as it is."""

    def test_noise_is_correlated_as_the_error_is(self) -> None:
        rng = np.random.default_rng(0)
        white = rng.standard_normal((600, 2, 8, 16)).astype("f4")
        kernel = (white + np.roll(white, 1, -1)) / np.sqrt(2)
        residual = np.concatenate([0.3 * kernel[:, :1], white[:, 1:]], 1)
        spectra = estimate_error_spectra(residual)
        assert {k: v.shape for k, v in spectra.items()} == {"error_zonal": (2, 9), "error_meridional": (2, 8)}
        made = correlate_noise(rng.standard_normal((800, 2, 8, 16)).astype("f4"), spectra)
        np.testing.assert_allclose(made.std((0, 3)), 1.0, atol=0.06)
        neighbours = (made * np.roll(made, 1, -1)).mean((0, 2, 3))
        np.testing.assert_allclose(neighbours, [0.5, 0.0], atol=0.04)
        np.testing.assert_array_equal(correlate_noise(white, {}), white)

    def test_training_leaves_the_spectra_with_the_model(self, options) -> None:
        model = xappa.load(options["model"])
        channels, height, width = model.spec.shape
        assert model.statistics["error_zonal"].shape == (channels, width // 2 + 1)
        assert model.statistics["error_meridional"].shape == (channels, height)
        white = np.random.default_rng(0).standard_normal((50, *model.spec.shape)).astype("f4")
        assert not np.allclose(correlate_noise(white, model.statistics), white, atol=0.1)


class TestAmounts:
    """Errors of sums over time."""

    def values(self, amount: np.ndarray, mean: float, deviation: float, draws: int = 40_000) -> np.ndarray:
        """Draws of amounts (draw, 1, place), beside a channel that is none."""
        rng = np.random.default_rng(0)
        fields = np.broadcast_to(np.stack([amount, amount])[:, None], (draws, 1, 2, 1, len(amount))).astype("f4")
        noise = rng.standard_normal(fields.shape).astype("f4")
        size = np.full((2, 1, len(amount)), deviation)
        return add_reconstruction_error(fields, noise, size, np.full((1, 2, 1, len(amount)), mean), [1])[:, 0, :, 0]

    def test_the_mean_stays_and_the_variance_grows_with_the_amount(self) -> None:
        amount = np.array([0.5, 1.0, 2.0, 4.0])
        other, made = np.moveaxis(self.values(amount, mean=2.0, deviation=1.5), 1, 0)
        np.testing.assert_allclose(made.mean(0), amount, rtol=0.03)
        np.testing.assert_allclose(made.var(0), 1.5**2 * amount / 2.0, rtol=0.05)
        assert made.min() >= 0
        np.testing.assert_allclose(other.std(0), 1.5, rtol=0.02)

    def test_the_variance_has_a_bound(self) -> None:
        for mean in (0.0, 0.01, 1.0):
            made = self.values(np.array([12.0]), mean=mean, deviation=0.8)[:, 1]
            assert made.var() == pytest.approx(MOST * 0.8**2, rel=0.05)

    def test_dry_missing_and_exact_places_have_none(self) -> None:
        amount = np.array([0.0, -0.3, np.nan, 1.0])
        made = self.values(amount, mean=2.0, deviation=1.5, draws=10)[:, 1]
        np.testing.assert_array_equal(made[:, :3], np.broadcast_to(amount[:3].astype("f4"), (10, 3)))
        np.testing.assert_array_equal(self.values(amount, mean=2.0, deviation=0.0, draws=10)[:, 1, 3], 1.0)

    def test_quantiles_are_those_of_the_noise(self) -> None:
        noise = np.linspace(-3, 3, 31).reshape(31, 1, 1, 1, 1)
        made = add_reconstruction_error(
            np.ones_like(noise), noise, np.ones((1, 1, 1)), np.ones((1, 1, 1, 1)), [0]
        ).ravel()
        # an exponential distribution: amount, deviation and mean are one
        np.testing.assert_allclose(made, expon.ppf(norm.cdf(noise.ravel())), rtol=1e-6)


class TestMembers:
    """Dressed members of an analysis, and scores of members that are not."""

    def test_fields_are_not_dressed_unless_asked(self, ds, obs, options) -> None:
        plain = ds.appa.assimilate(obs, **options)
        with xappa.set_options(dress=True):
            noisy = ds.appa.assimilate(obs, **options)
        assert (plain.attrs["xappa_dressed"], noisy.attrs["xappa_dressed"]) == ("False", "True")
        assert float(np.abs(plain["temperature"] - noisy["temperature"]).max()) > 0.1

    def test_noise_of_a_pair_is_opposite_too(self, ds, obs, options) -> None:
        pairs = {**options, "sampler": xappa.samplers.LMS(antithetic=True)}
        plain = ds.appa.assimilate(obs, **pairs)["temperature"]
        with xappa.set_options(dress=True):
            noisy = ds.appa.assimilate(obs, **pairs)["temperature"]
        assert float(np.abs(noisy - plain).max()) > 0.1
        np.testing.assert_allclose(noisy.mean("member"), plain.mean("member"), atol=1e-3)

    def test_scores_against_reports_count_the_error(self, ds, obs, options) -> None:
        with xappa.set_options(clip=False):
            plain = ds.appa.assimilate(obs, **{**options, "members": 6}).compute()
        metrics = ["rmse", "crps", "spread", "error", "expected"]
        found = plain.appa.verify(obs, metrics)["2m_temperature"]
        bare = plain.drop_attrs(deep=False).appa.verify(obs, metrics)["2m_temperature"]
        model = xappa.load(options["model"])
        assert float(found.sel(metric="rmse")) == pytest.approx(float(bare.sel(metric="rmse")), abs=1e-2)
        added = found.sel(metric="expected") ** 2 - bare.sel(metric="expected") ** 2
        typical = np.square(model.error[0] * model.scale[0])
        assert typical.min() < float(added) < 1.01 * typical.max()

    def test_crps_of_dressed_members_is_that_of_many_draws(self, rng) -> None:
        members = xr.DataArray(rng.normal(0, 1, (4, 30)), dims=("member", "obs"))
        truth, deviation = xr.DataArray(rng.normal(0, 1, 30), dims="obs"), xr.DataArray(np.full(30, 0.7), dims="obs")
        draws = [float(scores.crps(members + 0.7 * rng.standard_normal(members.shape), truth)) for _ in range(600)]
        exact = float(scores.crps_dressed(members, truth, deviation))
        assert exact == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / np.sqrt(600))
        assert float(scores.crps_dressed(members, truth, 0 * deviation)) == pytest.approx(
            float(scores.crps(members, truth))
        )

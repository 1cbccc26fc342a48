"""Whether stated errors are those that reports have."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

import xappa
from xappa.errors import FitWarning
from xappa.model.linear_decoder import LinearDecoder
from xappa.sampling.error_evidence import COARSE, _twice_log_likelihood, estimate_common_scale, estimate_subset_scale
from xappa.sampling.fit import warn_of_errors
from xappa.sampling.sampling_tasks import load_model
from xappa.sampling.stated_errors import FEWEST, MOST, MisstatedErrors, _sample_evenly, detect_misstated_errors
from xappa.streaming.graph.diagnostics import find_run

ERRORS = {"2m_temperature": 1.0, "10m_u_component_of_wind": 1.0, "mean_sea_level_pressure": 100.0}


def correlated(size: int) -> np.ndarray:
    """Covariance of neighbours along a line, sixteen times the errors' variance."""
    place = np.arange(size)
    return 16 * np.exp(-np.abs(place[:, None] - place) / 10)


class TestEvidence:
    """The most likely scale of the errors."""

    @pytest.mark.parametrize("alpha", [1 / 9, 1.0, 9.0])
    @pytest.mark.parametrize("kappa", [0.7, 1.0, 1.5])
    def test_the_scale_that_reports_were_drawn_with_is_found(self, alpha, kappa) -> None:
        spread = correlated(120)
        rng = np.random.default_rng(0)
        root = np.linalg.cholesky(kappa * spread + alpha * np.eye(120))
        found = [estimate_common_scale(spread, root @ rng.standard_normal(120))[0] for _ in range(40)]
        middle = np.exp(np.median([np.log(scale.alpha) for scale in found]))
        # Of small errors less is seen, beside a prior whose own variance is in doubt.
        assert middle < 0.5 if alpha < 1 else alpha / 1.5 < middle < alpha * 1.5
        assert sum(scale.sure > 3 for scale in found) == (40 if alpha > 1 else 0)

    def test_the_gain_is_that_of_the_likelihood(self) -> None:
        spread, rng = correlated(6), np.random.default_rng(1)
        departure, some = 5 * rng.standard_normal(6), np.arange(6) < 3
        twice = {
            alpha: 2 * multivariate_normal(np.zeros(6), spread + np.diag(np.where(some, alpha, 1))).logpdf(departure)
            for alpha in COARSE
        }
        found = estimate_subset_scale(spread, departure, some)
        assert found.alpha == max(twice, key=twice.__getitem__)
        assert found.sure**2 == pytest.approx(max(twice.values()) - twice[min(twice, key=lambda a: abs(a - 1))])
        constant = 6 * np.log(2 * np.pi)
        assert _twice_log_likelihood(spread, departure) == pytest.approx(
            2 * multivariate_normal(np.zeros(6), spread).logpdf(departure) + constant
        )

    def test_errors_of_some_are_told_from_the_others(self) -> None:
        spread, rng = correlated(120), np.random.default_rng(2)
        some = np.arange(120) % 3 == 0
        root = np.linalg.cholesky(spread + np.diag(np.where(some, 9.0, 1.0)))
        departure = root @ rng.standard_normal(120)
        right, wrong = (estimate_subset_scale(spread, departure, mine).sure for mine in (some, ~some))
        assert right > 3 and right > wrong + 1


def test_pixels_are_read_off_the_latents_as_the_tangent_gives_them() -> None:
    tangent = LinearDecoder(5, 3, 4)
    z = torch.randn(2, 3, 4, 5)
    row, column = torch.tensor([[0, 1], [11, 5], [6, 7]]), torch.tensor([[0, 15], [15, 3], [8, 0]])
    channel, weight = torch.tensor([[0, 2], [1, 1], [2, 0]]), torch.randn(3, 2)
    with torch.no_grad():
        expected = (tangent(z)[:, channel, row, column] * weight).sum(-1)
    found = torch.einsum("bijc,mijc->bm", z, tangent.adjoint(weight, channel, row, column, (3, 4)))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_each_variable_has_its_share_of_the_reports() -> None:
    variable = np.array([0] * 10000 + [1] * 100 + [2] * 5)
    chosen = variable[_sample_evenly(variable, np.arange(len(variable)))]
    assert len(chosen) == MOST and (np.bincount(chosen) == [46, 45, 5]).all()


class TestOfTheEmbeddedModel:
    """Reports of the nature run."""

    @pytest.fixture
    def truth(self):
        return xappa.tutorial.nature_run().isel(time=[2])

    def found(self, truth, noise, count=150, **options):
        places = xappa.platforms.stations(truth, count, variables=list(ERRORS), seed=4)
        obs = truth.appa.observe(places, error={name: factor * ERRORS[name] for name, factor in noise.items()}, seed=5)
        for name, error in ERRORS.items():
            obs[f"{name}_error"] = (obs[name].dims, np.full(obs[name].shape, error))
        plan, _ = find_run(truth.appa.assimilate(obs, seed=0, **options)).parts[0]
        return detect_misstated_errors(load_model(plan), plan.observations, plan.times)

    def test_right_errors_are_not_suspected(self, truth) -> None:
        assert self.found(truth, dict.fromkeys(ERRORS, 1.0)) is None

    def test_three_times_the_noise_is_noticed(self, truth) -> None:
        found = self.found(truth, dict.fromkeys(ERRORS, 3.0))
        assert found is not None and not found.alone and 2 < found.factor < 4

    def test_one_variable_is_named(self, truth) -> None:
        found = self.found(truth, dict.fromkeys(ERRORS, 1.0) | {"2m_temperature": 5.0})
        assert found is not None and found.alone and found.name == "2m_temperature" and 2 < found.factor < 8

    def test_few_reports_say_nothing(self, truth) -> None:
        assert self.found(truth, dict.fromkeys(ERRORS, 5.0), count=FEWEST // 3 - 1) is None

    def test_functions_of_the_state_are_left_out(self, truth) -> None:
        def cubed(state):
            return (state["2m_temperature"] ** 3 / 288**2).rename("2m_temperature")

        assert self.found(truth, dict.fromkeys(ERRORS, 5.0), operator=cubed, quality="none") is None


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (MisstatedErrors("t", 3.1, True, 90), "of t alone are about 3.1 times .*another height"),
        (MisstatedErrors("t", 3.1, False, 90), "first of all of t, are about 3.1 times .*too small"),
        (MisstatedErrors("t", 0.0, False, 90), "about 0.1 times what was stated, or less.*too large"),
    ],
)
def test_the_warning_names_the_variable_and_a_cause(found, expected) -> None:
    with pytest.warns(FitWarning, match=expected):
        warn_of_errors(found)


def test_an_analysis_warns_of_its_errors() -> None:
    truth = xappa.tutorial.nature_run().isel(time=[2])
    places = xappa.platforms.stations(truth, 100, variables=["2m_temperature"], seed=4)
    obs = truth.appa.observe(places, error=3.0, seed=5)
    obs["2m_temperature_error"] = (obs["2m_temperature"].dims, np.ones(obs.sizes["obs"]))
    analysis = truth.appa.assimilate(obs, effort="preview", seed=0)
    with pytest.warns(FitWarning, match="2m_temperature"):
        analysis["2m_temperature"].compute()
    with warnings.catch_warnings():
        warnings.simplefilter("error", FitWarning)
        obs["2m_temperature_error"] = obs["2m_temperature_error"] * 3
        truth.appa.assimilate(obs, effort="preview", seed=0)["2m_temperature"].compute()

"""A prior of one's own as ``model=``: azula's denoiser of fields, latents of other shapes, and errors."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import dask
import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

import xappa
from tests.own_priors import CHANNELS, STEP, GaussianFields, Mesh, grid
from xappa.diffusion.schedule import LogLinear
from xappa.errors import DatasetError, ModelError, OptionError
from xappa.model.model import Model
from xappa.model.protocol import GenerativeModel
from xappa.observations.schema import build_observations

azula_covariance = pytest.importorskip("azula.linalg.covariance", reason="azula 0.11 is not importable")
azula_denoise = pytest.importorskip("azula.denoise")
azula_noise = pytest.importorskip("azula.noise")

LOW, HIGH = 1e-2, 1e3
START = np.datetime64("2020-03-01T00")
EXACT = {
    "guidance": xappa.guidance.MMPS(iterations=60, tolerance=1e-6),
    "sampler": xappa.samplers.LMS(64, final=True, antithetic=True),
    "quality": "none",
    "operator": "grid",
}


class AzulaFields(GaussianFields):
    """azula's Gaussian denoiser of standardised fields, of windows of any number of times."""

    def __init__(self, window: int, seed: int = 0) -> None:
        super().__init__(window, seed)
        self.denoiser = azula_denoise.GaussianDenoiser(
            torch.zeros(len(self.values), dtype=torch.float64),
            azula_covariance.FullCovariance(self.vectors, self.values),
            azula_noise.VESchedule(LOW, HIGH),
        )
        self.schedule = LogLinear(LOW, HIGH)

    covariance = None  # type: ignore[assignment]

    def denoise(self, x: Tensor, sigma: Tensor, times: np.ndarray) -> Tensor:
        low, high = np.log(LOW), np.log(HIGH)
        t = (torch.log(sigma.double()) - low) / (high - low)
        return self.denoiser(x.flatten(1).double(), t).mean.view_as(x)


def times_of(count: int) -> np.ndarray:
    return START + STEP * np.arange(count)


def template(prior: object, count: int) -> xr.Dataset:
    times = times_of(count)
    return xappa.template(times[0], times[-1], model=prior)


def network(count: int, seed: int = 1) -> tuple[xr.Dataset, np.ndarray, np.ndarray, np.ndarray]:
    """Reports at grid points: as a Dataset, and as positions in the fields, standardised values and variances."""
    rng = np.random.default_rng(seed)
    latitude, longitude = grid()
    size = (count, len(CHANNELS), len(latitude), len(longitude))
    where = np.sort(rng.choice(int(np.prod(size)), 5 * count, replace=False))
    k, channel, row, column = np.unravel_index(where, size)
    standard = rng.normal(size=len(where))
    deviation = np.where(channel == 0, 1.0, 150.0)
    values = GaussianFields.MEAN[channel] + GaussianFields.SCALE[channel] * standard
    coords = {
        "time": times_of(count)[k],
        "latitude": latitude[row],
        "longitude": longitude[column],
        "level": np.where(channel == 0, np.nan, 500.0),
    }
    reported = {n: np.where(channel == c, values, np.nan) for c, (n, _) in enumerate(CHANNELS)}
    errors = {n: np.where(channel == c, deviation, np.nan) for c, (n, _) in enumerate(CHANNELS)}
    scale = GaussianFields.SCALE[channel]
    return build_observations(coords, reported, errors), where, standard, (deviation / scale) ** 2


def posterior(prior: GaussianFields, count: int) -> tuple[xr.Dataset, np.ndarray, np.ndarray]:
    """Reports, and mean and covariance of the standardised fields given them, in closed form."""
    obs, where, y, variance = network(count)
    p = (prior.vectors * prior.values @ prior.vectors.T).numpy()
    p = np.kron(np.eye(count // prior.spec.window), p)
    gain = np.linalg.solve(p[np.ix_(where, where)] + np.diag(variance), p[where]).T
    return obs, gain @ y, p - gain @ p[where]


def standardised(result: xr.Dataset) -> np.ndarray:
    """Members (member, number) of standardised fields, flattened as (time, channel, latitude, longitude)."""
    fields = [
        result["2m_temperature"].transpose("member", "time", "latitude", "longitude").values,
        result["geopotential"].isel(level=0).transpose("member", "time", "latitude", "longitude").values,
    ]
    anomalies = [(f - m) / s for f, m, s in zip(fields, GaussianFields.MEAN, GaussianFields.SCALE, strict=True)]
    return np.stack(anomalies, axis=2).reshape(result.sizes["member"], -1)


class TestPosterior:
    """Members are drawn from the posterior that is known in closed form."""

    @pytest.mark.parametrize(("window", "count"), [(1, 2), (2, 2)], ids=["window 1", "window 2"])
    def test_of_azulas_denoiser_of_the_fields_themselves(self, window: int, count: int) -> None:
        self.require_exact(AzulaFields(window), count)

    def test_of_latents_on_a_mesh(self) -> None:
        self.require_exact(Mesh(2), 2)

    def require_exact(self, prior: GaussianFields, count: int, members: int = 400) -> None:
        obs, mean, covariance = posterior(prior, count)
        chunks = {"time": count, "member": 200}
        made = template(prior, count).appa.assimilate(obs, model=prior, members=members, seed=0, chunks=chunks, **EXACT)
        found = standardised(made.compute(scheduler="synchronous"))
        # The noise of each pair of members cancels in the mean of a linear problem.
        np.testing.assert_allclose(found.mean(0), mean, atol=2e-3)
        white = np.linalg.solve(np.linalg.cholesky(covariance), (found[::2] - mean).T)
        pairs, size = white.shape[1], len(mean)
        sample = white @ white.T / pairs
        assert abs(np.trace(sample) / size - 1) < 4 * np.sqrt(2 / (pairs * size))
        assert np.abs(sample - np.eye(size)).max() < 6 * np.sqrt(2 / pairs)

    def test_the_covariance_that_is_known_serves_jacobian_free_guidance(self) -> None:
        prior = GaussianFields(1)
        obs, mean, _ = posterior(prior, 1)
        guidance = xappa.guidance.JacobianFree(iterations=60, tolerance=1e-6)
        options = EXACT | {"guidance": guidance}
        made = template(prior, 1).appa.assimilate(obs, model=prior, members=2, seed=0, **options)
        np.testing.assert_allclose(standardised(made).mean(0), mean, atol=2e-3)


class TestTasks:
    """The other questions to a Dataset, and what results say of their model."""

    def test_provenance_and_reproduction(self) -> None:
        prior, other = GaussianFields(1), GaussianFields(1)
        ds, (obs, *_) = template(prior, 1), network(1)
        made = [ds.appa.assimilate(obs, model=p, members=1, seed=0, effort="preview") for p in (prior, other)]
        assert made[0].attrs["xappa_run"] == made[1].attrs["xappa_run"]
        assert made[0].attrs["xappa_model"] == "GaussianFields"
        digest = made[0].attrs["xappa_model_digest"]
        assert made[0].attrs["xappa_model_address"] == f"object:{digest}" and digest == xappa.load(other).digest
        xr.testing.assert_identical(made[0].compute(), made[1].compute())

    def test_reports_are_checked_against_its_mean_and_deviation(self) -> None:
        prior, (obs, *_) = GaussianFields(1), network(1)
        name = CHANNELS[0][0]
        first = int(np.flatnonzero(obs[name].notnull())[0])
        obs[name][first] = GaussianFields.MEAN[0] + 40.0
        made = template(prior, 1).appa.assimilate(obs, model=prior, seed=0, effort="preview")
        assert int(xappa.diagnostics(made)["reports"].sel(variable=name, status="background_check").sum()) == 1

    def test_sample_filter_plan_check_encode_and_decode(self) -> None:
        prior, (obs, *_) = GaussianFields(2), network(2)
        ds = template(prior, 2)
        assert ds.appa.sample(model=prior, seed=0, effort="preview").sizes["time"] == 2
        assert ds.appa.filter(obs, model=prior, seed=0, effort="preview").sizes["time"] == 1
        assert ds.appa.plan(obs, model=prior, members=2).evaluations > 0
        fields = ds.appa.sample(model=prior, seed=0, effort="preview").isel(member=0, drop=True).compute()
        assert fields.appa.check(model=prior)
        latents = fields.appa.encode(model=prior, dtype="float32")
        assert latents["latent"].dims == ("time", "latent_channel", "latent_y", "latent_x")
        for again in (latents.appa.decode(model=prior), latents.appa.decode()):
            xr.testing.assert_allclose(again, fields, rtol=1e-5)
        ahead = fields.appa.forecast("12h", model=prior, seed=0, effort="preview")
        assert ahead.sizes["time"] == 2 and np.isfinite(ahead["geopotential"].values).all()

    def test_latents_of_another_shape(self) -> None:
        prior = Mesh(1)
        ds = template(prior, 1)
        fields = ds.appa.sample(model=prior, seed=0, effort="preview").isel(member=0, drop=True).compute()
        latents = fields.appa.encode(model=prior, dtype="float32")
        assert latents["latent"].dims == ("time", "latent_0", "latent_1")
        xr.testing.assert_allclose(latents.appa.decode(model=prior), fields, rtol=1e-4)
        with pytest.raises(DatasetError, match="expected latent_0, latent_1 beside times and members"):
            latents.isel(latent_1=0).appa.decode(model=prior)

    def test_a_background_of_members(self) -> None:
        prior, (obs, *_) = Mesh(1), network(1)
        ds = template(prior, 1)
        ensemble = ds.appa.sample(model=prior, members=4, seed=5, effort="preview").compute()
        made = ds.appa.assimilate(obs, model=prior, background=ensemble, members=2, seed=0, effort="preview")
        assert np.isfinite(made["geopotential"].values).all()
        one = ensemble.isel(member=0, drop=True)
        with pytest.raises(OptionError, match="sees one state at once, makes none"):
            ds.appa.assimilate(obs, model=prior, background=one, seed=0)

    def test_forecasts_of_a_window_of_one(self) -> None:
        prior = GaussianFields(1)
        fields = template(prior, 1).appa.sample(model=prior, seed=0, effort="preview").isel(member=0, drop=True)
        with pytest.raises(OptionError, match="sees one state at once"):
            fields.appa.forecast("6h", model=prior)

    def test_a_model_that_was_loaded(self, tiny_model: Path) -> None:
        model = xappa.load(tiny_model)
        assert xappa.load(model) is model
        ds = xappa.template("2001-01-01T00", "2001-01-01T06", model=model)
        made = [ds.appa.sample(model=m, seed=0, effort="preview").compute() for m in (model, tiny_model)]
        xr.testing.assert_equal(*made)


class TestIdentity:
    """A model's digest says what results depend on."""

    def test_it_changes_with_the_numbers_alone(self) -> None:
        digests = [xappa.load(GaussianFields(1, seed)).digest for seed in (0, 0, 1)]
        assert digests[0] == digests[1] != digests[2]
        network = [AzulaFields(1, seed) for seed in (0, 0, 1)]
        assert dask.base.tokenize(xappa.load(network[0])) == dask.base.tokenize(xappa.load(network[1]))
        assert xappa.load(network[0]).digest != xappa.load(network[2]).digest

    def test_a_token_that_is_told(self) -> None:
        prior, other = GaussianFields(1), GaussianFields(1, 1)
        prior.token = other.token = "the same"  # type: ignore[attr-defined]
        assert xappa.load(prior).digest == xappa.load(other).digest != xappa.load(GaussianFields(1)).digest

    def test_it_is_the_same_in_another_process(self) -> None:
        code = "import pickle, sys; m = pickle.load(sys.stdin.buffer); import xappa; print(xappa.load(m.prior).digest)"
        model = xappa.load(Mesh(1))
        assert pickle.loads(pickle.dumps(model)) is model
        other = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(model), capture_output=True, check=True)
        assert other.stdout.decode().split() == [model.digest]

    def test_an_address_of_another_session(self) -> None:
        with pytest.raises(ModelError, match="this process does not have it"):
            xappa.load("object:" + "0" * 32)


class TestProtocol:
    """What must be there, and what is said if it is not."""

    def test_both_kinds_of_model_have_all_that_sampling_uses(self, tiny_model: Path) -> None:
        names = {n for kind in GenerativeModel.__mro__ for n in vars(kind) if not n.startswith("_")}
        for model in (xappa.load(tiny_model), xappa.load(GaussianFields(1))):
            assert not [name for name in names if not hasattr(model, name)]

    def test_its_pieces_are_those_of_a_model(self, tiny_model: Path) -> None:
        model = xappa.load(tiny_model)
        assert isinstance(model, Model)
        times = START + model.spec.step * np.arange(model.spec.window)
        x = torch.randn(1, model.spec.window, *model.latent_shape, generator=torch.Generator().manual_seed(0))
        found = model.denoise(x, torch.tensor(0.7), times)
        torch.testing.assert_close(
            found, model.make_window_denoisers().make_denoiser(times)(x, torch.tensor(0.7)), rtol=0, atol=0
        )

    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"spec": None}, "spec is NoneType; expected a xappa.StateSpec"),
            ({"spec": xappa.StateSpec((("a", None),), (0.0,), (0.0,), 5, 1)}, "step_hours is 5"),
            ({"schedule": 3.0}, "schedule is float"),
            ({"schedule": type("Flat", (), {"sigma_min": 1.0, "sigma_max": 1.0, "__call__": abs})()}, "0 < min < max"),
            ({"latent_shape": (4, -1)}, "latent_shape is"),
            ({"latent_shape": 3}, "latent_shape is 3"),
            ({"latent_dims": ("y", "x")}, "latent_dims are"),
            ({"token": 3}, "token is int"),
            ({"denoise": 3}, "denoise is no method"),
        ],
    )
    def test_parts_that_cannot_be_used(self, changes: dict, text: str) -> None:
        prior = type("Changed", (GaussianFields,), changes)(1) if "spec" not in changes else GaussianFields(1)
        if "spec" in changes:
            prior.spec = changes["spec"]
        if "schedule" in changes:
            prior.schedule = changes["schedule"]
        with pytest.raises(ModelError, match="cannot be used") as error:
            xappa.load(prior)
        assert text in str(error.value)

    @pytest.mark.parametrize("wrong", [3, 2.5, ["speedy"], object(), xr.Dataset()])
    def test_what_is_no_model(self, wrong: object) -> None:
        with pytest.raises(OptionError, match="an object with spec, schedule, .*lacks"):
            xappa.load(wrong)  # type: ignore[call-overload]

    def test_a_class(self) -> None:
        with pytest.raises(ModelError, match="it is a class; expected an object"):
            xappa.load(type("Fields", (GaussianFields,), {"spec": None}))  # type: ignore[call-overload]

    @pytest.mark.parametrize(
        ("method", "function"),
        [
            ("denoise", lambda self, x, sigma, times: x[:, :, :1]),
            ("denoise", lambda self, x, sigma, times: x.numpy()),
            ("decode", lambda self, latents, times: latents[..., :1]),
        ],
    )
    def test_results_of_other_shapes(self, method: str, function: object) -> None:
        prior = type("Wrong", (GaussianFields,), {method: function})(1)
        made = template(prior, 1).appa.sample(model=prior, seed=0, effort="preview")
        with pytest.raises(ModelError, match=rf"Wrong\.{method} returned .*; expected a tensor \("):
            made.compute()

    def test_fields_of_other_shapes(self) -> None:
        prior = GaussianFields(1)
        prior.scale = np.ones(7)
        with pytest.raises(ModelError, match=r"scale: found the shape \(7,\), expected one that broadcasts"):
            template(prior, 1).appa.sample(model=prior, seed=0).compute()

    def test_options_that_need_what_it_lacks(self) -> None:
        prior, (obs, *_) = AzulaFields(1), network(1)
        with pytest.raises(OptionError, match="needs the covariance of a static prior"):
            template(prior, 1).appa.assimilate(obs, model=prior, guidance="jacobian-free")
        with pytest.raises(OptionError, match="custom prior, which is called with float32"):
            xappa.load(prior, precision="bfloat16")
        assert xappa.load(prior, device="cpu").device == torch.device("cpu")
        with pytest.raises(OptionError, match="has no method 'to'"):
            xappa.load(Mesh(1)).to("meta")

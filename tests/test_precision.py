"""Precision of 16 bits: how far networks, samplers and guidance may be off, and how it is chosen."""

from __future__ import annotations

from functools import partial

import pytest
import torch

import xappa
from tests.benchmarks.random_models import random_denoiser, random_model
from tests.official.networks import autoencoder, transformer
from tests.official_project import Project
from tests.toy import TIMES, error, seeded, toy_model
from xappa.diffusion.guidance import MMPS, SDA, Observation
from xappa.diffusion.preconditioning import Denoiser
from xappa.diffusion.samplers import DDIM, DDPM, LMS, PC, Rewind
from xappa.diffusion.schedule import Rectified
from xappa.errors import OptionError
from xappa.model.precision import autocast, with_scaled_gradients
from xappa.model.window_denoiser import WindowDenoiser
from xappa.streaming.graph.coding import Coder

ROUGHLY = {"bfloat16": 0.03, "float16": 0.004}
"""Relative errors that 16 bits may have, in networks of these depths."""
_seed = pytest.fixture(autouse=True)(seeded)
toy = pytest.fixture(toy_model)


@pytest.mark.parametrize("precision", ROUGHLY)
@pytest.mark.parametrize("folder", ["cae_f32_tiny", "cae_f8_patch2"])
def test_error_of_16_bits_in_the_autoencoder(shared, folder, precision):
    network = autoencoder(shared(f"fixtures/{folder}")).requires_grad_(False)
    x, z = torch.randn(1, network.spec.in_channels, *network.spec.shape), torch.randn(1, *network.spec.latent_shape)
    with autocast(x.device, precision):
        encoded, decoded = network.encode(x), network.decode(z)
    assert 1e-5 < error(encoded, network.encode(x)) < ROUGHLY[precision]
    assert 1e-5 < error(decoded, network.decode(z)) < ROUGHLY[precision]


@pytest.mark.parametrize("precision", ROUGHLY)
@pytest.mark.parametrize("sigma", [1e-3, 0.1, 1.0, 30.0, 1e3])
@pytest.mark.parametrize("folder", ["vidit_tiny", "vidit_tiny_window"])
def test_error_of_16_bits_in_the_denoiser(shared, folder, sigma, precision):
    backbone = transformer(shared(f"fixtures/{folder}")).requires_grad_(False)
    spec, denoiser = backbone.spec, Denoiser(backbone)
    x = torch.randn(1, spec.blanket_size, *spec.shape, spec.in_channels) * (1 + sigma**2) ** 0.5
    date = torch.tensor([[2021, 3, 1, hour] for hour in range(spec.blanket_size)])
    with autocast(x.device, precision):
        found = denoiser(x, torch.tensor(sigma), date)
    assert found.dtype == torch.float32
    # where sigma is small the estimate is the state itself, and the network hardly counts
    assert 0 < error(found, denoiser(x, torch.tensor(sigma), date)) < ROUGHLY[precision]


def test_residual_stream_modulation_and_places_stay_in_single_precision(toy):
    network = toy.denoiser.backbone
    seen = []
    for block in network.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0].dtype, output.dtype)))
    with autocast(torch.device("cpu"), "bfloat16"):
        evaluated = WindowDenoiser(toy).make_denoiser(TIMES[:4])(
            torch.randn(1, 4, *toy.latent_shape), torch.tensor(1.0)
        )
        places = network.compute_shared()
    assert seen == [(torch.float32, torch.float32)] * 2
    assert places.positions.dtype == places.rotations[0].cosine.dtype == evaluated.dtype == torch.float32
    assert torch.equal(places.positions, network.compute_shared().positions)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_noise_levels_are_single_precision_whatever_the_state(toy, dtype):
    """1000 squared is above 65504, where float16 ends."""
    x = 1e3 * torch.randn(1, 4, *toy.latent_shape)
    date = torch.tensor([[2021, 3, 1, hour] for hour in range(4)])
    found = toy.denoiser(x.to(dtype), torch.tensor(1e3, dtype=dtype), date)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, toy.denoiser(x.to(dtype).float(), torch.tensor(1e3).to(dtype).float(), date))


@pytest.mark.parametrize(
    "sampler", [LMS(steps=4), DDIM(4), DDPM(4), PC(steps=4), Rewind(4)], ids=lambda s: type(s).__name__
)
def test_samplers_count_in_single_precision(sampler):
    """The posterior mean of white data, in closed form: all that the sampler does besides is sigma."""
    levels = []

    def denoise(x, sigma):
        levels.append((x.dtype, sigma.dtype))
        return x / (1 + sigma**2)

    def noise(k):
        return torch.randn(1, 50, generator=torch.Generator().manual_seed(k))

    x = 1e3 * torch.randn(1, 50)
    found = sampler(denoise, x.half(), noise, Rectified())
    assert set(levels) == {(torch.float32, torch.float32)}
    assert found.dtype == torch.float16
    torch.testing.assert_close(
        found.float(), sampler(denoise, x.half().float(), noise, Rectified()), rtol=1e-3, atol=1e-3
    )


def test_cotangents_of_any_size_survive_float16():
    network = random_denoiser("toy")
    date = torch.tensor([[2021, 3, 1, hour] for hour in range(4)])
    shape = (2, 4, *random_model("toy").latent_shape)
    x, u = torch.randn(2, *shape)
    x.requires_grad_()

    def half(x):
        with autocast(x.device, "float16"):
            return network(x, torch.tensor(3.0), date)

    (expected,) = torch.autograd.grad(network(x, torch.tensor(3.0), date), x, u)
    y = with_scaled_gradients(half, x)
    for size in (1e-9, 1.0, 1e9):
        each = size * u * torch.tensor([1.0, 1e6]).view(2, 1, 1, 1, 1)
        (found,) = torch.autograd.grad(y, x, each, retain_graph=True)
        for entry, scale in ((0, size), (1, 1e6 * size)):
            assert error(found[entry] / scale, expected[entry]) < 0.01
    (plain,) = torch.autograd.grad(half(x), x, 1e9 * u)
    assert not torch.isfinite(plain).all()  # what would happen without


@pytest.mark.parametrize("precision", ROUGHLY)
@pytest.mark.parametrize("guidance", [MMPS.official(), SDA()], ids=["mmps", "sda"])
@pytest.mark.parametrize("sigma", [0.01, 1.0, 1e3])
def test_guided_estimates_in_16_bits(guidance, precision, sigma):
    """Observations that are a thousand times more precise than float16's range allows for."""
    estimates = []
    x = (1 + sigma**2) ** 0.5 * torch.randn(1, 4, *random_model("toy").latent_shape)
    for model in (random_model("toy"), random_model("toy", precision=precision)):
        y = torch.ones(4 * 20) if not estimates else y  # noqa: F821

        def operator(z, model=model):
            return model.decode(z, TIMES[:4])[:, :, 5, 3, :20].flatten(1)

        guided = guidance.guide(
            WindowDenoiser(model).make_denoiser(TIMES[:4]), Observation(y, operator, torch.full((80,), 1e-2))
        )
        estimates.append(guided(x, torch.tensor(sigma)))
    assert torch.isfinite(estimates[1]).all()
    assert error(estimates[1], estimates[0]) < 5 * ROUGHLY[precision]


def test_precision_is_chosen_by_load_or_by_an_option(tmp_path):
    Project().write(tmp_path / "run")
    single = xappa.load(tmp_path / "run")
    half = xappa.load(tmp_path / "run", precision="bfloat16")
    assert (single.precision, half.precision) == ("float32", "bfloat16")
    assert half.autoencoder is single.autoencoder and half.digest == single.digest
    assert repr(half).endswith("in bfloat16>")
    with xappa.set_options(precision="float16"):
        assert xappa.load(tmp_path / "run").precision == "float16"
        assert xappa.load(tmp_path / "run", precision="float32").precision == "float32"
    with pytest.raises(OptionError, match="'float32', 'bfloat16'"):
        xappa.load(tmp_path / "run", precision="float64")
    with pytest.raises(OptionError, match="precision='half'"):
        xappa.set_options(precision="half")
    latents = torch.randn(1, 2, *single.latent_shape)
    assert 1e-4 < error(half.decode(latents, TIMES[:2]), single.decode(latents, TIMES[:2])) < ROUGHLY["bfloat16"]
    fields = torch.randn(1, 2, *single.spec.shape)
    assert 1e-4 < error(half.encode(fields, TIMES[:2]), single.encode(fields, TIMES[:2])) < ROUGHLY["bfloat16"]


def test_precision_holds_until_an_analysis_is_computed(tmp_path):
    """The option counts at the call, as all options do, and results in other precisions are others."""
    Project().write(tmp_path / "run")
    ds = xappa.template("2021-03-13T00", "2021-03-13T03", model=tmp_path / "run")
    run = partial(ds.appa.sample, model=tmp_path / "run", steps=3, seed=0)
    with xappa.set_options(precision="bfloat16"):
        half = run()
    single = run()
    a, b = (torch.from_numpy(ds["geopotential"].values) for ds in (half, single))
    a, b = a - b.mean(), b - b.mean()
    assert 1e-5 < error(a, b) < 0.1
    assert half.attrs["xappa_run"] != single.attrs["xappa_run"]
    assert half.attrs["xappa_precision"] == "bfloat16"


def test_precision_of_encoded_and_decoded_states(tmp_path):
    Project().write(tmp_path / "run")
    digest = xappa.load(tmp_path / "run").digest
    coders = [Coder(str(tmp_path / "run"), digest, None, precision) for precision in ("float32", "bfloat16")]
    assert [coder.load().precision for coder in coders] == ["float32", "bfloat16"]

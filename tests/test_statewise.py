"""Memory of graphs through the autoencoder: foreseen, and bounded by taking states one by one."""

from __future__ import annotations

import pytest
import torch

import xappa
from tests.benchmarks.random_models import SIZES, random_autoencoder
from tests.official.networks import autoencoder
from tests.toy import TIMES, error, guided_evaluation, seeded, toy_model
from xappa.diffusion.guidance import Linearised
from xappa.model import model as model_module
from xappa.model.checkpointed_map import map_states
from xappa.model.networks.autoencoder import AutoencoderSpec

_seed = pytest.fixture(autouse=True)(seeded)
toy = pytest.fixture(toy_model)


@pytest.mark.parametrize("folder", ["cae_f32_tiny", "cae_f8_tiny", "cae_f4_strided_periodic"])
def test_memory_of_a_graph_is_foreseen(shared, folder):
    network = autoencoder(shared(f"fixtures/{folder}")).requires_grad_(False)
    parameters = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() not in parameters:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    z = torch.randn(1, *network.spec.latent_shape, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network.decode(z)
    found = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    assert 0.7 < found / network.spec.graph_bytes < 1.5


def test_official_states_are_taken_one_by_one():
    spec = AutoencoderSpec(in_channels=71, **SIZES["full"]["autoencoder"])
    assert spec.graph_bytes > model_module.KEPT  # 8.8 GB
    assert xappa.load("speedy").autoencoder.spec.graph_bytes < model_module.KEPT / 256


@pytest.mark.parametrize("size", [1, 2, 3])
def test_statewise_derivatives_are_those_of_the_whole(shared, size):
    network = autoencoder(shared("fixtures/cae_f8_tiny")).double().requires_grad_(False)
    z, v = torch.randn(2, 3, *network.spec.latent_shape, dtype=torch.float64)
    whole, parts = (Linearised(f, z) for f in (network.decode, lambda z: map_states(network.decode, z, size)))
    u = torch.randn_like(whole.value)
    torch.testing.assert_close(parts.value, whole.value, rtol=1e-12, atol=1e-12)
    for _ in range(2):
        torch.testing.assert_close(parts.adjoint(u), whole.adjoint(u), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(parts.forward(v), whole.forward(v), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close((parts.forward(v) * u).sum(), (v * parts.adjoint(u)).sum(), rtol=1e-10, atol=0)


def test_statewise_keeps_nothing_but_its_argument():
    network = random_autoencoder("toy")
    kept = []
    z = torch.randn(3, *network.spec.latent_shape, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        map_states(network.decode, z, 1)
    assert kept == [z.numel()]


def test_second_derivatives_of_statewise_are_refused():
    z = torch.randn(2, 3, requires_grad=True)
    (v,) = torch.autograd.grad(map_states(lambda x: x**3, z, 1).sum(), z, create_graph=True)
    torch.testing.assert_close(v, 3 * z**2)
    assert torch.isnan(torch.autograd.grad(v.sum(), z)[0]).all()


def test_models_bound_their_memory_and_lose_nothing(monkeypatch, toy):
    latents, fields = torch.randn(2, 3, *toy.latent_shape), torch.randn(2, 3, *toy.spec.shape)
    expected = toy.decode(latents, TIMES[:3]), toy.encode(fields, TIMES[:3])
    sizes = []
    real = toy.autoencoder.decode
    monkeypatch.setattr(toy.autoencoder, "decode", lambda z: sizes.append(len(z)) or real(z))
    bounded = toy.with_graph_budget(toy.autoencoder.spec.graph_bytes)
    torch.testing.assert_close(bounded.decode(latents, TIMES[:3]), expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(bounded.encode(fields, TIMES[:3]), expected[1], rtol=1e-4, atol=1e-5)
    assert sizes == [1] * 6


def test_guidance_with_bounded_memory(toy):
    torch.manual_seed(1)
    expected = guided_evaluation(toy)
    torch.manual_seed(1)
    assert toy.with_graph_budget(1).states_per_batch == 1 < toy.states_per_batch
    assert error(guided_evaluation(toy.with_graph_budget(1)), expected) < 1e-5

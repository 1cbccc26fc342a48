"""What the model of official size needs: attention without its square, 16 bits, bounded memory, nothing done twice."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

import xappa
from tests.benchmarks import full_size, gpu
from tests.benchmarks.random_models import SIZES, random_autoencoder, random_denoiser, random_model
from tests.official_project import Project
from xappa.diffusion.guidance import MMPS, SDA, Linearised, Observation
from xappa.diffusion.preconditioning import Denoiser
from xappa.diffusion.samplers import DDIM, DDPM, LMS, PC, Rewind
from xappa.diffusion.schedule import Rectified
from xappa.errors import OptionError
from xappa.models import model as model_module
from xappa.models import transformer as transformer_module
from xappa.models.attention import Tiles, attend_within
from xappa.models.autoencoder import AutoencoderSpec, ConvAutoencoder
from xappa.models.blocks import Block
from xappa.models.embedding import window_mask
from xappa.models.evaluations import Evaluations
from xappa.models.precision import autocast, with_scaled_gradients
from xappa.models.statewise import statewise
from xappa.models.transformer import Transformer, TransformerSpec
from xappa.streaming.graph.latents import Coder
from xappa.testing.networks import autoencoder, transformer

OFFICIAL_TOKENS = (12, 23, 47)
SMALL = TransformerSpec(
    in_channels=2, blanket_size=24, shape=(23, 47), hid_channels=8, hid_blocks=1, attention_heads=1, mod_features=4,
    patch_size=(2, 1, 1),
)  # fmt: skip
TIMES = np.datetime64("2021-03-01", "h") + np.arange(24)
ROUGHLY = {"bfloat16": 0.03, "float16": 0.004}
"""Relative errors that 16 bits may have, in networks of these depths."""


@pytest.fixture(autouse=True)
def _seed():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def toy():
    return random_model("toy")


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


# Attention within a window


@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=3).flatmap(
        lambda shape: st.tuples(st.just(shape), st.lists(st.integers(1, 9), min_size=len(shape), max_size=len(shape)))
    )
)
@settings(max_examples=60)
def test_tiles_see_what_the_mask_allows(case):
    shape, window = case
    tiles = Tiles.of(shape, window)
    seen = torch.zeros(prod(shape), prod(shape), dtype=torch.bool)
    for query, key in zip(tiles.query, tiles.key, strict=True):
        assert len(set(key.tolist())) == len(key)
        seen[query[:, None], key] |= tiles.mask
    assert torch.equal(seen, window_mask(shape, window))
    assert torch.equal(tiles.query.flatten()[tiles.place], torch.arange(prod(shape)))


@pytest.mark.parametrize("window", [(1, 1, 1), (3, 5, 5), (2, 9, 3), (9, 9, 99)])
def test_attention_by_tiles_is_attention_with_the_mask(window, monkeypatch):
    shape = (4, 5, 7)
    q, k, v = torch.randn(3, 2, 2, prod(shape), 8, dtype=torch.float64)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=window_mask(shape, window))
    monkeypatch.setattr("xappa.models.attention.CHUNK", 20_000)  # several rounds
    torch.testing.assert_close(attend_within(q, k, v, Tiles.of(shape, window)), expected, rtol=1e-12, atol=1e-12)


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that is made."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return out


@pytest.mark.parametrize("window", [None, (3, 5, 5)])
def test_nothing_is_as_large_as_the_square_of_the_official_number_of_tokens(window):
    tokens = prod(OFFICIAL_TOKENS)
    assert tokens == 12_972
    x = torch.randn(1, 24, 23, 47, 2)
    date = torch.tensor([[2021, 3, 1, hour] for hour in range(24)])
    with torch.no_grad(), Largest() as largest:
        network = Transformer(replace(SMALL, window_size=window))
        assert network(x, torch.tensor(0.5), date).shape == x.shape
    assert largest.numbers < tokens**2 / 10


# Computed once


def test_prepared_conditions_change_no_bit():
    date = torch.tensor([[2021, 3, 1, hour] for hour in range(4)])
    for window in (None, (1, 3, 3)):
        spec = TransformerSpec(3, 4, (3, 4), 16, 3, 2, mod_features=8, patch_size=(2, 1, 1), window_size=window)
        network = Transformer(spec).requires_grad_(False)
        x = torch.randn(2, 4, 3, 4, 3)
        expected = network(x, torch.tensor(0.3), date)
        assert torch.equal(network(x, torch.tensor(0.3), network.prepare(date)), expected)
        assert torch.equal(network(x, torch.tensor(0.3), network.prepare(date, network.places())), expected)
        both = network.prepare(date.expand(2, -1, -1))
        torch.testing.assert_close(network(x, torch.tensor(0.3), both), expected)


def test_places_and_dates_are_computed_once_a_run(monkeypatch, toy):
    calls = {"positions": 0, "rotation": 0, "date_codes": 0}

    def counted(name, function):
        def count(*arguments):
            calls[name] += 1
            return function(*arguments)

        return count

    monkeypatch.setattr(Transformer, "positions", counted("positions", Transformer.positions))
    monkeypatch.setattr(Block, "rotation", counted("rotation", Block.rotation))
    monkeypatch.setattr(transformer_module, "date_codes", counted("date_codes", transformer_module.date_codes))
    evaluations = Evaluations(toy)
    windows = [TIMES[:4], TIMES[2:6]]
    x = torch.randn(1, 4, *toy.latent_shape)
    for _ in range(3):
        LMS(steps=5)(evaluations.at(windows[0]), 1e3 * x, lambda k: torch.zeros_like(x), toy.schedule)
        evaluations.at(windows[1])(x, torch.tensor(1.0))
    assert calls == {"positions": 1, "rotation": 2, "date_codes": 2}
    plain = toy.denoiser(x, torch.tensor(1.0), torch.tensor([[2021, 3, 1, hour] for hour in range(2, 6)]))
    assert torch.equal(evaluations.at(windows[1])(x, torch.tensor(1.0)), plain)


def test_an_analysis_computes_them_once(monkeypatch, tmp_path):
    Project().write(tmp_path / "run")
    calls = []
    monkeypatch.setattr(Transformer, "places", lambda self, real=Transformer.places: calls.append(1) or real(self))
    ds = xappa.template("2021-03-13T00", "2021-03-13T07", model=tmp_path / "run")  # three windows of four times
    reports = pd.DataFrame(
        {"time": [pd.Timestamp("2021-03-13T01")], "lat": [12.0], "lon": [3.0], "variable": "2m_temperature",
         "observation": [288.0]}
    )  # fmt: skip
    analysis = ds.appa.assimilate(
        reports, error={"2m_temperature": 1.0}, model=tmp_path / "run", steps=3, seed=0, quality="none"
    )
    assert np.isfinite(analysis["2m_temperature"].values).all()
    assert calls == [1]


# Precision


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
        evaluated = Evaluations(toy).at(TIMES[:4])(torch.randn(1, 4, *toy.latent_shape), torch.tensor(1.0))
        places = network.places()
    assert seen == [(torch.float32, torch.float32)] * 2
    assert places.positions.dtype == places.rotations[0].cosine.dtype == evaluated.dtype == torch.float32
    assert torch.equal(places.positions, network.places().positions)


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

        guided = guidance.guide(Evaluations(model).at(TIMES[:4]), Observation(y, operator, torch.full((80,), 1e-2)))
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


# Memory


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
    whole, parts = (Linearised(f, z) for f in (network.decode, lambda z: statewise(network.decode, z, size)))
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
        statewise(network.decode, z, 1)
    assert kept == [z.numel()]


def test_second_derivatives_of_statewise_are_refused():
    z = torch.randn(2, 3, requires_grad=True)
    (v,) = torch.autograd.grad(statewise(lambda x: x**3, z, 1).sum(), z, create_graph=True)
    torch.testing.assert_close(v, 3 * z**2)
    assert torch.isnan(torch.autograd.grad(v.sum(), z)[0]).all()


def test_models_bound_their_memory_and_lose_nothing(monkeypatch, toy):
    latents, fields = torch.randn(2, 3, *toy.latent_shape), torch.randn(2, 3, *toy.spec.shape)
    expected = toy.decode(latents, TIMES[:3]), toy.encode(fields, TIMES[:3])
    sizes = []
    real = toy.autoencoder.decode
    monkeypatch.setattr(toy.autoencoder, "decode", lambda z: sizes.append(len(z)) or real(z))
    bounded = toy.within(toy.autoencoder.spec.graph_bytes)
    torch.testing.assert_close(bounded.decode(latents, TIMES[:3]), expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(bounded.encode(fields, TIMES[:3]), expected[1], rtol=1e-4, atol=1e-5)
    assert sizes == [1] * 6


def guided_evaluation(model):
    guided = MMPS.official().guide(
        Evaluations(model).at(TIMES[:4]),
        Observation(torch.ones(80), lambda z: model.decode(z, TIMES[:4])[:, :, 5, 3, :20].flatten(1), torch.ones(80)),
    )
    return guided(torch.randn(1, 4, *model.latent_shape), torch.tensor(1.0))


def test_guidance_with_bounded_memory(toy):
    torch.manual_seed(1)
    expected = guided_evaluation(toy)
    torch.manual_seed(1)
    assert toy.within(1).states_at_once == 1 < toy.states_at_once
    assert error(guided_evaluation(toy.within(1)), expected) < 1e-5


# Arithmetic


def test_operations_of_the_official_sizes():
    """3.12 TFLOP a decoded state, 16.3 an evaluation (64 channels, 16 blocks); counted without computing."""
    with torch.device("meta"):
        network = ConvAutoencoder(AutoencoderSpec(in_channels=71, **SIZES["full"]["autoencoder"]))
        with full_size.Operations() as decoding:
            network.decode(torch.empty(1, *network.spec.latent_shape))
        counts = []
        for channels, blocks in ((64, 16), (128, 18)):
            values = SIZES["full"]["transformer"] | {"hid_blocks": blocks}
            spec = TransformerSpec(in_channels=channels, shape=(23, 47), **values)
            backbone = Transformer(spec)
            with full_size.Operations() as evaluating:
                backbone(torch.empty(1, 24, 23, 47, channels), torch.empty(()), torch.empty(24, 4, dtype=torch.int64))
            counts.append(evaluating.total / 1e12)
    assert decoding.total / 1e12 == pytest.approx(3.12, abs=0.01)
    assert counts == pytest.approx([16.3, 18.3], abs=0.05)


def test_operations_of_a_guided_evaluation(toy):
    """A frame is decoded 11 times over: once, three times backwards and twice forwards, each of these from anew."""
    z, x = torch.randn(1, *toy.latent_shape), torch.randn(1, 4, *toy.latent_shape, requires_grad=True)
    with full_size.Operations() as decoding:
        toy.autoencoder.decode(z)
    with full_size.Operations() as evaluating:
        y = Evaluations(toy).at(TIMES[:4])(x, torch.tensor(1.0))
        for _ in range(3):
            torch.autograd.grad(y, x, torch.ones_like(y), retain_graph=True)
    with full_size.Operations() as guiding:
        guided_evaluation(toy.within(1))
    assert guiding.total == pytest.approx(4 * 11 * decoding.total + evaluating.total, rel=0.02)


# The scripts


def test_full_size_script_at_toy_size(tmp_path):
    files = {}
    for precision in ("float32", "bfloat16"):
        for step in full_size.STEPS:
            row = full_size.measure(step, "toy", precision, 1.0, tmp_path / f"{step}-{precision}.npy")
            assert row["step"] == step and row["peak_rss_gb"] > 0 and (row["tflop"] > 0) == (step != "build")
            files[step, precision] = tmp_path / f"{step}-{precision}.npy"
    for step in full_size.STEPS[1:]:
        assert 1e-5 < full_size.relative_error(files[step, "bfloat16"], files[step, "float32"]) < 0.03


def test_full_size_script_runs_steps_in_processes(tmp_path):
    out = tmp_path / "rows.jsonl"
    arguments = ["--size", "toy", "--steps", "denoise", "--window", "2", "--precisions", "float32"]
    full_size.main([*arguments, "--out", str(out)])
    (row,) = map(json.loads, out.read_text().splitlines())
    assert (row["step"], row["window"]) == ("denoise", 2) and row["peak_rss_gb"] < 2


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_gpu_script_at_toy_size(precision, tmp_path):
    out = tmp_path / "rows.jsonl"
    # the C++ compiler is not what is tested; tracing, and derivatives of what was traced, are
    arguments = [
        "--size",
        "toy",
        "--device",
        "cpu",
        "--steps",
        "1",
        "--precisions",
        precision,
        "--backend",
        "aot_eager",
    ]
    rows = gpu.main(
        [*arguments, "--compile", *(("off", "on") if precision == "bfloat16" else ("off",)), "--out", str(out)]
    )
    assert rows == [json.loads(line) for line in Path(out).read_text().splitlines()]
    parts = ["decode", "denoise", "evaluation", "sample"]
    compiled = [False, True] if precision == "bfloat16" else [False]
    assert [row["part"] for row in rows] == ["peak", *parts * len(compiled)]
    assert all(row["seconds"] > 0 and row["tflop"] > 0 for row in rows[1:])
    assert {row["evaluations"] for row in rows if row["part"] == "sample"} == {3}

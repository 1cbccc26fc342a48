"""What the model of official size costs: operations counted, and the scripts that measure it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.benchmarks import full_size, gpu
from tests.benchmarks.random_models import SIZES
from tests.toy import TIMES, guided_evaluation, seeded, toy_model
from xappa.model.networks.autoencoder import AutoencoderSpec, ConvAutoencoder
from xappa.model.networks.transformer import Transformer, TransformerSpec
from xappa.model.window_denoiser import WindowDenoiser

_seed = pytest.fixture(autouse=True)(seeded)
toy = pytest.fixture(toy_model)


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
        y = WindowDenoiser(toy).make_denoiser(TIMES[:4])(x, torch.tensor(1.0))
        for _ in range(3):
            torch.autograd.grad(y, x, torch.ones_like(y), retain_graph=True)
    with full_size.Operations() as guiding:
        guided_evaluation(toy.with_graph_budget(1))
    assert guiding.total == pytest.approx(4 * 11 * decoding.total + evaluating.total, rel=0.02)


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

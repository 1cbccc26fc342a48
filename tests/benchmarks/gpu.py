"""The model of official size, with random parameters, on an accelerator: one guided evaluation, one posterior sample.

The settings are those of the official experiments: predictor-corrector with 32 steps of 2 corrections (96 guided
evaluations), moment matching with 2 iterations, 24 hourly states, 10,277 cells of stations with 6 variables and 60,000
cells of satellites with 65 variables an hour::

    python -m tests.benchmarks.gpu --out gpu.jsonl
    python -m tests.benchmarks.gpu --size toy --device cpu --steps 2

Parts: ``peak`` (matrix products of the device), ``networks`` (decoding one state, evaluating the denoiser once),
``evaluation`` (one guided evaluation), ``sample``. Each precision gives a line of JSON a part, with and without
``torch.compile`` of the transformer's blocks; the decoder is differentiated forwards, which compiled code cannot be.
The fraction of the peak is that of the operations that the uncompiled code makes, over what the device's own matrix
products reach. Nothing but products is in 16 bits: sigma^2 and all sums outside the networks are float32.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.benchmarks.full_size import Operations
from tests.benchmarks.random_models import random_model
from xappa.devices import resolve
from xappa.diffusion.guidance import MMPS, Observation
from xappa.diffusion.noise import Noise
from xappa.diffusion.samplers import PC
from xappa.model.model import Model
from xappa.model.precision import PRECISIONS
from xappa.model.window_denoiser import WindowDenoiser

PARTS = ("peak", "networks", "evaluation", "sample")
CELLS = {"full": (10_277, 60_000), "toy": (12, 40)}
"""Cells of stations, and of satellites an hour."""
VARIANCE = (1e-4, 1e-2)
"""Of their errors, as the official experiments assume them; standardised units squared."""
START = np.datetime64("2021-03-21", "h")


@dataclass(frozen=True)
class Measured:
    """Seconds of one call after another that is not counted, FLOP of a call, and the largest memory allocated."""

    seconds: float
    flop: float
    peak_bytes: int


def measure(function: Callable[[], Tensor], device: torch.device, flop: float | None = None) -> Measured:
    """Call a function twice; its operations are counted in the first, unless they are known."""
    if flop is None:
        with Operations() as operations:
            function()
        flop = float(operations.total)
    else:
        function()
    seconds, peak = _timed(function, device)
    return Measured(seconds, flop, peak)


def _timed(function: Callable[[], Tensor], device: torch.device) -> tuple[float, int]:
    accelerated = device.type != "cpu"
    if accelerated:
        torch.accelerator.synchronize(device)
        torch.accelerator.reset_peak_memory_stats(device)
    begin = time.perf_counter()
    result = function()
    if accelerated:
        torch.accelerator.synchronize(device)
    seconds = time.perf_counter() - begin
    if not torch.isfinite(result).all():
        raise ArithmeticError("The result is not finite.")
    return seconds, torch.accelerator.max_memory_allocated(device) if accelerated else 0


def matrix_peak(device: torch.device, precision: str, n: int) -> float:
    """FLOP a second of products of n x n matrices, the best of five rounds."""
    a, b = (torch.randn(n, n, device=device).to(PRECISIONS[precision]) / n**0.5 for _ in range(2))

    def products() -> Tensor:
        c = a
        for _ in range(10):
            c = c @ b
        return c

    products()
    return 20 * n**3 / min(_timed(products, device)[0] for _ in range(5))


def observation(model: Model, cells: tuple[int, int], seed: int = 3) -> Observation:
    """Stations that see the first 6 channels, and satellites that see all others at cells that change by the hour."""
    rng = np.random.default_rng(seed)
    _, height, width = model.spec.shape
    window, device = model.spec.window, model.device
    times = START + np.arange(window)
    stations = torch.from_numpy(np.sort(rng.choice(height * width, cells[0], replace=False))).to(device)
    seen = np.stack([np.sort(rng.choice(height * width, cells[1], replace=False)) for _ in range(window)])
    satellites = torch.from_numpy(seen).to(device)

    def operator(latents: Tensor) -> Tensor:
        fields = model.decode(latents, times).flatten(-2)
        ground = fields[:, :, :6].index_select(-1, stations).flatten(1)
        above = [fields[:, t, 6:].index_select(-1, satellites[t]).flatten(1) for t in range(window)]
        return torch.cat([ground, *above], 1)

    with torch.no_grad():
        y = operator(torch.randn(1, window, *model.latent_shape, device=device))
    counts = [window * 6 * cells[0], y.shape[1] - window * 6 * cells[0]]
    variance = torch.cat([torch.full((n,), v, device=device) for n, v in zip(counts, VARIANCE, strict=True)])
    return Observation(y + variance.sqrt() * torch.randn_like(y), operator, variance)


def compile_blocks(model: Model, backend: str) -> None:
    """Compile the transformer's blocks, in place."""
    from torch._functorch import config

    # The solver differentiates one graph several times: its buffers must not be given away by the first.
    if hasattr(config, "donated_buffer"):  # the oldest torch never gives them away
        config.donated_buffer = False
    for block in model.denoiser.backbone.blocks:  # type: ignore[union-attr]
        block.compile(backend=backend)  # type: ignore[operator]


class Bench:
    """Measurements of one model in one precision; operations are counted before anything is compiled.

    Parameters
    ----------
    arguments : Namespace
    device : torch.device
    precision : str
    """

    def __init__(self, arguments: argparse.Namespace, device: torch.device, precision: str) -> None:
        self.arguments, self.device, self.precision = arguments, device, precision
        self.model = random_model(arguments.size, precision=precision).to(device)
        self.peak = matrix_peak(device, precision, 8192 if arguments.size == "full" else 128)
        self.flop: dict[str, float] = {}
        self.compiled = False

    def row(self, part: str, measured: Measured, **more: Any) -> dict[str, Any]:
        """A line of the results."""
        rate = measured.flop / measured.seconds
        return {
            "part": part,
            "precision": self.precision,
            "compiled": self.compiled,
            "seconds": _short(measured.seconds),
            "tflop": _short(measured.flop / 1e12),
            "tflop_a_second": _short(rate / 1e12),
            "fraction_of_peak": _short(rate / self.peak),
            "peak_memory_gb": round(measured.peak_bytes / 1e9, 2),
            **more,
        }

    def measured(self, part: str, function: Callable[[], Tensor]) -> Measured:
        """Measure, and remember the operations."""
        found = measure(function, self.device, self.flop.get(part))
        self.flop[part] = found.flop
        return found

    def networks(self) -> list[dict[str, Any]]:
        """Decoder and denoiser by themselves."""
        model, times = self.model, START + np.arange(self.model.spec.window)
        denoise = WindowDenoiser(model).make_denoiser(times)
        latents = torch.randn(1, model.spec.window, *model.latent_shape, device=self.device)
        sigma = torch.tensor(1.0, device=self.device)
        with torch.no_grad():
            decoded = self.measured("decode", lambda: model.decode(latents[:, :1], times[:1]))
            denoised = self.measured("denoise", lambda: denoise(latents, sigma))
        return [self.row("decode", decoded), self.row("denoise", denoised)]

    def evaluation(self) -> list[dict[str, Any]]:
        """One guided evaluation, where sigma = 1."""
        guided = self.guided()
        x = 2**0.5 * torch.randn(1, self.model.spec.window, *self.model.latent_shape, device=self.device)
        sigma = torch.tensor(1.0, device=self.device)
        return [self.row("evaluation", self.measured("evaluation", lambda: guided(x, sigma)))]

    def sample(self) -> list[dict[str, Any]]:
        """One member of a window, from noise on; begun once only, for it is long."""
        sampler, guided = PC(steps=self.arguments.steps), self.guided()
        hours = (START + np.arange(self.model.spec.window)).astype("i8").tolist()
        noise = Noise(0, (0,), hours, self.model.latent_shape)
        schedule = self.model.schedule
        x = schedule(torch.ones(1)).item() * noise.start().to(self.device)
        seconds, peak = _timed(lambda: sampler(guided, x, noise, schedule), self.device)
        flop = self.flop.get("evaluation", float("nan")) * sampler.evaluations
        return [self.row("sample", Measured(seconds, flop, peak), evaluations=sampler.evaluations)]

    def guided(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The guided denoiser of the window."""
        denoise = WindowDenoiser(self.model).make_denoiser(START + np.arange(self.model.spec.window))
        return MMPS.official().guide(denoise, observation(self.model, CELLS[self.arguments.size]))


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--precisions", nargs="+", choices=list(PRECISIONS), default=["bfloat16", "float16"])
    parser.add_argument("--compile", nargs="+", choices=("off", "on"), default=["off", "on"])
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    parser.add_argument("--size", choices=list(CELLS), default="full")
    parser.add_argument("--steps", type=int, default=32, help="of the sampler; each is three evaluations")
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args(argv)
    device = resolve(arguments.device)
    rows: list[dict[str, Any]] = []

    def keep(row: dict[str, Any]) -> None:
        rows.append({"device": _name(device), **row})
        print(json.dumps(rows[-1]), flush=True)
        if arguments.out:
            with open(arguments.out, "a") as file:
                file.write(json.dumps(rows[-1]) + "\n")

    for precision in arguments.precisions:
        bench = Bench(arguments, device, precision)
        if "peak" in arguments.parts:
            keep({"part": "peak", "precision": precision, "tflop_a_second": _short(bench.peak / 1e12)})
        for state in sorted(arguments.compile, key=("off", "on").index):
            if state == "on":
                compile_blocks(bench.model, arguments.backend)
                bench.compiled = True
            for part in PARTS[1:]:
                if part in arguments.parts:
                    for row in getattr(bench, part)():
                        keep(row)
    return rows


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


if __name__ == "__main__":
    main()

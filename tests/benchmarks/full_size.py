"""The model of official size, with random parameters, on this machine's CPU: seconds, FLOP, memory, errors of 16 bits.

Every step runs in a process of its own, so that its peak of memory is its own::

    OMP_NUM_THREADS=1 python -m tests.benchmarks.full_size
    OMP_NUM_THREADS=1 python -m tests.benchmarks.full_size --steps denoise --sigmas 0.01 1 100 --precisions bfloat16

Steps: ``build`` (both networks), ``encode`` and ``decode`` (one state), ``denoise`` (one window, at each sigma). With
several precisions, the first is what the others are compared with. One line of JSON a step goes to the standard output,
and to the file ``--out``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from tests.benchmarks.random_models import random_model
from xappa.model.model import Model
from xappa.model.window_denoiser import WindowDenoiser

STEPS = ("build", "encode", "decode", "denoise")
TIMES = np.datetime64("2021-03-21", "h") + np.arange(64)


class Operations(TorchDispatchMode):
    """Counts the floating-point operations of matrix products, convolutions and attention, also of derivatives.

    A product of n x k and k x m numbers counts 2 n k m. (`torch.utils.flop_counter` has the formulas; its own mode
    cannot count within `torch.autograd.grad`.)
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if formula := _FORMULAS.get(func._overloadpacket):
            self.total += formula(*args, **kwargs, out_val=out)
        return out


def _attention(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any) -> int:
    return sdpa_flop_count(query.shape, key.shape, value.shape)


def _attention_backward(out: Tensor, query: Tensor, key: Tensor, value: Tensor, *rest: Any, **named: Any) -> int:
    return sdpa_backward_flop_count(out.shape, query.shape, key.shape, value.shape)


_ATEN = torch.ops.aten
_FORMULAS = {
    **flop_registry,
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def step_function(
    step: str, size: str, precision: str, sigma: float, window: int | None = None
) -> Callable[[], Tensor]:
    """What a step does, after its networks are made."""
    if step == "build":
        return lambda: torch.tensor(_parameters(random_model(size)))
    model = random_model(size, precision=precision, window=window)
    generator = torch.Generator().manual_seed(2)
    if step == "encode":
        fields = torch.randn(1, *model.spec.shape, generator=generator)
        return lambda: model.encode(fields, TIMES[:1])
    if step == "decode":
        latents = torch.randn(1, *model.latent_shape, generator=generator)
        return lambda: model.decode(latents, TIMES[:1])
    states = model.spec.window
    x = torch.randn(1, states, *model.latent_shape, generator=generator) * (1 + sigma**2) ** 0.5
    denoise = WindowDenoiser(model).make_denoiser(TIMES[:states])
    return lambda: denoise(x, torch.tensor(sigma))


def _parameters(model: Model) -> int:
    return sum(p.numel() for network in (model.autoencoder, model.denoiser) for p in network.parameters())


def measure(
    step: str, size: str, precision: str, sigma: float, output: Path, window: int | None = None
) -> dict[str, Any]:
    """Run a step in this process; its result goes to a file."""
    function = step_function(step, size, precision, sigma, window)
    begin, cpu = time.perf_counter(), time.process_time()
    with torch.no_grad(), Operations() as operations:
        result = function()
    row: dict[str, Any] = {"step": step, "size": size, "precision": precision}
    if step == "denoise":
        row |= {"sigma": sigma} | ({} if window is None else {"window": window})
    row |= {
        "seconds": round(time.perf_counter() - begin, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "threads": torch.get_num_threads(),
        "tflop": float(f"{operations.total / 1e12:.4g}"),
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
    }
    np.save(output, result.numpy())
    return row


def relative_error(found: Path, expected: Path) -> float:
    """Norm of the difference over that of what is expected."""
    a, b = (np.load(file, mmap_mode="r").astype("f8") for file in (found, expected))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """All steps, one after another."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for step in arguments.steps:
            for sigma in arguments.sigmas if step == "denoise" else arguments.sigmas[:1]:
                for precision in arguments.precisions[:1] if step == "build" else arguments.precisions:
                    name = f"{step}-{sigma}"
                    output = Path(folder) / f"{name}-{precision}.npy"
                    row = _in_process(step, arguments, precision, sigma, output)
                    if precision != arguments.precisions[0]:
                        first = Path(folder) / f"{name}-{arguments.precisions[0]}.npy"
                        row["relative_error"] = float(f"{relative_error(output, first):.3g}")
                    rows.append(row)
                    print(json.dumps(row), flush=True)
                    if arguments.out:
                        with open(arguments.out, "a") as file:
                            file.write(json.dumps(row) + "\n")
    return rows


def _in_process(step: str, arguments: argparse.Namespace, precision: str, sigma: float, output: Path) -> dict[str, Any]:
    given = {"step": step, "size": arguments.size, "precision": precision, "sigma": sigma}
    given |= {"limit-gb": arguments.limit_gb} | ({} if arguments.window is None else {"window": arguments.window})
    command = [sys.executable, "-m", "tests.benchmarks.full_size", "--output", str(output)]
    command += [f"--{name}={value}" for name, value in given.items()]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--sigmas", nargs="+", type=float, default=[1.0])
    parser.add_argument("--size", default="full")
    parser.add_argument("--window", type=int, help="states of the denoiser's window, if not those of the size")
    parser.add_argument("--limit-gb", type=float, default=12, help="memory that a step may take before it is stopped")
    parser.add_argument("--out", type=Path)
    alone = parser.add_argument_group("of one step, in this process")
    alone.add_argument("--step", choices=STEPS)
    alone.add_argument("--precision", default="float32")
    alone.add_argument("--sigma", type=float, default=1.0)
    alone.add_argument("--output", type=Path)
    arguments = parser.parse_args(argv)
    if arguments.step is None:
        return run(arguments)
    limit = int(arguments.limit_gb * 1e9)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    row = measure(
        arguments.step, arguments.size, arguments.precision, arguments.sigma, arguments.output, arguments.window
    )
    print(json.dumps(row))
    return [row]


if __name__ == "__main__":
    main()

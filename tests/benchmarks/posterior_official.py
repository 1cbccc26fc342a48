"""What an analysis costs with a model of the official kind: the reference's schedule against ours, at tiny size.

    python -m tests.benchmarks.posterior_official --size tiny

Parameters are random: this is cost, not accuracy (`tests.benchmarks.posterior` has both, for the embedded model). 2 %
of the points of the 6 surface variables are observed at every ``--every``-th time. The reference is measured as there:
two evaluations of its schedule as prescribed, times their number; ours is the whole sample. CPU seconds a member, one
thread.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch

from tests.benchmarks.posterior import reference_seconds
from tests.benchmarks.random_models import SIZES, random_model
from xappa.diffusion.noise import Noise
from xappa.model.dates import to_date_tensor
from xappa.model.model import Model
from xappa.operators.sparse import SparseOperator
from xappa.sampling.latent_observations import observe_latents
from xappa.tasks.effort import EFFORTS
from xappa.tasks.planning import choose_guidance, choose_sampler

START = np.datetime64("2021-03-21T00", "s")


def network(model: Model, every: int, seed: int = 0) -> SparseOperator:
    """Reports of the surface variables at 2 % of the points, other ones at each time."""
    rng = np.random.default_rng(seed)
    _, height, width = model.spec.shape
    frames = range(0, model.spec.window, every)
    cells = [np.sort(rng.choice(height * width, height * width // 50, replace=False)) for _ in frames]
    found = [(k, channel, cell) for k, own in zip(frames, cells, strict=True) for channel in range(6) for cell in own]
    column = np.array(found).T[..., None]
    size = len(found)
    return SparseOperator(
        time=column[0],
        channel=column[1],
        cell=column[2],
        weight=np.ones((size, 1)),
        offset=np.zeros(size),
        value=rng.standard_normal(size),
        error=np.full(size, 0.3),
        observation=np.arange(size),
        variable=np.zeros(size, int),
        names=("value",),
    )


def seconds_of(model: Model, stencil: SparseOperator, times: np.ndarray, effort: str, members: int) -> float:
    """CPU seconds a member of a tier of effort, for a model without a static prior."""
    guidance, sampler = choose_guidance(None, False, effort), choose_sampler(None, None, effort)
    date, hours = to_date_tensor(times), tuple(times.astype("M8[h]").astype(int).tolist())
    begin = time.process_time()
    denoiser = guidance.guide(
        lambda x, sigma: model.denoiser(x, sigma, date), observe_latents(model, stencil, times), None
    )
    noise = Noise(0, tuple(range(members)), hours, model.latent_shape)
    sampler(denoiser, model.schedule(torch.ones(1)).item() * noise.start(), noise, model.schedule, lambda *_: None)
    return (time.process_time() - begin) / members


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.posterior_official", description=__doc__)
    parser.add_argument("--size", choices=sorted(SIZES), default="tiny")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--every", type=int, nargs="+", default=[1, 6], help="every how many times there are reports")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = random_model(args.size)
    times = START + np.arange(model.spec.window) * np.timedelta64(1, "h")
    print(f"{'reports every':15}{'settings':36}{'CPU s a member':>15}{'faster':>8}")
    for every in args.every:
        stencil = network(model, every)
        spent = reference_seconds(model, stencil, times)
        rows = {
            "reference, as prescribed": spent["seconds"],
            "  states together, graph kept": spent["together"],
            "  and four members at once": spent["batched"],
        }
        for effort in ("standard", "preview"):
            rows[f"{effort}, {EFFORTS[effort].without_prior}"] = seconds_of(model, stencil, times, effort, args.members)
        for name, seconds in rows.items():
            print(f"{f'{every} h':15}{name:36}{seconds:15.2f}{spent['seconds'] / seconds:8.1f}", flush=True)


if __name__ == "__main__":
    main()

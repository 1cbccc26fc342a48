"""What an analysis costs and how good it is: the reference's schedule against ours, lever by lever, in one run.

    python -m tests.benchmarks.posterior MODEL WORK --networks A B --dates 2 --members 4

MODEL is a model directory and WORK the folder in which ``xappa train`` prepared the nature run. Every analysis appends
a line to ``--out``; lines that are there are not computed again. Then the table: CPU seconds a member, and scores of
all variables relative to those of ``--base``, the reference's by default. The reference is measured twice:
``reference-cost`` runs a few evaluations of its schedule as prescribed (`tests.benchmarks.reference`), of which all
take the same time; ``reference`` has the same numbers sooner, and is scored. One thread; times are of the processor, so
that other programs matter little.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.benchmarks import reference
from tests.benchmarks.networks import draw_values, network
from tests.benchmarks.scores import channel_scores, summary
from tests.benchmarks.twin import SPLITS
from xappa.diffusion.guidance import MMPS, JacobianFree
from xappa.diffusion.samplers import DPM, LMS
from xappa.model.dates import to_date_tensor
from xappa.model.directory import read_model
from xappa.model.model import Model
from xappa.operators.forward.linear import WhitenedOperator
from xappa.operators.sparse import SparseOperator
from xappa.sampling.latent_observations import observe_latents
from xappa.sampling.sampling_tasks import decode, sample
from xappa.sampling.spec import SamplingSpec, compute_overlap
from xappa.tasks.planning import choose_guidance, choose_sampler
from xappa.training.config import read_config
from xappa.training.data import Record, open_record


@dataclass(frozen=True)
class Variant:
    """A way to make the analysis: options of the plan."""

    guidance: Any = field(default_factory=JacobianFree)
    sampler: Any = field(default_factory=LMS)
    options: Mapping[str, Any] = field(default_factory=dict)


def effort(name: str, static_prior: bool = True, **options: Any) -> Variant:
    """A tier of ``effort=``, with a static prior or without one; `options` replace those of its guidance."""
    guidance = replace(choose_guidance(None, static_prior, name), **options)
    return Variant(guidance, choose_sampler(None, None, name))


def bare(name: str) -> Variant:
    """A tier of ``effort=`` for a model that has neither a static prior nor a tangent, as official ones."""
    return effort(name, static_prior=False, tangent=False)


def moment_matching(**options: Any) -> MMPS:
    """Moment matching that differentiates the decoder, as models without a tangent have to."""
    return MMPS(probes=0, tangent=False, **options)


VARIANTS: dict[str, Variant] = {
    "reference": Variant(reference.GUIDANCE, reference.SAMPLER),
    # one lever alone
    "fewer steps": Variant(reference.GUIDANCE, LMS()),
    "solver to a tolerance": Variant(moment_matching(iterations=4, tolerance=0.2), LMS()),
    "moment matching, 2 warm iterations": Variant(moment_matching(iterations=2), LMS()),
    "static prior": Variant(JacobianFree(iterations=2, tolerance=None, warm_start=False, probes=0), LMS()),
    # static prior and tangent, with more of each
    "tolerance 0.05": Variant(JacobianFree(tolerance=0.05, probes=0)),
    "tolerance 0.2": Variant(JacobianFree(tolerance=0.2, probes=0)),
    "tolerance 0.4": Variant(JacobianFree(tolerance=0.4, probes=0)),
    "observations below sigma 20": Variant(JacobianFree(tolerance=0.2, below=20, probes=0)),
    "observations below sigma 4": Variant(JacobianFree(tolerance=0.2, below=4, probes=0)),
    "log-spaced steps": Variant(JacobianFree(tolerance=0.2, probes=0), LMS(spacing="log")),
    "DPM-Solver++": Variant(JacobianFree(tolerance=0.2, probes=0), DPM()),
    "DPM-Solver++, tolerance 0.1": Variant(JacobianFree(tolerance=0.1, probes=0), DPM()),
    "DPM-Solver++, tolerance 0.4": Variant(JacobianFree(tolerance=0.4, probes=0), DPM()),
    "DPM-Solver++, 16 steps": Variant(JacobianFree(tolerance=0.2, probes=0), DPM(steps=16)),
    "DPM-Solver++, 8 steps": Variant(JacobianFree(tolerance=0.2, probes=0), DPM(steps=8)),
    "DPM-Solver++, 6 steps": Variant(JacobianFree(tolerance=0.2, probes=0), DPM(steps=6)),
    "DPM-Solver++, 6 steps, 6 iterations": Variant(JacobianFree(iterations=6, tolerance=0.2, probes=0), DPM(steps=6)),
    "DPM-Solver++, 16 probes": Variant(JacobianFree(tolerance=0.2, probes=16), DPM()),
    "DPM-Solver++, 6 steps, 6 iterations, 16 probes": Variant(
        JacobianFree(iterations=6, tolerance=0.2, probes=16), DPM(steps=6)
    ),
    "moment matching, DPM-Solver++": Variant(moment_matching(iterations=2), DPM()),
    "solver to a tolerance, DPM-Solver++": Variant(moment_matching(iterations=4, tolerance=0.2), DPM()),
    "8 steps": Variant(JacobianFree(tolerance=0.2, probes=0), LMS(steps=8)),
    "16 steps": Variant(JacobianFree(tolerance=0.2, probes=0), LMS(steps=16)),
    "bfloat16": Variant(JacobianFree(tolerance=0.2, probes=0), options={"precision": "bfloat16"}),
    "each time decoded once": Variant(JacobianFree(tolerance=0.2, scope="trajectory", probes=0)),
    **{name: effort(name) for name in ("preview", "standard")},
    **{f"{name} without a fitted prior": bare(name) for name in ("preview", "standard")},
    **{f"standard, tolerance {tolerance}": effort("standard", tolerance=tolerance) for tolerance in (0.05, 0.4)},
    **{f"standard, {steps} steps": Variant(effort("standard").guidance, DPM(steps=steps)) for steps in (8, 24)},
    "standard, multistep": Variant(effort("standard").guidance, LMS()),
    "standard, each time decoded once": effort("standard", scope="trajectory"),
    "standard, decoder differentiated": effort("standard", tangent=False),
}


def starts(record: Record, split: int, count: int, length: int) -> np.ndarray:
    """First indices of `count` stretches, evenly spread over a split."""
    first = record.list_windows(split, length)
    return first[np.linspace(0, len(first) - 1, count + 2)[1:-1].round().astype(int)]


def case(
    record: Record, model: Model, kind: str, start: int, windows: int
) -> tuple[SparseOperator, np.ndarray, np.ndarray]:
    """Observations of a stretch of half-overlapping windows, its times, and the truth in standardised anomalies."""
    s, window = record.statistics, record.spec.window
    length = window + (windows - 1) * (window - compute_overlap(window))
    places = network(kind, record.spec, s["deviation"], land=s["land"], mask=s["mask"].astype(bool), times=length)
    times = record.times[start : start + length]
    truth = record.anomalies[start : start + length].astype("f4")
    values = draw_values(places, truth * s["scale"], seed=int(start))
    mean = model.climatology(times)
    column = (len(values), 1)
    stencil = SparseOperator(
        time=places.time.reshape(column),
        channel=places.channel.reshape(column),
        cell=places.cell.reshape(column),
        weight=np.ones(column),
        offset=np.zeros(len(values)),
        value=values + mean.reshape(*mean.shape[:2], -1)[places.time, places.channel, places.cell],
        error=places.error,
        observation=np.arange(len(values)),
        variable=np.zeros(len(values), int),
        names=("value",),
    )
    return stencil, times, truth


def analyse(
    model: Model, folder: Path, variant: Variant, members: int, stencil: SparseOperator, times: np.ndarray
) -> dict:
    """Members, as standardised anomalies, and what they cost: CPU seconds a member, without the final decoding."""
    options: dict[str, Any] = {"stitching": "symmetrical", "seed": 0, "dress": True, **variant.options}
    plan = SamplingSpec(
        str(folder), model.digest, None, times, stencil, guidance=variant.guidance, sampler=variant.sampler, **options
    )
    begin = time.process_time()
    numbers = tuple(range(members))
    sampled = sample(plan, numbers, f"posterior-{time.monotonic_ns()}")
    seconds = (time.process_time() - begin) / members
    fields = decode(plan, sampled.latents, numbers, 0)
    anomalies = np.nan_to_num((fields - model.climatology(times)) / model.scale)
    return {
        "members": anomalies,
        "seconds": seconds,
        "iterations": float(sampled.diagnostics["iterations"].sum(0).mean()),
    }


def reference_seconds(
    model: Model, stencil: SparseOperator, times: np.ndarray, evaluations: int = 2
) -> dict[str, float]:
    """CPU seconds a member and window of the reference's schedule, from a few of its evaluations.

    ``seconds`` as prescribed; ``together`` with the states that are observed decoded together and their graph kept for
    all products; ``batched`` with four members at once as well. All have the same numbers.
    """
    window = model.spec.window
    inside, times = stencil.select_window(0, window), times[:window]
    reading = WhitenedOperator(inside, model.climatology(times), model.scale, representation=model.error)
    seen, date = list(reading.frames), to_date_tensor(times)
    prescribed = reference.ReferenceDenoiser(
        lambda x, sigma: model.denoiser(x, sigma, date),
        lambda k, z: model.decode(z[None, None], times[k : k + 1])[0, 0],
        lambda fields: reading(fields[:, seen]),
        reading.y,
        torch.ones_like(reading.y),
    )
    observation = observe_latents(model, inside, times)
    official = reference.GUIDANCE.guide(lambda x, sigma: model.denoiser(x, sigma, date), observation)
    found = {}
    for name, denoiser, members in (("seconds", prescribed, 1), ("together", official, 1), ("batched", official, 4)):
        x, spent = torch.randn(members, window, *model.latent_shape), []
        for sigma in torch.logspace(1, -1, evaluations):
            begin = time.process_time()
            denoiser(sigma * x, sigma)
            spent.append((time.process_time() - begin) / members)
        found[name] = float(np.mean(spent)) * reference.SAMPLER.evaluations
    return found


def rows(args: argparse.Namespace) -> Iterator[dict]:
    """Lines of results, one an analysis."""
    record = open_record(read_config(args.config), args.work / "data")
    model = read_model(args.model)
    s, latitude = record.statistics, np.array(record.spec.latitude)
    factor, mask = s["scale"] / s["deviation"][:, None, None], s["mask"].astype(bool)
    done = {tuple(json.loads(line)["key"]) for line in args.out.open()} if args.out.exists() else set()
    length = record.spec.window + (args.windows - 1) * (record.spec.window - compute_overlap(record.spec.window))
    for start in starts(record, SPLITS[args.split], args.dates, length):
        for kind in args.networks:
            todo = [v for v in args.variants if (v, kind, args.windows, int(start), args.members) not in done]
            stencil, times, truth = case(record, model, kind, start, args.windows) if todo else (None, None, None)
            for name in todo:
                result: dict = {"key": (name, kind, args.windows, int(start), args.members)}
                if name == "reference-cost":
                    spent = reference_seconds(model, stencil, times)
                    result |= {name_: args.windows * seconds for name_, seconds in spent.items()}
                else:
                    out = analyse(model, args.model, VARIANTS[name], args.members, stencil, times)
                    scores = channel_scores(out.pop("members"), truth, latitude, mask=mask, factor=factor)
                    result |= out | {"scores": {k: np.asarray(v).tolist() for k, v in scores.items()}}
                yield result


def table(file: Path, against: str = "reference") -> str:
    """Cost and scores by network and variant, relative to those of one variant on the same dates.

    How much faster a variant is than the reference's schedule as prescribed, or, where that was not measured, than the
    one variant.
    """
    found: dict[tuple, dict[str, dict[int, dict]]] = {}
    for line in file.open():
        row = json.loads(line)
        name, kind, windows, start, members = row["key"]
        found.setdefault((kind, windows, members), {}).setdefault(name, {})[start] = row
    lines = [f"{'network':9}{'windows':9}{'variant':34}dates  CPU s  faster  solver  RMSE   CRPS   SSR    ({against})"]
    for (kind, windows, _), by_name in sorted(found.items()):
        cost = by_name.pop("reference-cost", {})
        base = by_name.get(against, {})
        slow = np.mean([row["seconds"] for row in (cost or base).values()]) if cost or base else np.nan
        if cost:
            lines.append(f"{kind:9}{windows:<9}{'reference, as prescribed':34}{len(cost):5}  {slow:5.1f}")
            for name, text in (
                ("together", "  states together, graph kept"),
                ("batched", "  and four members at once"),
            ):
                faster = np.mean([row.get(name, np.nan) for row in cost.values()])
                lines.append(f"{kind:9}{windows:<9}{text:34}{len(cost):5}  {faster:5.1f}  {slow / faster:6.1f}")
        for name, dates in by_name.items():
            shared = sorted(set(dates) & set(base)) or sorted(dates)
            own = _scores([dates[d] for d in shared])
            ref = _scores([base[d] for d in shared]) if set(shared) <= set(base) else own
            seconds = np.mean([dates[d]["seconds"] for d in shared])
            solver = np.mean([dates[d]["iterations"] for d in shared])
            lines.append(
                f"{kind:9}{windows:<9}{name:34}{len(shared):5}  {seconds:5.2f}  {slow / seconds:6.1f}  {solver:6.0f}  "
                f"{own['rmse'] / ref['rmse']:.3f}  {own['crps'] / ref['crps']:.3f}  {own['spread_skill']:.3f}  "
                f"({ref['spread_skill']:.3f})"
            )
    return "\n".join(lines)


def _scores(results: list[dict]) -> dict[str, float]:
    return summary([{k: np.array(v) for k, v in row["scores"].items()} for row in results])


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.posterior", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--config", type=Path, default=Path("xappa/training/speedy.toml"))
    parser.add_argument(
        "--variants", nargs="+", choices=["reference-cost", *VARIANTS], default=["reference-cost", *VARIANTS]
    )
    parser.add_argument("--networks", nargs="+", default=["A", "B"])
    parser.add_argument("--windows", type=int, default=1, help="windows that the times are covered by")
    parser.add_argument("--split", choices=list(SPLITS), default="validation")
    parser.add_argument("--dates", type=int, default=2)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("posterior.jsonl"))
    parser.add_argument("--base", choices=list(VARIANTS), default="reference", help="what scores are relative to")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for row in rows(args):
        with args.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row["key"], f"{row['seconds']:.1f} s a member", flush=True)
    print(table(args.out, args.base))


if __name__ == "__main__":
    main()

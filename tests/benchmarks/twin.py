"""Twin experiments: xappa and EnOI on the same observations of held-out windows, scored alike.

    python -m tests.benchmarks.twin MODEL WORK --methods xappa enoi --networks A B C --dates 20

MODEL is a model directory and WORK the folder in which ``xappa train`` prepared the nature run (``WORK/data``). Each
analysis appends a line to ``--out``; lines that are there are not computed again. Networks, errors and scores are those
of the embedded model's card.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.benchmarks import enoi
from tests.benchmarks.networks import Reports, draw_values, network
from tests.benchmarks.scores import channel_scores, summary
from xappa.diffusion.guidance import GUIDANCE
from xappa.diffusion.samplers import SAMPLERS
from xappa.model.directory import read_model
from xappa.model.model import Model
from xappa.operators.sparse import SparseOperator
from xappa.sampling.sampling_tasks import decode, sample
from xappa.sampling.spec import SamplingSpec
from xappa.tasks.planning import choose_guidance, choose_sampler
from xappa.training.config import read_config
from xappa.training.data import Record, open_record

SPLITS = {"validation": 1, "test": 2}
KEY = {
    "Z500": ("geopotential", 500),
    "T850": ("temperature", 850),
    "U500": ("u_component_of_wind", 500),
    "T2m": ("2m_temperature", None),
    "MSL": ("mean_sea_level_pressure", None),
    "Q700": ("specific_humidity", 700),
}


def dates(record: Record, split: int, count: int) -> np.ndarray:
    """First indices of `count` windows, evenly spread over a split."""
    windows = record.list_windows(split, record.spec.window)
    return windows[np.linspace(0, len(windows) - 1, count).round().astype(int)]


def truth_of(record: Record, start: int) -> np.ndarray:
    """Standardised anomalies of a window: (time, channel, latitude, longitude)."""
    return record.anomalies[start : start + record.spec.window].astype("f4")


def observe(record: Record, kind: str, start: int) -> tuple[Reports, enoi.Observed]:
    """Network and its reports of one window, standardised."""
    s = record.statistics
    mask = s["mask"].astype(bool)
    places = network(kind, record.spec, s["deviation"], land=s["land"], mask=mask, seed=0)
    truth = truth_of(record, start)
    # Values are drawn in physical anomalies, whose errors the networks give.
    values = draw_values(places, truth * s["scale"], seed=int(start))
    scale = s["scale"].reshape(len(s["scale"]), -1)[places.channel, places.cell]
    return places, enoi.Observed(places.time, places.channel, places.cell, values / scale, places.error / scale)


def analyse_xappa(
    model: Model, folder: str, record: Record, observed: enoi.Observed, start: int, options: dict
) -> dict:
    """Members of xappa, standardised, and what the run cost."""
    times = record.times[start : start + record.spec.window]
    flat = (len(model.scale), -1)
    scale = model.scale.reshape(flat)[observed.channel, observed.cell]
    mean = model.climatology(times)
    mean = mean.reshape(len(times), *mean.shape[1:2], -1)[observed.time, observed.channel, observed.cell]
    column = (len(scale), 1)
    stencil = SparseOperator(
        time=observed.time.reshape(column),
        channel=observed.channel.reshape(column),
        cell=observed.cell.reshape(column),
        weight=np.ones(column),
        offset=np.zeros(len(scale)),
        value=observed.value * scale + mean,
        error=observed.error * scale,
        observation=np.arange(len(scale)),
        variable=np.zeros(len(scale), int),
        names=("value",),
    )
    plan = SamplingSpec(folder, model.digest, None, times, stencil, seed=int(start), **options["plan"])
    members = tuple(range(options["members"]))
    begin = time.process_time()
    sampled = sample(plan, members, f"twin-{start}-{time.monotonic_ns()}")
    fields = decode(plan, sampled.latents, members, 0)
    anomalies = np.nan_to_num((fields - model.climatology(times)) / model.scale)
    d = sampled.diagnostics
    return {
        "members": anomalies,
        "seconds": time.process_time() - begin,
        "iterations": float(d["iterations"].sum(0).mean()),
    }


def rows(args: argparse.Namespace) -> Iterator[dict]:
    """Lines of results, one an analysis."""
    record = open_record(read_config(args.config), args.work / "data")
    model = read_model(args.model) if "xappa" in args.methods else None
    s, latitude = record.statistics, np.array(record.spec.latitude)
    mask = s["mask"].astype(bool)
    factor = s["scale"] / s["deviation"][:, None, None]
    done = {tuple(json.loads(line)["key"]) for line in args.out.open()} if args.out.exists() else set()
    train = record.list_windows(0, record.spec.window)
    solver = {k: v for k in ("iterations", "tolerance") if (v := getattr(args, k)) is not None}
    methods = {
        "guidance": GUIDANCE[args.guidance](**solver) if args.guidance else choose_guidance(None, True, args.effort),
        "sampler": SAMPLERS[args.sampler](steps=args.steps)
        if args.sampler
        else choose_sampler(None, None, args.effort),
    }
    methods["sampler"] = replace(methods["sampler"], antithetic=args.antithetic)
    plan = {
        **methods,
        "stitching": "symmetrical",
        "dress": not args.undressed,
    }  # explicit: the published scores are of dressed members
    options = {"members": args.members, "plan": plan}
    labels = [f"enoi-{length:g}" for length in args.lengths] if "enoi" in args.methods else []
    labels += [args.label] if "xappa" in args.methods else []
    labels += ["climatology"] if "climatology" in args.methods else []
    starts = dates(record, SPLITS[args.split], args.dates)
    # Every other date first: a run that is stopped halfway has still seen all seasons.
    for start in (*starts[::2], *starts[1::2]):
        ensemble = None
        for kind in args.networks:
            todo = [label for label in labels if (label, kind, args.split, int(start)) not in done]
            if not todo:
                continue
            _, observed = observe(record, kind, start)
            truth = truth_of(record, start)
            for label in todo:
                result: dict = {"key": (label, kind, args.split, int(start)), "reports": len(observed.value)}
                begin = time.process_time()
                if label == args.label and model is not None:
                    out = analyse_xappa(model, str(args.model), record, observed, start, options)
                    forecast, variance = out.pop("members"), None
                    result.update(out)
                else:
                    if ensemble is None:
                        chosen = enoi.season(record.times, train, record.times[start])
                        ensemble = enoi.windows(record.anomalies, chosen)
                    if label == "climatology":
                        forecast, variance = ensemble.mean(0, dtype="f4"), ensemble.var(0, ddof=1, dtype="f4")
                    else:
                        forecast, variance = enoi.analyse(
                            ensemble,
                            observed,
                            latitude,
                            np.array(record.spec.longitude),
                            length=float(label.split("-")[1]),
                            mask=mask,
                        )
                    result["seconds"] = time.process_time() - begin
                pairs = [k // 2 for k in range(args.members)] if args.antithetic and label == args.label else None
                scores = channel_scores(
                    forecast, truth, latitude, variance=variance, mask=mask, factor=factor, pairs=pairs
                )
                result["scores"] = {name: np.asarray(value).tolist() for name, value in scores.items()}
                yield result


def table(file: Path, spec_channels: list, deviation: np.ndarray) -> str:
    """Summary of a file of results: RMSE, spread–skill, CRPS of all channels, then RMSE of key variables."""
    groups: dict[tuple, list[dict]] = {}
    for line in file.open():
        row = json.loads(line)
        groups.setdefault((row["key"][1], row["key"][2], row["key"][0]), []).append(row)
    lines = [f"{'network':8}{'split':12}{'method':22}dates   RMSE    SSR   CRPS  last   CPU s  " + "  ".join(KEY)]
    for (kind, split, label), found in sorted(groups.items()):
        scores = [{k: np.array(v) for k, v in row["scores"].items()} for row in found]
        total, last = summary(scores), summary(scores, last=True)
        mse = np.mean([s["mse"] for s in scores], 0)
        each = [np.sqrt(mse[spec_channels.index(c)]) * deviation[spec_channels.index(c)] for c in KEY.values()]
        lines.append(
            f"{kind:8}{split:12}{label:22}{len(found):5d}  {total['rmse']:.4f}  {total['spread_skill']:.2f}  "
            f"{total['crps']:.4f}  {last['rmse']:.3f}  {np.mean([r['seconds'] for r in found]):5.1f}  "
            + "  ".join(f"{v:.4g}" for v in each)
        )
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.twin", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--config", type=Path, default=Path("xappa/training/speedy.toml"))
    parser.add_argument("--methods", nargs="+", default=["xappa", "enoi", "climatology"])
    parser.add_argument("--networks", nargs="+", default=["A", "B", "C"])
    parser.add_argument("--split", choices=list(SPLITS), default="test")
    parser.add_argument("--dates", type=int, default=20)
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--effort", default="standard")
    parser.add_argument("--guidance", help="instead of that of --effort, with the options below")
    parser.add_argument("--sampler", help="instead of that of --effort, with --steps")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--antithetic", action="store_true", help="members in pairs of opposite noise")
    parser.add_argument("--undressed", action="store_true")
    parser.add_argument("--iterations", type=int, default=None, help="of the guidance solver (default: its own)")
    parser.add_argument("--tolerance", type=float, default=None, help="of the guidance solver (default: its own)")
    parser.add_argument("--label", default="xappa")
    parser.add_argument("--lengths", type=float, nargs="+", default=[800.0, 1100.0, 1500.0, 2500.0])
    parser.add_argument("--out", type=Path, default=Path("twin.jsonl"))
    args = parser.parse_args()
    for row in rows(args):
        with args.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row["key"], f"{row['seconds']:.1f} s", flush=True)
    record = open_record(read_config(args.config), args.work / "data")
    print(table(args.out, list(record.spec.channels), record.statistics["deviation"]))


if __name__ == "__main__":
    main()

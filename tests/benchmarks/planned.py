"""What `plan` predicts, against what is then measured: five different calls of the embedded model.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.planned

Each call is planned in one process and run in two others: for its seconds as it is, and for its memory with an
allocator that gives back what is freed, which takes seconds of its own. Seconds are the processor's on both sides, so
that other programs matter little; memory is the largest resident set beyond that of the process before it runs, and the
networks. Fails where either is more than 30 % off.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import dask
import torch
import xarray as xr

import xappa
from xappa.diffusion.guidance import MMPS
from xappa.streaming.graph.diagnostics import find_run

TOLERANCE = 0.3
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Memory that is freed goes back: glibc's allocator otherwise keeps blocks of up to 32 MB, some hundreds of MB."""
CALLS: dict[str, dict] = {
    "assimilate, preview, 2 members": {"effort": "preview", "members": 2},
    "assimilate, standard, 3 members": {"effort": "standard", "members": 3},
    "assimilate, decoder differentiated, 1 member": {"guidance": MMPS(tangent=False), "steps": 4, "members": 1},
    "sample, 4 members": {"task": "sample", "steps": 16, "members": 4},
    "forecast from a state, 48 h, 2 members": {"task": "forecast", "lead": "48h", "members": 2, "steps": 8},
}


def planned(name: str) -> xr.Dataset:
    """The call itself, of which nothing is computed."""
    options = dict(CALLS[name])
    truth = xappa.tutorial.nature_run()
    task = options.pop("task", "assimilate")
    if task == "assimilate":
        network = xappa.platforms.stations(truth, 230, errors="speedy-twin", seed=0)
        return truth.appa.assimilate(truth.appa.observe(network, error="reported", seed=0), seed=0, **options)
    if task == "forecast":
        return truth.isel(time=[0]).appa.forecast(options.pop("lead"), seed=0, **options)
    return truth.appa.sample(seed=0, **options)


def predict(name: str) -> dict[str, float]:
    """What is predicted: seconds (CPU), bytes, steps of the solver an evaluation; and what predicting took."""
    from xappa.streaming.cost import prediction as cost

    result = planned(name)
    begin = time.process_time()
    found = cost.predict(find_run(result), clock=time.process_time)
    took = time.process_time() - begin
    return {"seconds": found.seconds, "bytes": found.memory, "iterations": found.solver, "took": took}


def measure(name: str) -> dict[str, float]:
    """What is measured: the same."""
    from xappa.sampling.sampling_tasks import load_model

    result = planned(name)
    model = load_model(find_run(result).parts[0][0])
    before = _resident() - model.nbytes
    begin = time.process_time()
    result.compute()
    seconds = time.process_time() - begin
    peak = 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    iterations = float(xappa.diagnostics(result)["iterations"].mean())
    return {"seconds": seconds, "bytes": peak, "iterations": iterations}


def _resident() -> float:
    """Bytes of this process now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def main() -> int:
    """Predict or measure one call, or all of them, each in its own process."""
    torch.set_num_threads(1)
    dask.config.set(scheduler="synchronous")
    if len(sys.argv) > 1:
        print(json.dumps({"predict": predict, "measure": measure}[sys.argv[1]](sys.argv[2])))
        return 0
    worst = 0.0
    print(f"{'call':46}{'seconds: predicted, measured':30}{'MB: predicted, measured':26}solver's steps; planning took")
    for name in CALLS:
        told, found = (_in_process(kind, name) for kind in ("predict", "measure"))
        found["bytes"] = _in_process("measure", name, ALLOCATOR)["bytes"]
        ratio, memory = told["seconds"] / found["seconds"], told["bytes"] / found["bytes"]
        worst = max(worst, abs(ratio - 1), abs(memory - 1))
        print(
            f"{name:46}{told['seconds']:6.1f}{found['seconds']:8.1f}{ratio:8.2f}{told['bytes'] / 1e6:14.0f}"
            f"{found['bytes'] / 1e6:8.0f}{memory:8.2f}{told['iterations']:9.1f}{found['iterations']:7.1f}"
            f"{told['took']:8.1f} s",
            flush=True,
        )
    return 0 if worst <= TOLERANCE else 1


def _in_process(kind: str, name: str, environment: dict[str, str] | None = None) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.planned", kind, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | (environment or {}))
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    raise SystemExit(main())

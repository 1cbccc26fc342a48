"""Peak memory of sampling under three budgets, each in a process of its own, and how far results differ.

OMP_NUM_THREADS=1 python -m tests.benchmarks.memory
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from tests.benchmarks.planned import ALLOCATOR

BUDGETS = ("4GB", "1GB", "350MB")
MEMBERS, STEPS = 8, 2


def measure(memory: str, out: Path) -> None:
    """Sample, write latents, and print bytes beyond those of the process, with those of the model."""
    import resource

    import dask
    import torch

    import xappa
    from tests.benchmarks.planned import _resident
    from xappa.sampling.memory_budget import plan_batches
    from xappa.sampling.sampling_tasks import load_model
    from xappa.streaming.graph.diagnostics import find_run

    torch.set_num_threads(1)
    dask.config.set(scheduler="synchronous")
    truth = xappa.tutorial.nature_run()
    network = xappa.platforms.stations(truth, 230, errors="speedy-twin", seed=0)
    reports = truth.appa.observe(network, error="reported", seed=0)
    guidance = xappa.guidance.MMPS(iterations=2, tolerance=None, tangent=False)
    result = truth.appa.assimilate(reports, members=MEMBERS, seed=0, guidance=guidance, steps=STEPS, memory=memory)
    plan = find_run(result).parts[0][0]
    model = load_model(plan)
    division = plan_batches(model, plan, MEMBERS)
    before = _resident() - model.nbytes
    begin = time.process_time()
    sampled = dask.compute(find_run(result).sampled[0][1][0])[0]
    np.save(out, sampled.latents)
    seconds = time.process_time() - begin
    peak = 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    kept = division.graph_budget // model.autoencoder.spec.graph_bytes
    print(json.dumps({"peak": peak, "members": division.members, "states": kept, "seconds": seconds}))


def main() -> None:
    """Measure one budget, or all."""
    if len(sys.argv) > 1:
        measure(sys.argv[1], Path(sys.argv[2]))
        return
    first: np.ndarray | None = None
    with tempfile.TemporaryDirectory() as folder:
        for memory in BUDGETS:
            out = Path(folder) / f"{memory}.npy"
            command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.memory", memory, str(out)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | ALLOCATOR)
            latents = np.load(out)
            first = latents if first is None else first
            difference = float(np.abs(latents - first).max())
            row = json.loads(done.stdout.splitlines()[-1])
            print(
                f"memory={memory:8}  peak {row['peak'] / 1e6:6.0f} MB  {row['members']} members at once, graphs of "
                f"{row['states']} states  {row['seconds']:.0f} s  largest difference {difference:.1e}",
                flush=True,
            )


if __name__ == "__main__":
    main()

"""What `plan` predicts, against what is then measured: five different calls of the embedded model.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.planned

Each call runs in a process of its own. Seconds are the processor's on both sides, so that other programs matter
little; memory is the largest resident set beyond that of the process before it loads the model. Fails where seconds
are more than 30 % off.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

TOLERANCE = 0.3
CALLS: dict[str, dict] = {
    "assimilate, preview, 2 members": {"effort": "preview", "members": 2},
    "assimilate, standard, 3 members": {"effort": "standard", "members": 3},
    "assimilate, moment matching, 1 member": {"guidance": "mmps", "steps": 4, "members": 1},
    "sample, 4 members": {"task": "sample", "steps": 16, "members": 4},
    "forecast from a state, 48 h, 2 members": {"task": "forecast", "lead": "48h", "members": 2, "steps": 8},
}


def measure(name: str) -> dict[str, float]:
    """Predicted and measured seconds (CPU) and bytes of one call."""
    import dask
    import torch

    import xappa
    from xappa.streaming.cost import predict
    from xappa.streaming.diagnostics import run_of

    torch.set_num_threads(1)
    dask.config.set(scheduler="synchronous")
    options = dict(CALLS[name])
    truth = xappa.tutorial.nature_run()
    task = options.pop("task", "assimilate")
    if task == "assimilate":
        network = xappa.platforms.stations(truth, 230, errors="speedy-twin", seed=0)
        result = truth.appa.assimilate(truth.appa.observe(network, error="reported", seed=0), seed=0, **options)
    elif task == "forecast":
        result = truth.isel(time=[0]).appa.forecast(options.pop("lead"), seed=0, **options)
    else:
        result = truth.appa.sample(seed=0, **options)
    before = _resident()
    predicted = predict(run_of(result), clock=time.process_time)
    begin = time.process_time()
    result.compute()
    seconds = time.process_time() - begin
    return {
        "predicted": predicted.seconds,
        "measured": seconds,
        "predicted_bytes": predicted.memory,
        "measured_bytes": 1024.0 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before,
        "iterations": predicted.solver,
    }


def _resident() -> float:
    """Bytes of this process now."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def main() -> int:
    """Measure one call, or all of them, each in its own process."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return 0
    worst = 0.0
    print(f"{'call':42}{'predicted':>10}{'measured':>10}{'ratio':>8}{'predicted':>12}{'measured':>10}")
    for name in CALLS:
        command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.planned", name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        row = json.loads(done.stdout.splitlines()[-1])
        ratio = row["predicted"] / row["measured"]
        worst = max(worst, abs(ratio - 1))
        print(
            f"{name:42}{row['predicted']:8.1f} s{row['measured']:8.1f} s{ratio:8.2f}"
            f"{row['predicted_bytes'] / 1e6:9.0f} MB{row['measured_bytes'] / 1e6:7.0f} MB",
            flush=True,
        )
    return 0 if worst <= TOLERANCE else 1


if __name__ == "__main__":
    raise SystemExit(main())

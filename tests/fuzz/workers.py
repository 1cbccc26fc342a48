"""Mutations in processes of their own, each with a limit of time and of memory."""

from __future__ import annotations

import faulthandler
import math
import multiprocessing
import os
import resource
import shutil
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from tests.fuzz.outcomes import Outcome, draw, judge
from tests.fuzz.target import Target

BATCH = 2_000
"""Mutations a process: libraries that leak, or keep files open, start anew."""

_START = 120.0
"""Seconds that a process may take for its imports and valid inputs."""


@dataclass(frozen=True)
class Limits:
    """Seconds a mutation, and bytes of address space a process."""

    seconds: float = 60.0
    memory: int = 8 << 30


def run(
    targets: Sequence[Target],
    mutations: int,
    seed: int,
    processes: int = 1,
    limits: Limits = Limits(),  # noqa: B008  (immutable)
    tell: Callable[[str, Outcome], None] = lambda name, outcome: None,
) -> dict[str, list[Outcome]]:
    """Outcomes by target; `mutations` of all of them together, divided by their weights."""
    whole = sum(target.weight for target in targets)
    numbers = {target.name: math.ceil(mutations * target.weight / whole) for target in targets}
    batches = [
        (target, range(start, min(start + BATCH, numbers[target.name])))
        for start in range(0, max(numbers.values()), BATCH)
        for target in targets
        if start < numbers[target.name]
    ]
    found: dict[str, list[Outcome]] = {target.name: [] for target in targets}
    lock = threading.Lock()

    def work(batch: tuple[Target, range]) -> None:
        for outcome in run_batch(*batch, seed, limits):
            with lock:
                found[batch[0].name].append(outcome)
                tell(batch[0].name, outcome)

    with ThreadPoolExecutor(processes) as pool:
        list(pool.map(work, batches))
    return {name: sorted(outcomes, key=lambda outcome: outcome.index) for name, outcomes in found.items()}


def run_batch(target: Target, indices: range, seed: int, limits: Limits) -> Iterator[Outcome]:
    """Outcomes of some mutations; a process that dies is replaced, and goes on behind what killed it."""
    while indices:
        done = 0
        with tempfile.TemporaryDirectory(prefix="xappa-fuzz-") as folder:
            for outcome in _one_process(target, indices, seed, limits, Path(folder)):
                yield outcome
                done += 1
        indices = indices[done:]


def _one_process(target: Target, indices: range, seed: int, limits: Limits, folder: Path) -> Iterator[Outcome]:
    """Outcomes until the process ends; the last one is a hang or crash if it did not end well."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(target, indices, seed, limits, folder, theirs), daemon=False)
    process.start()
    theirs.close()
    done, waited = 0, _START
    try:
        while done < len(indices) and ours.poll(waited):
            try:
                message = ours.recv()
            except EOFError:
                break
            # A watchdog inside ends what takes too long; this one is for what stops that too.
            waited = 3 * limits.seconds + 10
            if isinstance(message, str):
                raise RuntimeError(f"A fault of the fuzzer itself, in {target.name} after {done}:\n{message}")
            if message is not None:
                yield message
                done += 1
    finally:
        started = waited != _START
        _end(process)
        ours.close()
    if not started:
        raise RuntimeError(f"{target.name}: the process of the fuzzer ended (exit {process.exitcode}) before it began")
    if done < len(indices):
        yield _died(indices[done], process.exitcode, folder / "stack")


def _end(process: multiprocessing.process.BaseProcess) -> None:
    """End a process and what it started."""
    process.join(1)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid or 0, signal.SIGKILL)
    process.join()


def _died(index: int, code: int | None, log: Path) -> Outcome:
    stack = log.read_text(errors="replace") if log.exists() else ""
    # Of several threads the one that judges, which waits for the others.
    judging = next((part for part in stack.split("\n\n") if "in _judge_all" in part), stack)
    frames = [line.split("File ")[1] for line in judging.split("\n") if line.lstrip().startswith("File ")]
    inner = " <- ".join(" ".join(_short(frame)) for frame in [*frames[:1], *_ours(frames)])
    if "Timeout" in stack or code is None:
        return Outcome(index, "hang", f"in {inner or 'unknown'}")
    return Outcome(index, "crash", f"exit {code} in {inner or 'unknown'}")


def _short(frame: str) -> list[str]:
    path, _, rest = frame.partition('", ')
    return [*Path(path.strip('"')).parts[-2:], rest]


def _ours(frames: Sequence[str]) -> list[str]:
    return [frame for frame in frames[1:] if "/xappa/" in frame][:1]


def _work(target: Target, indices: range, seed: int, limits: Limits, folder: Path, pipe: Connection) -> None:
    """The process: what its libraries say of damaged files is not shown."""
    os.setsid()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        _judge_all(target, indices, seed, limits, folder, pipe)
    except Exception:
        pipe.send(traceback.format_exc())


def _judge_all(target: Target, indices: range, seed: int, limits: Limits, folder: Path, pipe: Connection) -> None:
    (folder / "seeds").mkdir()
    seeds = target.seeds(folder / "seeds")
    with open(folder / "stack", "w") as stack:
        faulthandler.enable(stack, all_threads=False)
        pipe.send(None)
        for index in indices:
            place = folder / "case"
            place.mkdir()
            damaged = draw(target, seeds, seed, index, place)
            faulthandler.dump_traceback_later(limits.seconds, exit=True, file=stack)
            outcome = judge(target, damaged, index)
            faulthandler.cancel_dump_traceback_later()
            pipe.send(outcome)
            shutil.rmtree(place, ignore_errors=True)

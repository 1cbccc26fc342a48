"""``python -m tests.fuzz``: see ci/fuzz."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.fuzz.outcomes import FAULTS, Outcome, draw, judge
from tests.fuzz.report import as_json, failed, table
from tests.fuzz.target import Target, registry
from tests.fuzz.workers import Limits, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, write JSON; 1 if anything is raw, absurd, hangs or crashes."""
    targets = registry()
    options = _options(targets).parse_args(arguments)
    if options.only:
        return _repeat(targets, *options.only, options.seed, options.keep)
    chosen = [targets[name] for name in options.formats or targets]
    each = -(-options.mutations // len(chosen))
    start = time.process_time(), time.monotonic()
    found = run(chosen, each, options.seed, options.processes, Limits(options.limit), _Tell(each * len(chosen)))
    print(table(found))
    print(
        f"{each} mutations of each of {len(chosen)} formats, seed {options.seed}, {time.monotonic() - start[1]:.0f} s"
    )
    if options.json:
        options.json.write_text(json.dumps(as_json(found, options.seed), indent=1))
    return int(failed(found))


def _options(targets: Mapping[str, Target]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("ci/fuzz", description="Damaged inputs for every reader, counted by outcome.")

    def names(text: str) -> list[str]:
        chosen = text.split(",")
        if wrong := set(chosen) - set(targets):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(wrong))}; expected some of {', '.join(targets)}")
        return chosen

    def one(text: str) -> tuple[str, int]:
        name, _, index = text.rpartition(":")
        return names(name)[0], int(index)

    parser.add_argument("--mutations", type=int, default=100_000, help="of all formats together (default 100000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--formats", type=names, metavar="A,B", help=f"of {', '.join(targets)} (default all)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--limit", type=float, default=20.0, metavar="SECONDS", help="of one mutation (default 20)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write counts and faults there")
    parser.add_argument("--only", type=one, metavar="FORMAT:INDEX", help="repeat one mutation here, with its traceback")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="with --only: leave the damaged input there")
    return parser


def _repeat(targets: Mapping[str, Target], name: str, index: int, seed: int, keep: Path | None) -> int:
    target = targets[name]
    with tempfile.TemporaryDirectory(prefix="xappa-fuzz-") as folder:
        place = keep or Path(folder, "case")
        place.mkdir(parents=True, exist_ok=True)
        Path(folder, "seeds").mkdir()
        damaged = draw(target, target.seeds(Path(folder, "seeds")), seed, index, place)
        print(damaged)
        try:
            print(target.read(damaged))
        except Exception:
            traceback.print_exc(file=sys.stdout)
        outcome = judge(target, damaged, index)
    print(f"{outcome.kind}: {outcome.what}")
    return int(outcome.kind in FAULTS)


class _Tell:
    """Progress, one line a thousand mutations, and each hang and crash at once."""

    def __init__(self, total: int):
        self.total, self.done, self.bad = total, 0, 0

    def __call__(self, name: str, outcome: Outcome) -> None:
        self.done += 1
        self.bad += outcome.kind in FAULTS
        if outcome.kind in ("hang", "crash"):
            print(f"{name}:{outcome.index} {outcome.kind} {outcome.what}", flush=True)
        if not self.done % 1000 or self.done == self.total:
            print(f"{self.done} of {self.total}, {self.bad} faults", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

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
    begun = time.monotonic()
    tell = _Tell(options.mutations, options.seed, options.json)
    found = run(chosen, options.mutations, options.seed, options.processes, Limits(options.limit), tell)
    tell.write()
    print(table(found))
    print(f"{sum(map(len, found.values()))} mutations, seed {options.seed}, {time.monotonic() - begun:.0f} s")
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
    parser.add_argument("--limit", type=float, default=60.0, metavar="SECONDS", help="of one mutation (default 60)")
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
    """Progress, one line a thousand mutations, each kind of fault at once, and what was found until now as JSON."""

    def __init__(self, total: int, seed: int, file: Path | None):
        self.total, self.seed, self.file = total, seed, file
        self.found: dict[str, list[Outcome]] = {}
        self.seen: set[tuple[str, str, str]] = set()

    def __call__(self, name: str, outcome: Outcome) -> None:
        self.found.setdefault(name, []).append(outcome)
        group = (name, outcome.kind, outcome.what)
        if outcome.kind in FAULTS and group not in self.seen:
            self.seen.add(group)
            print(f"{name}:{outcome.index} {outcome.kind} {outcome.what}", flush=True)
        done = sum(map(len, self.found.values()))
        if not done % 1000:
            print(f"{done} of {self.total}", file=sys.stderr, flush=True)
            self.write()

    def write(self) -> None:
        if self.file is not None:
            self.file.write_text(json.dumps(as_json(self.found, self.seed), indent=1))


if __name__ == "__main__":
    sys.exit(main())

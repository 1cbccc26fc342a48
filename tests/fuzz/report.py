"""The table of outcomes, and the same as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.fuzz.known import is_known
from tests.fuzz.outcomes import FAULTS, OUTCOMES, Outcome

Found = Mapping[str, Sequence[Outcome]]


def counts(found: Found) -> dict[str, dict[str, int]]:
    """Numbers by target and outcome; faults of outside libraries that are known count apart."""
    return {name: dict(Counter(_kind(name, outcome) for outcome in outcomes)) for name, outcomes in found.items()}


def faults(found: Found) -> list[dict[str, Any]]:
    """Faults in groups of one kind and place, the most frequent first, with some indices to repeat them by."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for name, outcomes in found.items():
        for outcome in outcomes:
            if outcome.kind in FAULTS:
                groups.setdefault((name, _kind(name, outcome), outcome.what), []).append(outcome.index)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return [
        {"format": name, "outcome": kind, "what": what, "count": len(indices), "first": indices[:5]}
        for (name, kind, what), indices in ordered
    ]


def failed(found: Found) -> bool:
    """Whether anything is a fault that is not known."""
    return any(kind in FAULTS for by_kind in counts(found).values() for kind in by_kind)


def as_json(found: Found, seed: int) -> dict[str, Any]:
    """Everything that is reported."""
    return {"seed": seed, "counts": counts(found), "faults": faults(found)}


def table(found: Found) -> str:
    """Counts by format, and below them the faults."""
    columns = [*OUTCOMES, "known"]
    width = max(len(name) for name in [*found, "format"])
    lines = [" ".join([f"{'format':{width}}", *(f"{name:>9}" for name in columns)])]
    by_name = counts(found)
    total = Counter({column: sum(by.get(column, 0) for by in by_name.values()) for column in columns})
    for name, by_kind in (*by_name.items(), ("all", total)):
        lines.append(" ".join([f"{name:{width}}", *(f"{by_kind.get(column, 0):>9}" for column in columns)]))
    for fault in faults(found):
        repeat = ", ".join(f"{fault['format']}:{index}" for index in fault["first"])
        lines.append(f"{fault['count']:>6} {fault['outcome']:7} {fault['what']}\n               --only {repeat}")
    return "\n".join(lines)


def _kind(name: str, outcome: Outcome) -> str:
    return "known" if outcome.kind in FAULTS and is_known(name, outcome) else outcome.kind

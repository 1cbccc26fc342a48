"""How near to the exact posterior each method comes: the tables of docs/exactness.md, as Markdown.

Run with ``python -m tests.benchmarks.exactness`` (some minutes of one processor), or with the names of some tables.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

import torch

from tests.exactness import CURVED, Flow, Process, chi_square, draws, ranks, run
from tests.test_exactness_gaussian import ERRORS, SIZE, problem
from xappa.diffusion.guidance import DPS, MMPS, SDA, W2C, Guidance, JacobianFree, LatentOptimisation, RePaint
from xappa.diffusion.samplers import DDPM, DPM, LMS, PC
from xappa.diffusion.schedule import Rectified

SAMPLES = 4000
SCHEDULE = Rectified(1e-3, 1e3)
CONVERGED = JacobianFree(24, 1e-8, False)
METHODS: dict[str, Guidance] = {
    "`mmps`": MMPS(),
    "`mmps`, `probes=0`": MMPS(probes=0),
    "`mmps`, `probes=0`, conjugate gradients": MMPS(solver="cg", probes=0),
    "`mmps`, exact": MMPS(12, 1e-8, False),
    "`mmps`, 1 warm iteration": MMPS(1, None),
    "`mmps`, 2 warm iterations": MMPS(2, None),
    "`mmps`, 2 warm iterations, `probes=0`": MMPS(2, None, probes=0),
    "`mmps`, 3 cold iterations": MMPS(3, None, False),
    "`mmps`, 2 cold iterations": MMPS(2, None, False),
    "`mmps`, 1 cold iteration": MMPS(1, None, False),
    "`mmps`, 2 cold iterations, `probes=0`": MMPS(2, None, False, probes=0),
    "`mmps`, 2, not whitened (official)": MMPS.official(),
    "`mmps`, 1 cold iteration, `probes=0`": MMPS(1, None, False, probes=0),
    "`jacobian-free`": JacobianFree(),
    "`jacobian-free`, `probes=0`": JacobianFree(probes=0),
    "`sda`": SDA(),
    "`w2c`": W2C(),
    "`dps`": DPS(),
    "`repaint`": RePaint(),
    "`latent-optimisation`": LatentOptimisation(),
    "`latent-optimisation`, to the end": LatentOptimisation(discrepancy=None),
    "`latent-optimisation`, to the end, perturbed": LatentOptimisation(discrepancy=None, perturb_observations=True),
}
REFUSES = ("`sda`", "`w2c`")


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Lines of a Markdown table."""
    heads = list(heads)
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def guidance_of_gaussians() -> Iterator[str]:
    """RMS error of the mean in posterior deviations, and mean ratio of variances, by method and kind of error."""

    def row(name: str, guidance: Guidance) -> Iterator[str]:
        yield name
        for errors in ERRORS:
            p = problem(errors)
            if (
                errors not in ("equal", "heterogeneous")
                and name in REFUSES
                or errors == "correlated and not"
                and isinstance(guidance, (DPS, LatentOptimisation))
            ):
                yield "–"
            else:
                mean, covariance = p.posterior()
                found = run(DPM(48), p.guided(guidance, SAMPLES), draws(SAMPLES, SIZE, 5))
                variance = covariance.diagonal()
                error = ((found.mean(0) - mean) ** 2 / variance).mean().sqrt()
                yield f"{error:.2f} / {(found.var(0) / variance).mean():.2f}"

    return table(["guidance", *ERRORS], (row(name, guidance) for name, guidance in METHODS.items()))


def few_steps() -> Iterator[str]:
    """As above for the default number of steps, by setting of the solver; in brackets, iterations in all."""
    settings = {
        "to the end": CONVERGED,
        "1 iteration": JacobianFree(1, None),
        "2 iterations": JacobianFree(2, None),
        "2 iterations, `probes=0`": JacobianFree(2, None, probes=0),
        "tolerance 0.05": JacobianFree(),
        "tolerance 0.05, `probes=0`": JacobianFree(probes=0),
        "tolerance 0.2": JacobianFree(tolerance=0.2),
        "tolerance 0.2, `probes=4`": JacobianFree(tolerance=0.2, probes=4),
        "tolerance 0.2, `probes=0`": JacobianFree(tolerance=0.2, probes=0),
    }

    def entry(guidance: Guidance, errors: str) -> str:
        p = problem(errors)
        mean, variance = p.posterior()[0], p.posterior()[1].diagonal()
        guided = p.guided(guidance)
        found = run(LMS(), guided, draws(1000, SIZE, 5), SCHEDULE)
        error = ((found.mean(0) - mean) ** 2 / variance).mean().sqrt()
        used = torch.stack(guided.iterations).sum(0).double().mean()
        return f"{error:.2f} / {(found.var(0) / variance).mean():.2f} ({used:.0f})"

    return table(["solver", *ERRORS], ([name, *(entry(g, e) for e in ERRORS)] for name, g in settings.items()))


def steps_of_samplers() -> Iterator[str]:
    """Mean ratio of variances by sampler and number of evaluations; errors as they are and 10 times smaller."""
    counts = (6, 8, 12, 16, 24, 32, 48, 64, 96)
    kinds = {
        "`lms`": lambda n: LMS(n),
        "`lms`, even in ln σ": lambda n: LMS(n, spacing="log"),
        "`dpm`": lambda n: DPM(n),
        "`dpm`, schedule's steps": lambda n: DPM(n, spacing="schedule"),
        "`ddim`": lambda n: LMS(n, 1),
        "`ddpm`": lambda n: DDPM(n),
        "`pc`, 2 corrections": lambda n: PC(n // 3, 2, 0.1),
    }

    def ratio(sampler, closer: float) -> str:
        p = problem("heterogeneous", closer)
        mean, covariance = p.posterior()
        found = run(sampler, p.guided(CONVERGED), draws(SAMPLES, SIZE, 5), SCHEDULE)
        return f"{(found.var(0) / covariance.diagonal()).mean():.2f}"

    for closer, text in ((1.0, "deviations of 0.03 to 1"), (1e-2, "deviations of 0.003 to 0.1")):
        yield f"\nObservation errors with {text}:\n"
        yield from table(
            ["sampler", *map(str, counts)],
            ([name, *(ratio(kind(n), closer) for n in counts)] for name, kind in kinds.items()),
        )


def composed_processes() -> Iterator[str]:
    """Error of the mean / ratio of variances, by stitching, overlap and memory."""

    def figures(memory: float, overlap: int, stitching: str, scope: str) -> Iterator[str]:
        guidance = JacobianFree(24, 1e-8, False, scope=scope)
        yield from (f"{memory:g}", f"{overlap}", stitching, scope)
        for seen, smoothed, where in (
            (range(0, 36, 3), True, slice(None)),
            (range(0, 36, 3), False, slice(-2, None)),
            (range(0, 18, 2), True, slice(36, None)),
        ):
            process = Process(memory=memory, overlap=overlap, seen=tuple(seen))
            states = process.kalman()[smoothed]
            mean = torch.cat([m for m, _ in states])
            variance = torch.diag(torch.cat([c.diagonal() for _, c in states]))
            found = Flow.of(DPM(48), process.denoiser(guidance, stitching), 2 * process.times)
            yield "{:.3f} / {:.3f}".format(*found.against(mean, variance, where))

    cases = [
        (memory, overlap, stitching, "window")
        for memory in (1.5, 3.0, 6.0, 12.0)
        for overlap in (4, 6, 8)
        for stitching in ("symmetrical", "blended", "average", "causal")
    ]
    cases += [(m, 6, s, "trajectory") for m in (1.5, 3.0, 6.0, 12.0) for s in ("symmetrical", "blended")]
    heads = ["memory", "overlap", "stitching", "guided", "smoothing", "filtering", "forecast"]
    return table(heads, (figures(*case) for case in cases))


def curved_operators() -> Iterator[str]:
    """Error of the mean / ratio of variances of what is observed, against importance sampling."""

    def row(name: str, guidance: Guidance | None) -> Iterator[str]:
        yield name
        for curved in CURVED.values():
            found = run(DPM(48), curved.guided(guidance, SAMPLES), draws(SAMPLES, len(curved.mean), 3))
            mean, variance = curved.against(found)
            yield f"{mean[0]:+.2f} / {variance[0]:.2f}"

    return table(["guidance", *CURVED], (row(*item) for item in [("exact", None), *METHODS.items()]))


def calibration() -> Iterator[str]:
    """Chi-squared of 10-bar rank histograms of 4,000 trials, and their mean deviation from flat."""

    def row(name: str, guidance: Guidance | None) -> Iterator[str]:
        statistic, deviation = chi_square(ranks(guidance, DPM(48), SAMPLES, 9))
        yield from (name, f"{statistic:.0f}", f"{100 * deviation:.0f} %")

    heads = ["guidance", "χ², worst of four", "mean deviation of a bar"]
    return table(heads, (row(*item) for item in [("exact", None), *METHODS.items()]))


TABLES = {
    function.__name__: function
    for function in (
        guidance_of_gaussians,
        few_steps,
        steps_of_samplers,
        composed_processes,
        curved_operators,
        calibration,
    )
}


def main(names: list[str]) -> None:
    """Write the tables of these names, or all."""
    for name in names or TABLES:
        sys.stdout.write(f"\n## {name}\n\n{TABLES[name].__doc__}\n\n")
        for line in TABLES[name]():
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])

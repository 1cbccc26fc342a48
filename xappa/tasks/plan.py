"""What a run will cost, before it runs."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import xarray as xr

from xappa.alignment import aligned
from xappa.background import Background
from xappa.checked import checked
from xappa.errors import OptionError, choose
from xappa.segments import Segments
from xappa.tasks.effort import DEFAULT

if TYPE_CHECKING:
    from xappa.models.protocol import ModelLike
    from xappa.observations.errors_table import Errors
    from xappa.observations.quality import Quality
    from xappa.observations.read import Source
    from xappa.operators.sources import Choice
    from xappa.tasks.forecast import Lead


@dataclass(frozen=True)
class Cost:
    """What a run will take. Shown as a table.

    Parameters
    ----------
    task : str
        What would be called.
    model, device : str
    members, times : int
        Of the result.
    windows : int
        Windows of the model that each member is sampled in, over all segments of the time axis.
    evaluations : int
        Calls of the denoiser, over all members and windows.
    iterations : float
        Steps of the guidance's solver in one of them, on average; 0 without observations.
    flop : float
        Floating-point operations of the networks, decoding of the result included; a multiplication and an addition
        are two.
    sampling_flop : float
        The same without decoding the result.
    memory : float
        Bytes at the fullest, on the device, with the networks' weights.
    together : int
        Members that are sampled at once.
    seconds : float
        Of computing all of it with one task at a time.
    timed : bool
        Whether they come from a small run of this kind; otherwise, where that would take too long, from the speed of
        a convolution on the device, which is right within a factor.
    result_bytes : float
        Size of the result.
    chunks, tasks : int
        Dask chunks of the result, a variable counted for each, and tasks of its graph.
    """

    task: str
    model: str
    device: str
    members: int
    times: int
    windows: int
    evaluations: int
    iterations: float
    flop: float
    sampling_flop: float
    memory: float
    together: int
    seconds: float
    timed: bool
    result_bytes: float
    chunks: int
    tasks: int

    def rows(self) -> list[tuple[str, str]]:
        """Names and values, in words."""
        return [
            ("model, device", f"{self.model}, {self.device}"),
            ("result", f"{self.members} members, {self.times} times, {_bytes(self.result_bytes)}"),
            ("chunks, tasks", f"{self.chunks}, {self.tasks}"),
            ("windows a member", str(self.windows)),
            ("evaluations", f"{self.evaluations}, of {self.together} members at once"),
            ("solver iterations", f"{self.iterations:.1f} an evaluation" if self.iterations else "none"),
            ("FLOP", f"{_scaled(self.flop)}, of which decoding the result: {_scaled(self.flop - self.sampling_flop)}"),
            ("memory", _bytes(self.memory)),
            ("time", _duration(self.seconds) + ("" if self.timed else " (from the device's speed: roughly)")),
        ]

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return "\n".join([f"<xappa plan of {self.task}>", *(f"  {name:<{width}}  {value}" for name, value in rows)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
            for name, value in self.rows()
        )
        return f"<table><caption>xappa plan of {html.escape(self.task)}</caption>{rows}</table>"


@checked
@aligned
def plan(
    ds: xr.Dataset,
    obs: Source | None = None,
    operator: Choice | Mapping[str, Choice] | None = None,
    *,
    task: str | None = None,
    lead: Lead | None = None,
    mode: str = "autoregressive",
    model: ModelLike | None = None,
    error: Errors | None = None,
    background: str | xr.Dataset | Background | None = None,
    members: int | Iterable[int] = 1,
    effort: str = DEFAULT,
    guidance: str | object | None = None,
    sampler: str | object | None = None,
    steps: int | None = None,
    stitching: str = "symmetrical",
    segments: str | Segments = "independent",
    quality: str | Quality = "standard",
    grid: str = "model",
    seed: int | None = None,
    device: str | None = None,
    memory: str | float | None = None,
    chunks: str | int | Mapping[str, int] | None = "auto",
    drop_unknown: bool = False,
) -> Cost:
    """What a run would cost; the twin of ``ds.appa.plan``, which documents the parameters.

    Parameters
    ----------
    ds, obs, operator, task, lead, mode, model, error, background, members, effort, guidance, sampler, steps, \
    stitching, segments, quality, grid, seed, device, memory, chunks, drop_unknown
        See `xappa.accessor.AppaAccessor.plan`.

    Returns
    -------
    Cost

    Raises
    ------
    OptionError
        If the task lacks what it needs.
    """
    from xappa.tasks.forecast import MODES

    choose("mode", mode, MODES)
    name = task or ("forecast" if lead is not None else "sample" if obs is None else "assimilate")
    shared: dict[str, Any] = {
        "model": model, "members": members, "effort": effort, "sampler": sampler, "steps": steps,
        "stitching": stitching, "grid": grid, "seed": seed, "device": device, "memory": memory, "chunks": chunks,
        "drop_unknown": drop_unknown,
    }  # fmt: skip
    observing: dict[str, Any] = {
        "operator": operator, "error": error, "background": background, "guidance": guidance, "quality": quality
    }  # fmt: skip
    return _cost(name, _lazy(name, ds, obs, lead, mode, segments, shared, observing))


def _lazy(
    name: str,
    ds: xr.Dataset,
    obs: Source | None,
    lead: Lead | None,
    mode: str,
    segments: str | Segments,
    shared: dict[str, Any],
    observing: dict[str, Any],
) -> xr.Dataset:
    """The result itself, of which nothing is computed."""
    from xappa.tasks.assimilate import assimilate
    from xappa.tasks.filter import filter
    from xappa.tasks.forecast import forecast
    from xappa.tasks.sample import sample

    if name == "sample":
        return sample(ds, segments=segments, **shared)
    if name == "forecast":
        if lead is None:
            raise OptionError("A plan of a forecast needs lead=, such as lead='3D'")
        return forecast(ds, lead, obs=obs, mode=mode, **observing, **shared)
    if name not in ("assimilate", "filter"):
        raise OptionError(f"task={name!r}: expected 'assimilate', 'filter', 'forecast' or 'sample'")
    if obs is None:
        raise OptionError(f"A plan of {name} needs observations; without them the task is 'sample'")
    return (assimilate if name == "assimilate" else filter)(ds, obs, segments=segments, **observing, **shared)


def _cost(name: str, result: xr.Dataset) -> Cost:
    from xappa.streaming.cost.prediction import predict
    from xappa.streaming.graph.diagnostics import run_of

    run = run_of(result)
    found = predict(run)
    arrays = [variable.data for variable in result.data_vars.values()]
    graph = result.__dask_graph__()
    return Cost(
        task=name,
        model=str(result.attrs.get("xappa_model", "")),
        device=found.device,
        members=len(run.members),
        times=run.fields.shape[1],
        windows=found.windows,
        evaluations=found.evaluations,
        iterations=found.solver,
        flop=found.flop,
        sampling_flop=found.sampling_flop,
        memory=found.memory,
        together=found.together,
        seconds=found.seconds,
        timed=found.timed,
        result_bytes=float(sum(array.nbytes for array in arrays)),
        chunks=sum(array.npartitions for array in arrays),
        tasks=0 if graph is None else len(graph),
    )


def _scaled(number: float) -> str:
    for power, letter in ((18, "E"), (15, "P"), (12, "T"), (9, "G")):
        if number >= 10**power:
            return f"{number / 10**power:.3g} {letter}FLOP"
    return f"{number / 1e6:.3g} MFLOP"


def _bytes(number: float) -> str:
    return f"{number / 1e9:.3g} GB" if number >= 1e9 else f"{number / 1e6:.3g} MB"


def _duration(seconds: float) -> str:
    for length, word in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {word}"
    return f"{seconds:.1f} seconds"

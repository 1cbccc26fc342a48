"""Predicted cost of a run."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

import xarray as xr

from xappa.errors import OptionError, choose
from xappa.signatures import select_fields, with_parameters_of
from xappa.tasks.assimilate import assimilate
from xappa.tasks.filter import filter
from xappa.tasks.forecast import MODES, ForecastRequest, forecast
from xappa.tasks.request import AnalysisRequest, ObservedRequest, TrajectoryRequest
from xappa.tasks.sample import sample

if TYPE_CHECKING:
    from xappa.observations.read import Source
    from xappa.operators.sources import Choice
    from xappa.tasks.forecast import Lead


@dataclass(frozen=True)
class Cost:
    """Predicted cost of a run. Shown as a table.

    Parameters
    ----------
    task : str
        Name of the task.
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
            ("result", f"{self.members} members, {self.times} times, {_format_bytes(self.result_bytes)}"),
            ("chunks, tasks", f"{self.chunks}, {self.tasks}"),
            ("windows a member", str(self.windows)),
            ("evaluations", f"{self.evaluations}, of {self.together} members at once"),
            ("solver iterations", f"{self.iterations:.1f} an evaluation" if self.iterations else "none"),
            (
                "FLOP",
                f"{_format_scaled(self.flop)}, of which decoding the result: "
                f"{_format_scaled(self.flop - self.sampling_flop)}",
            ),
            ("memory", _format_bytes(self.memory)),
            ("time", _format_duration(self.seconds) + ("" if self.timed else " (from the device's speed: roughly)")),
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


@dataclass(frozen=True, eq=False)
class PlanRequest(AnalysisRequest):
    """Request of a run whose cost is predicted.

    Parameters
    ----------
    obs : xarray.Dataset, pandas.DataFrame or path of a file; or a dict or list of these, optional
        As for `assimilate`. Default: no observations.
    operator : str, operator, function, or dict of these, optional
        As for `assimilate`.
    task : str, optional
        ``"assimilate"``, ``"filter"``, ``"forecast"`` or ``"sample"``. Default: ``"forecast"`` if `lead` is given,
        ``"sample"`` without observations, else ``"assimilate"``.
    lead : str, timedelta, or a sequence of these, optional
        As for `forecast`.
    mode : str, default "autoregressive"
        As for `forecast`.
    """

    obs: Source | None = None
    operator: Choice | Mapping[str, Choice] | None = None
    _: KW_ONLY
    task: str | None = None
    lead: Lead | None = None
    mode: str = "autoregressive"

    def validate(self) -> None:
        """Refuse options that are not valid."""
        choose("mode", self.mode, MODES)
        if self.task is not None and self.task not in TASKS:
            raise OptionError(f"task={self.task!r}: expected 'assimilate', 'filter', 'forecast' or 'sample'")
        super().validate()

    @property
    def name(self) -> str:
        """Name of the task."""
        return self.task or ("forecast" if self.lead is not None else "sample" if self.obs is None else "assimilate")


@with_parameters_of(PlanRequest)
def plan(request: PlanRequest) -> Cost:
    """Predict the cost of a run: evaluations, FLOP, memory, seconds, chunks and tasks. It is not run.

    The networks' arithmetic is counted and their memory metered without doing anything; seconds come from a small run
    of some seconds on the device. Reports are read and checked as for the run itself. All options are those of the run.

    Returns
    -------
    Cost
        Shown as a table; its numbers are attributes, such as ``.seconds`` and ``.flop``.

    Raises
    ------
    xappa.errors.XappaError
        Whatever the task itself would raise when it is called.

    Examples
    --------
    >>> ds.appa.plan(obs, members=8)  # doctest: +SKIP
    """
    if request.name == "forecast" and request.lead is None:
        raise OptionError("A plan of a forecast needs lead=, such as lead='3D'")
    if request.name in ("assimilate", "filter") and request.obs is None:
        raise OptionError(f"A plan of {request.name} needs observations; without them the task is 'sample'")
    task, kind = TASKS[request.name]
    return _make_cost(request.name, task(**select_fields(request, kind)))


TASKS: dict[str, tuple[Callable[..., xr.Dataset], type[TrajectoryRequest]]] = {
    "assimilate": (assimilate, ObservedRequest),
    "filter": (filter, ObservedRequest),
    "forecast": (forecast, ForecastRequest),
    "sample": (sample, TrajectoryRequest),
}
"""Names that choose what is planned: the function, whose result is not computed, and what it is asked."""


def _make_cost(name: str, result: xr.Dataset) -> Cost:
    from xappa.streaming.cost.prediction import predict
    from xappa.streaming.graph.diagnostics import find_run

    run = find_run(result)
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


def _format_scaled(number: float) -> str:
    for power, letter in ((18, "E"), (15, "P"), (12, "T"), (9, "G")):
        if number >= 10**power:
            return f"{number / 10**power:.3g} {letter}FLOP"
    return f"{number / 1e6:.3g} MFLOP"


def _format_bytes(number: float) -> str:
    return f"{number / 1e9:.3g} GB" if number >= 1e9 else f"{number / 1e6:.3g} MB"


def _format_duration(seconds: float) -> str:
    for length, word in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {word}"
    return f"{seconds:.1f} seconds"

"""Options of the tasks stand once: signatures, help texts and checks follow from one dataclass."""

from __future__ import annotations

import dataclasses
import inspect
import re

import pytest
import xarray as xr

import xappa
from xappa.errors import OptionError, XappaError
from xappa.experimental import ConstrainRequest
from xappa.signatures import parse_parameters, select_fields, with_parameters_of
from xappa.tasks.cycle import CycleRequest
from xappa.tasks.forecast import ForecastRequest
from xappa.tasks.plan import TASKS, PlanRequest
from xappa.tasks.request import (
    AnalysisRequest,
    ObservedRequest,
    ObservingRequest,
    SamplingRequest,
    TrajectoryOptions,
    TrajectoryRequest,
)

REQUESTS = {
    "assimilate": ObservedRequest,
    "filter": ObservedRequest,
    "forecast": ForecastRequest,
    "sample": TrajectoryRequest,
    "plan": PlanRequest,
    "cycle": CycleRequest,
    "constrain": ConstrainRequest,
}
SHARED = (SamplingRequest, TrajectoryOptions, ObservingRequest, AnalysisRequest)


def function(name: str):
    return getattr(xappa, name, None) or getattr(xappa.experimental, name)


def own_fields(kind: type) -> set[str]:
    return {name for name in vars(kind).get("__annotations__", {}) if name != "_"}


@pytest.fixture
def ds(tiny_model) -> xr.Dataset:
    return xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)


@pytest.mark.parametrize("name", REQUESTS)
def test_signatures_are_those_of_the_request(name):
    listed = inspect.signature(function(name)).parameters
    fields = {field.name: field for field in dataclasses.fields(REQUESTS[name])}
    assert set(listed) == set(fields)
    for parameter in listed.values():
        field = fields[parameter.name]
        assert parameter.annotation == field.type == function(name).__annotations__[parameter.name]
        missing = field.default is dataclasses.MISSING
        assert (parameter.default is parameter.empty) if missing else (parameter.default == field.default)
        assert (parameter.kind is parameter.KEYWORD_ONLY) == field.kw_only
    assert next(iter(listed)) == "ds"


@pytest.mark.parametrize("name", REQUESTS)
def test_help_describes_every_parameter_in_order(name):
    doc = inspect.getdoc(function(name))
    assert list(parse_parameters(doc)) == list(inspect.signature(function(name)).parameters)
    assert doc.count("Parameters\n-----") == 1
    assert doc.index("Parameters\n-----") < doc.index("Returns\n-----") < doc.index("Raises\n-----")
    for name, entry in parse_parameters(doc).items():
        assert len(entry.splitlines()) > 1, f"{name} is named, not described"


@pytest.mark.parametrize("name", REQUESTS)
def test_help_tells_the_defaults(name):
    entries = parse_parameters(function(name).__doc__)
    for parameter in inspect.signature(function(name)).parameters.values():
        head = entries[parameter.name].splitlines()[0]
        if parameter.default is None:
            assert head.endswith(", optional"), head
        elif parameter.default is not parameter.empty:
            told = re.search(r", default (.*)$", head)
            assert told and told[1].replace('"', "'") == repr(parameter.default), head


def test_a_shared_option_stands_in_one_class():
    homes = [name for kind in SHARED for name in own_fields(kind)]
    assert len(set(homes)) == len(homes)
    again = {kind: own_fields(kind) & set(homes) for kind in set(REQUESTS.values()) - set(SHARED)}
    assert again.pop(CycleRequest) == {"background", "members", "seed"}  # of another kind, or with another default
    assert not any(again.values())


def test_tasks_that_sample_trajectories_take_the_same_options():
    for name in ("assimilate", "filter", "forecast", "plan"):
        assert {f.name for f in dataclasses.fields(AnalysisRequest)} <= set(
            inspect.signature(function(name)).parameters
        )
    constrained = set(inspect.signature(xappa.experimental.constrain).parameters)
    assert constrained >= {"memory", "segments"} and "background" not in constrained
    assert "segments" in inspect.signature(xappa.forecast).parameters
    assert "memory" in inspect.signature(xappa.cycle).parameters


@pytest.mark.parametrize(
    "options",
    [
        {"members": 0}, {"members": "a"}, {"effort": "most"}, {"guidance": "none"}, {"sampler": "euler"},
        {"steps": "a"}, {"stitching": "knots"}, {"segments": "some"}, {"grid": "mine"}, {"seed": -1},
        {"memory": "6 apples"}, {"chunks": {"latitude": 3}}, {"drop_unknown": "no"}, {"progress": 1},
        {"quality": "good"}, {"quality": 5}, {"operator": "interpolat"}, {"operator": 5},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("name", ["assimilate", "filter", "forecast", "plan", "constrain"])
def test_every_task_refuses_what_is_not_valid(ds, tiny_model, name, options):
    arguments = {"forecast": ("6h",)}.get(name, ())
    obs = {} if name == "forecast" else {"obs": xr.Dataset()}
    with pytest.raises(OptionError, match=next(iter(options))):
        function(name)(ds, *arguments, **obs, **({"model": tiny_model} | options))


def test_an_unknown_option_is_refused_by_name(ds):
    with pytest.raises(TypeError, match="unexpected keyword argument 'membres'"):
        ds.appa.sample(membres=3)
    with pytest.raises(TypeError, match="missing a required argument: 'obs'"):
        ds.appa.assimilate()


def test_a_request_cannot_be_changed_and_reads_an_iterator_once(ds, tiny_model):
    request = TrajectoryRequest(ds, model=tiny_model, members=iter([3, 1]), memory="1GB")
    assert request.members == request.member_numbers == (3, 1) and request.memory_bytes == 1e9
    assert request.chosen_seed == request.chosen_seed
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.steps = 3


def test_a_plan_hands_on_every_option_of_its_task(ds, tiny_model):
    request = PlanRequest(ds, {}, "nearest", lead="6h", model=tiny_model, members=3, segments="chain", quality="none")
    for _, kind in TASKS.values():
        given = select_fields(request, kind)
        assert set(given) == {field.name for field in dataclasses.fields(kind)}
        assert given["members"] == (0, 1, 2) and given["segments"] == "chain"


def test_a_plan_takes_the_options_of_the_run_whole(ds, tiny_model):
    options = {"model": tiny_model, "members": 1, "steps": 2, "seed": 0, "progress": False, "memory": "2GB"}
    assert ds.appa.plan(**options).task == "sample"
    with pytest.raises(XappaError, match="task='assimilat'"):
        ds.appa.plan(task="assimilat", **options)


def test_documents_are_made_of_dataclasses_whatever_their_bases():
    @dataclasses.dataclass(frozen=True)
    class Base:
        """A base.

        Parameters
        ----------
        a : int
            One,
            two.
        b : int, default 1
            Three.
        """

        a: int
        b: int = 1

    @dataclasses.dataclass(frozen=True)
    class More(Base):
        """More.

        Parameters
        ----------
        b : int, default 2
            Four.
        """

        b: int = 2

    @with_parameters_of(More)
    def total(request: More) -> int:
        """The sum.

        Returns
        -------
        int
        """
        return request.a + request.b

    assert total(1) == 3 and total(a=1, b=5) == 6
    assert total.__doc__ == (
        "The sum.\n\nParameters\n----------\na : int\n    One,\n    two.\nb : int, default 2\n    Four.\n\n"
        "Returns\n-------\nint"
    )
    assert str(inspect.signature(total)) == "(a: 'int', b: 'int' = 2) -> 'int'"
    with pytest.raises(OptionError, match="total: a='x', expected a whole number"):
        total("x")

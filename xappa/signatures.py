"""A function whose parameters are the fields of a dataclass: each is written, documented and checked in one place.

For type checkers, `help` and completion the function has an explicit signature: that of the dataclass.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any, ParamSpec, TypeVar

from xappa.alignment import with_xarray_defaults
from xappa.argument_types import check_arguments

P = ParamSpec("P")
Q = TypeVar("Q")
R = TypeVar("R")

_PARAMETERS, _RETURNS = "Parameters\n----------\n", "Returns\n-------\n"


def with_parameters_of(request: Callable[P, Q]) -> Callable[[Callable[[Q], R]], Callable[P, R]]:
    """Give a function of one `request`, a dataclass, the parameters of that dataclass.

    Their descriptions are put before ``Returns`` in its docstring. Arguments of other kinds than the fields'
    annotations are refused under the function's name, as by `check_arguments`.

    Parameters
    ----------
    request : dataclass
        Its fields are described in its own docstring, or in those of its bases.
    """

    def with_signature(function: Callable[[Q], R]) -> Callable[P, R]:
        parameters = _build_parameters(request)
        returned = inspect.signature(function).return_annotation

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return function(request(*args, **kwargs))

        call.__dict__["__signature__"] = inspect.Signature(parameters, return_annotation=returned)
        call.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": returned}
        call.__module__, call.__name__, call.__qualname__ = (
            function.__module__,
            function.__name__,
            function.__qualname__,
        )
        call.__doc__ = function.__doc__ and _insert_parameters(function.__doc__, request)
        return check_arguments(with_xarray_defaults(call))

    return with_signature


def parse_parameters(docstring: str | None) -> dict[str, str]:
    """Entries of the section ``Parameters`` of a numpydoc docstring, by name; those of several names under each."""
    _, _, section = inspect.cleandoc(docstring or "").partition(_PARAMETERS)
    entries = re.split(r"\n(?=\S)", section.partition("\n\n")[0]) if section else []
    return {name: entry for entry in entries for name in entry.partition(" : ")[0].split(", ")}


def _build_parameters(request: Any) -> list[inspect.Parameter]:
    """Parameters from the fields of a dataclass; keyword-only ones begin with its own, shared ones follow."""
    homes = {
        name: k for k, kind in [*enumerate(request.__mro__)][::-1] for name in vars(kind).get("__annotations__", ())
    }
    listed = inspect.signature(request).parameters.values()
    return sorted(listed, key=lambda p: (p.kind, homes[p.name] if p.kind is p.KEYWORD_ONLY else 0))


def _insert_parameters(docstring: str, request: Any) -> str:
    """A docstring with the section of parameters that the fields of a dataclass make."""
    described: dict[str, str] = {}
    for kind in reversed(request.__mro__):
        described |= parse_parameters(kind.__doc__)
    listed = [described[name] for p in _build_parameters(request) if (name := p.name) in described]
    before, returns, after = inspect.cleandoc(docstring).partition(_RETURNS)
    return f"{before}{_PARAMETERS}{chr(10).join(listed)}\n\n{returns}{after}"


def select_fields(request: Any, kind: type) -> dict[str, Any]:
    """Fields of a request that another kind of request has too, by name."""
    return {field.name: getattr(request, field.name) for field in fields(kind) if hasattr(request, field.name)}

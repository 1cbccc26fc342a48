"""Functions as methods of an accessor, loaded when they are first used: `import xappa` stays quick."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

import xarray as xr

P = ParamSpec("P")
R = TypeVar("R")


def _get_dataset(accessor: Any) -> Any:
    return accessor._obj


def bind_method(
    load: Callable[[], Callable[Concatenate[xr.Dataset, P], R]], subject: Callable[[Any], xr.Dataset] = _get_dataset
) -> Callable[Concatenate[Any, P], R]:
    """A function of a Dataset as a method, with its docstring, and its parameters but the first.

    Parameters
    ----------
    load : callable
        Returns the function.
    subject : callable, optional
        Returns the Dataset of an accessor. Default: what it is an accessor of.
    """
    return cast("Callable[Concatenate[Any, P], R]", _LazyMethod(load, subject))


def bind_array_method(
    load: Callable[[], Callable[Concatenate[xr.DataArray, P], R]],
) -> Callable[Concatenate[Any, P], R]:
    """As `bind_method`, for a function of a DataArray."""
    return cast("Callable[Concatenate[Any, P], R]", _LazyMethod(load, _get_dataset))


class _LazyMethod(Generic[P, R]):
    """A method that takes its own place in the class as soon as it is looked up."""

    def __init__(self, load: Callable[[], Callable[..., R]], subject: Callable[[Any], Any]) -> None:
        self.load, self.subject = load, subject

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner, self.name = owner, name

    def __get__(self, accessor: Any, owner: type | None = None) -> Any:
        setattr(self.owner, self.name, self._bind())
        return getattr(owner if accessor is None else accessor, self.name)

    def _bind(self) -> Callable[..., R]:
        function, subject = self.load(), self.subject
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(self: Any, *args: Any, **kwargs: Any) -> R:
            return function(subject(self), *args, **kwargs)

        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        call.__dict__["__signature__"] = signature.replace(parameters=[own, *list(signature.parameters.values())[1:]])
        call.__qualname__ = f"{self.owner.__qualname__}.{self.name}"
        return call

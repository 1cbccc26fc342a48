"""Functions as methods of an accessor, loaded when they are first used: `import xappa` stays quick."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


def method(
    load: Callable[[], Callable[Concatenate[T, P], R]], subject: Callable[[Any], T] | None = None
) -> Callable[Concatenate[Any, P], R]:
    """A function as a method, with the parameters and the docstring of the function, but the first.

    Parameters
    ----------
    load : callable
        Returns the function.
    subject : callable, optional
        What the function is given first, of the accessor. Default: its ``_obj``.
    """
    return cast("Callable[Concatenate[Any, P], R]", _Loaded(load, subject or _object))


def _object(accessor: Any) -> Any:
    return accessor._obj


class _Loaded(Generic[P, R]):
    """A method that takes its own place in the class as soon as it is looked up."""

    def __init__(self, load: Callable[[], Callable[..., R]], subject: Callable[[Any], Any]) -> None:
        self.load, self.subject = load, subject

    def __set_name__(self, owner: type, name: str) -> None:
        self.owner, self.name = owner, name

    def __get__(self, accessor: Any, owner: type | None = None) -> Any:
        setattr(self.owner, self.name, self._bound())
        return getattr(owner if accessor is None else accessor, self.name)

    def _bound(self) -> Callable[..., R]:
        function, subject = self.load(), self.subject
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(self: Any, *args: Any, **kwargs: Any) -> R:
            return function(subject(self), *args, **kwargs)

        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
        call.__dict__["__signature__"] = signature.replace(parameters=[own, *list(signature.parameters.values())[1:]])
        call.__qualname__ = f"{self.owner.__qualname__}.{self.name}"
        return call

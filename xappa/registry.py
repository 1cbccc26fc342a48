"""Registries: names that choose an implementation, of this package or of an installed one.

A registry is a mapping of names. Modules of this package add to it with `Registry.register`; installed packages with an
entry point of its group. Entry points are loaded when they are asked for, so that a package that is broken harms nobody
who does not use it.

References
----------
Python Packaging User Guide, Entry points specification.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from xappa.errors import ExtensionError, ExtensionWarning, warn

T = TypeVar("T")
C = TypeVar("C")


class Registry(Mapping[str, T], Generic[T]):
    """Implementations of one kind by name, in alphabetical order.

    Iteration leaves out entry points that cannot be used, each with one `ExtensionWarning`. They are ``in`` the
    registry all the same, so that asking for one by name says what is wrong.

    Parameters
    ----------
    kind : str
        What the entries are, for messages, such as ``"sampler"``.
    group : str
        Group of the entry points of installed packages, such as ``"xappa.samplers"``.
    prepare : callable
        From what was registered, or what an entry point names, to the entry. Raises `TypeError` with what was found and
        expected where it is none.
    """

    def __init__(self, kind: str, group: str, prepare: Callable[[Any], T]) -> None:
        self.kind, self.group = kind, group
        self._prepare = prepare
        self._registered: dict[str, T] = {}
        self._definitions: dict[str, str] = {}
        self._loaded: dict[str, T] = {}
        self._path: tuple[str, ...] | None = None
        self._points: dict[str, list[EntryPoint]] = {}
        self._warned: set[str] = set()

    def register(self, name: str) -> Callable[[C], C]:
        """Decorator that adds a class, or a function, under a name.

        Raises
        ------
        ExtensionError
            If the name is taken, or the entry is not of the registry's kind. The same definition may be run again, as
            a cell of a notebook is.
        """

        def add(item: C) -> C:
            try:
                entry = self._prepare(item)
            except TypeError as error:
                raise ExtensionError(f"{self.kind} {name!r}: {error}") from error
            definition, before = _definition(item), self._definitions.get(name)
            if before is not None and before != definition:
                raise ExtensionError(
                    f"The {self.kind} {name!r} is defined twice, as {before} and as {definition}. Expected another name"
                )
            self._registered[name], self._definitions[name] = entry, definition
            return item

        return add

    @property
    def registered(self) -> Mapping[str, T]:
        """Entries that were registered in this process, without those of entry points."""
        return dict(sorted(self._registered.items()))

    def __getitem__(self, name: str) -> T:
        points = self._find_entry_points().get(name, [])
        if name in self._registered:
            if points:
                self._warn(f"{self._describe(name, points)} is refused: the name belongs to {self._definitions[name]}")
            return self._registered[name]
        if not points:
            raise KeyError(name)
        if len(points) > 1:
            raise ExtensionError(f"{self._describe(name, points)}: expected one. Uninstall all but one of them")
        return self._load(name, points[0])

    def __contains__(self, name: object) -> bool:
        return name in self._registered or name in self._find_entry_points()

    def __iter__(self) -> Iterator[str]:
        for name in sorted({*self._registered, *self._find_entry_points()}):
            try:
                self[name]
            except ExtensionError as error:
                self._warn(f"{error}. It is left out")
            else:
                yield name

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<registry {self.group}: {', '.join(self)}>"

    def _find_entry_points(self) -> Mapping[str, list[EntryPoint]]:
        """Entry points by name; looked up again where the path of modules has changed."""
        if self._path != (path := tuple(sys.path)):
            found: dict[str, list[EntryPoint]] = {}
            for point in entry_points(group=self.group):
                found.setdefault(point.name, []).append(point)
            self._path, self._points, self._loaded = path, found, {}
        return self._points

    def _load(self, name: str, point: EntryPoint) -> T:
        if name not in self._loaded:
            what = f"{self._describe(name, [point])} ({point.value!r})"
            try:
                self._loaded[name] = self._prepare(point.load())
            except Exception as error:  # whatever the code of another package raises
                said = " ".join(str(error).split())[:400]
                raise ExtensionError(
                    f"{what} cannot be loaded: {type(error).__name__}: {said}. Repair or uninstall {_package(point)!r}"
                ) from error
        return self._loaded[name]

    def _describe(self, name: str, points: list[EntryPoint]) -> str:
        packages = " and ".join(repr(_package(point)) for point in points)
        return f"The {self.kind} {name!r} of the installed package{'s' * (len(points) > 1)} {packages}"

    def _warn(self, message: str) -> None:
        if message not in self._warned:
            self._warned.add(message)
            warn(message, ExtensionWarning)


def import_modules(package: str, path: Iterable[str]) -> None:
    """Import all modules of a package, so that what they register is known: a new one needs its file alone.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    path : iterable of str
        Its ``__path__``.
    """
    for module in sorted(found.name for found in pkgutil.iter_modules(path)):
        importlib.import_module(f"{package}.{module}")


def subclass_of(base: type) -> Callable[[Any], Any]:
    """What a registry of classes prepares its entries with: the class itself, if it is one of `base`."""

    def prepare(item: Any) -> type:
        if not (isinstance(item, type) and issubclass(item, base)):
            raise TypeError(f"found {item!r}, expected a subclass of {base.__module__}.{base.__qualname__}")
        return item

    return prepare


def _definition(item: Any) -> str:
    named = item if hasattr(item, "__qualname__") else type(item)
    return f"{named.__module__}.{named.__qualname__}"


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown"

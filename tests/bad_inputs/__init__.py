"""Inputs that are refused: what is wrong, how it is made, which error it is; each is run, and is in docs/errors.md."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import xappa
from xappa.errors import XappaError


class Places:
    """Folders for inputs: `scratch` is empty and for one of them alone; what all of them copy is made once.

    Parameters
    ----------
    root : Path
        Folder of the session.
    """

    def __init__(self, root: Path) -> None:
        self.root, self._made = root, 0

    @cached_property
    def scratch(self) -> Path:
        """A folder of one input."""
        return self.fresh()

    def fresh(self) -> Path:
        """A new folder."""
        self._made += 1
        folder = self.root / f"input-{self._made}"
        folder.mkdir()
        self.__dict__["scratch"] = folder
        return folder

    def model(self) -> Path:
        """A copy of the embedded model, its tensors as links."""
        source, folder = Path(xappa.__file__).parent / "data" / "speedy", self.scratch / "model"
        folder.mkdir()
        for file in source.iterdir():
            if file.name != "model.json":
                os.symlink(file, folder / file.name)
        shutil.copy(source / "model.json", folder / "model.json")
        return folder

    @cached_property
    def _project(self) -> Path:
        from tests.official_project import Project

        plan = Project()
        plan.ae |= {"shape": [5, 8], "hid_channels": [4, 4, 4]}
        plan.write(self.root / "project")
        return self.root / "project"

    def project(self) -> Path:
        """A copy of a small official project."""
        return Path(shutil.copytree(self._project, self.scratch / "project"))


@dataclass(frozen=True)
class BadInput:
    """One input that is refused.

    Parameters
    ----------
    what : str
        What is wrong with it, for the document.
    act : callable
        ``act(places)`` makes it, and does what users do with it.
    error : type
        Class of the error.
    """

    what: str
    act: Callable[[Places], Any]
    error: type[XappaError]


REMEDIES = "Fetch|Copy|Expected|Remove|Make|Delete|Correct|Write|Begin|Remedy"
"""How sentences begin that say what to do; what a library said stands before."""

Table = tuple[str, list[BadInput]]
"""A heading of the document, and its rows."""


def tables() -> list[Table]:
    """All tables: the lists ``TABLES`` of the modules here, by the modules' names."""
    modules = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return [table for name in modules for table in importlib.import_module(f"{__name__}.{name}").TABLES]


def _comes_of_itself(error: BaseException) -> bool:
    """Whether the causes of an error go round: who follows them would never end."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        cause = cause.__cause__
    return cause is not None


def message_of(bad: BadInput, places: Places) -> str:
    """Run an input; its message, without what differs from machine to machine.

    Raises
    ------
    AssertionError
        If it is taken, or the error is another one.
    """
    scratch = places.fresh()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = bad.act(places)
    except XappaError as error:
        assert type(error) is bad.error, f"{bad.what}: {type(error).__name__}: {error}"
        assert not _comes_of_itself(error), f"{bad.what}: an error is among its own causes"
        return plain(str(error), scratch)
    raise AssertionError(f"{bad.what}: taken, as {result!r}")


def plain(message: str, scratch: Path) -> str:
    """A message in one line, without folders, addresses in memory and words of libraries."""
    text = " ".join(message.replace(f"{scratch}{os.sep}", "").replace(str(scratch), ".").split())
    text = re.sub(rf"(cannot be read as [^:]+: ).*?\. (?={REMEDIES})", r"\1…. ", text)
    return re.sub(r" at 0x[0-9a-f]+", "", text)


def changed(tree: Any, *path: str | int, to: Any) -> Any:
    """A copy of nested dicts and lists with one entry changed."""
    tree = json.loads(json.dumps(tree))
    place = tree
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return tree


def refused(error: type[XappaError], rows: Mapping[str, Callable[[Places], Any]]) -> list[BadInput]:
    """Rows that are refused with one class of error."""
    return [BadInput(what, act, error) for what, act in rows.items()]

"""Configurations of official runs: YAML, of which nothing but plain data is taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from xappa.errors import ModelError, translate_read_errors

PATH_TAG = "tag:yaml.org,2002:python/object/apply:pathlib.PosixPath"


class _Loader(yaml.SafeLoader):
    """The safe loader, which also knows the one Python object that official trainers leave: their path."""


def _construct_path(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    if not isinstance(node, yaml.SequenceNode):
        raise yaml.constructor.ConstructorError(None, None, "expected a path as a sequence of names", node.start_mark)
    return str(PurePosixPath(*map(str, loader.construct_sequence(node))))


_Loader.add_constructor(PATH_TAG, _construct_path)


@dataclass(frozen=True)
class Configuration:
    """A configuration file.

    Parameters
    ----------
    file : Path
    values : mapping
        What it holds.
    """

    file: Path
    values: Mapping[str, Any]

    def get_section(self, name: str) -> dict[str, Any]:
        """Entries of a section (empty if there is none), without those that refer to others (``${...}``)."""
        section = self.values.get(name)
        entries = section.items() if isinstance(section, Mapping) else ()
        return {str(key): value for key, value in entries if not (isinstance(value, str) and "${" in value)}


def read_configuration(file: Path) -> Configuration:
    """Read a YAML file of plain data; the tag of `pathlib.PosixPath` becomes text, any other is refused.

    Raises
    ------
    ModelError
        If it is no YAML, asks for other Python objects, or holds no mapping.
    """
    remedy = (
        "Expected plain YAML; of Python objects only pathlib.PosixPath is taken (as text). Remove the entry if the "
        "model does not need it."
    )
    with translate_read_errors(file, "plain YAML", ModelError, remedy), open(file, encoding="utf-8") as stream:
        values = yaml.load(stream, Loader=_Loader)  # a safe loader
    if not isinstance(values, Mapping):
        raise ModelError(f"{file} holds a {type(values).__name__}; expected sections such as 'ae' or 'backbone'.")
    return Configuration(file, values)

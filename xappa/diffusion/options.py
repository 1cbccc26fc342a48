"""Whether the options of a method are numbers where its dataclass says so."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from xappa.errors import OptionError

KINDS: dict[str, tuple[str, tuple[type, ...]]] = {
    "int": ("a whole number", (int, np.integer)),
    "float": ("a number", (int, float, np.integer, np.floating)),
    "bool": ("True or False", (bool, np.bool_)),
}
"""What an annotation asks for."""


def require_numbers(options: Any) -> None:
    """Refuse text and the like for options annotated as numbers; the others are left to their own checks.

    Parameters
    ----------
    options : dataclass
        Its annotations are text such as ``"float | None"``.

    Raises
    ------
    OptionError
        Naming all that are wrong.
    """
    wrong = []
    for field in fields(options) if is_dataclass(options) else ():
        asked = [kind.strip() for kind in str(field.type).split("|")]
        value = getattr(options, field.name)
        known = [kind for kind in asked if kind in KINDS]
        if not known or not set(asked) <= {*KINDS, "None"} or (value is None and "None" in asked):
            continue
        is_truth = isinstance(value, (bool, np.bool_))
        if not any(isinstance(value, KINDS[kind][1]) and is_truth == (kind == "bool") for kind in known):
            expected = " or ".join([KINDS[kind][0] for kind in known] + ["None"] * ("None" in asked))
            wrong.append(f"{field.name}={value!r}, expected {expected}")
    if wrong:
        raise OptionError(f"{type(options).__name__}: {'; '.join(wrong)}")

"""Attributes that xappa writes into observations (counts, assumptions, correlated errors), as they come back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import xarray as xr

from xappa.errors import ObservationError, OptionError
from xappa.observations.assumptions import ASSUMPTIONS, UNITS_ASSUMED
from xappa.observations.errors.attributes import ATTRIBUTE, parse_correlation_attr
from xappa.observations.errors.correlation import Correlation
from xappa.observations.schema import COUNTS, COUNTS_BY_NAME


def require_written_attrs(ds: xr.Dataset) -> None:
    """Complain about attributes of xappa's own that it cannot have written.

    Raises
    ------
    ObservationError
        With all of them.
    """
    wrong = [*_check_dataset_attrs(ds.attrs), *_check_variable_attrs(ds)]
    if wrong:
        raise ObservationError(
            f"Attributes of observations are not as xappa writes them: {'; '.join(wrong)}. Drop them, or write the "
            "observations again"
        )


def _check_dataset_attrs(attrs: Mapping[str, Any]) -> Iterator[str]:
    kinds: dict[str, tuple[Callable[[Any], bool], str]] = {
        **dict.fromkeys(COUNTS, (_is_count, "a number")),
        **dict.fromkeys(COUNTS_BY_NAME, (_are_counts, "JSON of numbers by name")),
        ASSUMPTIONS: (_are_sentences, "JSON of a list of sentences"),
        UNITS_ASSUMED: (lambda value: isinstance(value, str), "names"),
    }
    for name, (sound, expected) in kinds.items():
        if name in attrs and not sound(attrs[name]):
            yield f"{name}={attrs[name]!r} (expected {expected})"


def _check_variable_attrs(ds: xr.Dataset) -> Iterator[str]:
    for name, variable in ds.data_vars.items():
        if ATTRIBUTE in variable.attrs and not _is_statement(variable):
            yield f"{name}: {ATTRIBUTE}={variable.attrs[ATTRIBUTE]!r} (expected options of Correlation as JSON)"


def _parse_json(value: Any) -> Any:
    """Contents of JSON; None if it is not valid."""
    try:
        return json.loads(value)
    except (TypeError, ValueError, RecursionError):
        return None


def _is_count(value: Any) -> bool:
    try:
        return int(value) >= 0
    except (TypeError, ValueError, OverflowError):
        return False


def _are_counts(value: Any) -> bool:
    counts = _parse_json(value)
    return isinstance(counts, dict) and all(isinstance(n, int) and not isinstance(n, bool) for n in counts.values())


def _are_sentences(value: Any) -> bool:
    sentences = _parse_json(value)
    return isinstance(sentences, list) and all(isinstance(text, str) for text in sentences)


def _is_statement(variable: xr.DataArray) -> bool:
    if not isinstance(_parse_json(variable.attrs[ATTRIBUTE]), dict):
        return False
    try:
        whole, by_source = parse_correlation_attr(variable)
        for options in (whole, *by_source.values()):
            if options is not None:
                Correlation(**(options | {"by": tuple(options["by"])}))
    except (OptionError, AttributeError, KeyError, TypeError, ValueError):
        return False
    return True

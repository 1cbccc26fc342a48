"""Attributes that are text in CF as text, whatever a file or a program has put there.

References
----------
CF conventions 1.11, section 2.2 (attributes are text or numbers).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

_TEXTS = (
    *("units", "standard_name", "long_name", "comment", "convention", "conventions", "cell_methods", "calendar"),
    *("ancillary_variables", "bounds", "climatology", "coordinates", "positive", "axis", "cf_role", "GRIB_stepType"),
    *("flag_meanings", "flag_assessments", "derived_from", "units_read"),
    *("grid_mapping", "formula_terms", "cell_measures", "sample_dimension", "instance_dimension"),
)


def with_texts(ds: xr.Dataset) -> xr.Dataset:
    """The same with attributes that are texts in CF as such: lists of words joined, bytes decoded, nothing left out."""
    told = {}
    for name, variable in ds.variables.items():
        wrong = {k: v for k, v in variable.attrs.items() if k in _TEXTS and not isinstance(v, str)}
        if wrong:
            kept = {key: value for key, value in variable.attrs.items() if key not in wrong}
            told[name] = kept | {key: text for key, value in wrong.items() if (text := _to_text(value)) is not None}
    ds = ds.copy() if told else ds
    for name, attrs in told.items():
        ds[name].attrs = attrs
    return ds


def _to_text(value: Any) -> str | None:
    """An attribute as text; None where it is nothing."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list | tuple | np.ndarray):
        words = [_to_text(word) for word in np.asarray(value, object).reshape(-1).tolist()]
        return " ".join(word for word in words if word)
    missing = value is None or (isinstance(value, float | np.floating) and np.isnan(value))
    return None if missing else str(value)

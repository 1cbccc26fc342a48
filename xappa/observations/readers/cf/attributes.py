"""Attributes of a CF Dataset in the forms that readers expect: objects hashable, packed numbers unpacked.

References
----------
CF conventions 1.11, section 8.1 (packed data).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xarray as xr

from xappa.errors import ObservationError
from xappa.observations.readers.objects import make_hashable

_PACKING = ("scale_factor", "add_offset")


def with_hashable(ds: xr.Dataset) -> xr.Dataset:
    """The same with objects that can be grouped: those in memory that have no hash (lists, arrays) as their text."""
    changed = {}
    for name, variable in ds.variables.items():
        odd = variable.dtype.kind in "OV" or not variable.dtype.isnative
        if odd and (variable.chunks is None or variable.dtype.kind == "V"):
            given = variable.to_numpy().reshape(-1)
            if (new := make_hashable(given)) is not given:
                changed[name] = xr.Variable(variable.dims, new.reshape(variable.shape), variable.attrs)
    if not changed:
        return ds
    return ds.drop_indexes([name for name in changed if name in ds.xindexes]).assign(changed)


def unpack_integers(ds: xr.Dataset) -> xr.Dataset:
    """The same with packed integers unpacked, which xarray left as they are (``mask_and_scale=False``), lazily."""
    packed = {
        name: xr.conventions.decode_cf_variable(str(name), variable, decode_times=False)
        for name, variable in ds.variables.items()
        if variable.dtype.kind in "iu" and _declares_packing(variable)
    }
    return ds.assign({name: variable for name, variable in packed.items()}) if packed else ds


def describe_packing_of_floats(ds: xr.Dataset, names: Iterable[str]) -> list[str]:
    """Sentences on variables that tell how they were packed, although they hold floats."""
    return [
        f"{name}: its attributes {' and '.join(key for key in _PACKING if key in ds[name].attrs)} say how to unpack, "
        "but it holds floats, which are taken for unpacked already. Drop these attributes, or unpack with "
        "xarray.decode_cf"
        for name in names
        if ds[name].dtype.kind == "f" and _declares_packing(ds[name].variable)
    ]


def require_distinct_dimensions(ds: xr.Dataset) -> None:
    """Complain about variables with one dimension twice, of which xarray takes a part only.

    Raises
    ------
    ObservationError
        With the variables and their dimensions.
    """
    wrong = [f"{name} {v.dims}" for name, v in ds.variables.items() if len(set(v.dims)) < len(v.dims)]
    if wrong:
        raise ObservationError(
            f"{', '.join(wrong)}: a dimension comes twice. Expected each once: rename one, as with "
            "xarray.Variable(('x', 'y'), values), or drop the variable"
        )


def _declares_packing(variable: xr.Variable) -> bool:
    """Whether attributes tell how numbers were packed, and that differs from the numbers."""
    factor, offset = (np.asarray(variable.attrs.get(key, usual)) for key, usual in zip(_PACKING, (1, 0), strict=True))
    numeric = all(array.size == 1 and array.dtype.kind in "biuf" for array in (factor, offset))
    return numeric and (float(factor.reshape(-1)[0]) != 1.0 or float(offset.reshape(-1)[0]) != 0.0)

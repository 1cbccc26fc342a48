"""Quality variables of the variables of a CF Dataset: by ``ancillary_variables``, standard names, or their names.

References
----------
CF conventions 1.11, section 3.4 (ancillary data), section 3.5 (flags); standard names quality_flag, status_flag and
aggregate_quality_flag.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import xarray as xr

from xappa.observations.flags import Flag, flag_attrs
from xappa.observations.names import QUANTITIES
from xappa.observations.readers.tables.quality_columns import parse_xappa_flags

_SUFFIXES = ("_qc", "_QC", "_qc_agg", "_qartod_agg", "_quality_flag", "_qcflag", "_quality", "_SEADATANET_QC", "_flag")
_PREFIXES = ("qc_", "QC_", "flg_", "flag_", "quality_")
_OF_PLACE = {"latitude": ("POSITION_QC", "position_qc"), "longitude": ("POSITION_QC", "position_qc")}
_STANDARD = re.compile(r"(quality_flag|status_flag|_quality_flag)$|_test_quality_flag$")
_AGGREGATE = "aggregate_quality_flag"


def find_flag_names(ds: xr.Dataset, name: str, place: str = "") -> list[str]:
    """Names of the variables that judge another: by ``ancillary_variables``, by standard name, else by their name.

    Parameters
    ----------
    ds : Dataset
    name : str
        The variable that is judged.
    place : str
        Which coordinate it is, if any.
    """
    named = [n for n in str(ds[name].attrs.get("ancillary_variables", "")).split() if n in ds.variables and n != name]
    found = [n for n in named if _is_flag(ds[n])]
    if not found:
        spelt = [f"{name}{s}" for s in _SUFFIXES] + [f"{p}{name}" for p in _PREFIXES]
        standard = ds[name].attrs.get("standard_name")
        told = [f"{standard} status_flag", f"{standard} quality_flag"] if standard else []
        spelt += [str(n) for n in ds.variables if ds[n].attrs.get("standard_name") in told]
        spelt += _OF_PLACE.get(place, ())
        found = [n for n in dict.fromkeys(spelt) if n in ds.variables and _could_be_flag(ds[n])]
    own = find_xappa_flag(ds, name)
    found = [n for n in found if own is None or n != own.name]
    # An aggregate has weighed the single tests.
    return [n for n in found if ds[n].attrs.get("standard_name") == _AGGREGATE] or found


def find_xappa_flag(ds: xr.Dataset, name: str) -> xr.DataArray | None:
    """Flags of xappa's own of a variable, if there are any: by their reasons, or as a table keeps them.

    A table has no attributes; what lies beside a quantity under its full name is then xappa's, unless most of it says 1
    or 2, the "good" of other schemes.
    """
    flag = ds.get(f"{name}_flag")
    if flag is None or not set(flag.dims) <= set(ds[name].dims):
        return None
    if is_xappa_flag(flag):
        return require_reasons(flag)
    labelled = {"flag_values", "flag_masks", "flag_meanings", "standard_name"} & set(flag.attrs)
    if name not in QUANTITIES or labelled or flag.chunks is not None:
        return None
    column = pd.Series(flag.to_numpy().reshape(-1))
    if column.isin([1, 2, "1", "2"]).mean() > 0.5:
        return None
    return flag.copy(data=parse_xappa_flags(column, str(flag.name)).reshape(flag.shape))


def require_reasons(flag: xr.DataArray) -> xr.DataArray:
    """Flags of xappa's own as integers.

    Raises
    ------
    ObservationError
        If one is no reason; of numbers that are lazy, when they are computed.
    """
    if flag.chunks is not None and flag.dtype.kind in "iuf":
        return flag.copy(
            data=flag.data.map_blocks(_parse_reasons, str(flag.name), dtype="int8", meta=np.empty(0, "int8"))
        )
    return flag.copy(data=_parse_reasons(flag.to_numpy(), str(flag.name)))


def _parse_reasons(values: np.ndarray, name: str) -> np.ndarray:
    if values.dtype.kind in "iu" and np.isin(values, [int(reason) for reason in Flag]).all():
        return values.astype("int8")
    return parse_xappa_flags(pd.Series(values.reshape(-1)), name).reshape(values.shape)


def is_xappa_flag(flag: xr.DataArray) -> bool:
    """Whether the reasons are those of `Flag`, or the first of them (an older version knew fewer)."""
    meanings, known = str(flag.attrs.get("flag_meanings", "?")).split(), flag_attrs()["flag_meanings"].split()
    return meanings == known[: len(meanings)]


def _is_flag(variable: xr.DataArray) -> bool:
    """Whether an ancillary variable is a flag, and no error or number of observations."""
    attrs = variable.attrs
    standard = str(attrs.get("standard_name", ""))
    if standard.endswith(("standard_error", "number_of_observations", "detection_minimum")):
        return False
    marked = _STANDARD.search(standard) or "flag_meanings" in attrs or "flag_masks" in attrs
    named = re.search(r"(^|_)(qc|qcflag|flag|flg|quality)(_|$)", str(variable.name), re.IGNORECASE)
    return bool(marked or named) and _could_be_flag(variable)


def _could_be_flag(variable: xr.DataArray) -> bool:
    described = any(key.startswith(("flag_", "bit_")) for key in variable.attrs)
    return variable.dtype.kind in "biuSUOT" or (
        variable.dtype.kind == "f" and (described or re.search("qc|fla?g|quality", _split_words(variable)) is not None)
    )


def _split_words(variable: xr.DataArray) -> str:
    return f"{variable.name} {variable.attrs.get('standard_name', '')} {variable.attrs.get('long_name', '')}".casefold()

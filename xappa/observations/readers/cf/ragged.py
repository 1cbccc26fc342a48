"""Ragged arrays of CF discrete sampling geometries, put onto their sample dimension.

Counts and indices are computed; data stay lazy. What belongs to an instance (a station, a profile) is repeated for each
of its samples. Arrays of both kinds may be nested, as in a time series of profiles.

References
----------
CF conventions 1.11, chapter 9 (Discrete Sampling Geometries), sections 9.3.3 (contiguous ragged array) and 9.3.4
(indexed ragged array); appendix H.
"""

from __future__ import annotations

import numpy as np
import xarray as xr

from xappa.errors import ObservationError


def expand_ragged(ds: xr.Dataset) -> xr.Dataset:
    """The same reports without counts and indices; a Dataset that is not ragged is returned as it is.

    Parameters
    ----------
    ds : Dataset
        With, for each ragged array, a variable that counts the samples of each instance (attribute
        ``sample_dimension``) or one that gives each sample's instance (attribute ``instance_dimension``).

    Returns
    -------
    Dataset
        Variables of instances are on the sample dimension.

    Raises
    ------
    ObservationError
        If counts do not add up to the samples, or indices are outside the instances.
    """
    while (name := _find_ragged_variable(ds)) is not None:
        instance, sample, owner = _find_instances(ds, name)
        if ds.sizes[sample] and not ds.sizes[instance]:
            raise ObservationError(
                f"{name} tells which of {instance!r} the {ds.sizes[sample]} samples along {sample!r} belong to, but "
                "there is none. Expected at least one"
            )
        ds = ds.drop_vars(name)
        variables = {
            key: _repeat_instances(variable, instance, sample, owner) if instance in variable.dims else variable
            for key, variable in ds.variables.items()
        }
        coords = {key: variable for key, variable in variables.items() if key in ds.coords}
        ds = xr.Dataset({k: v for k, v in variables.items() if k not in coords}, coords, ds.attrs)
    return ds


def _find_ragged_variable(ds: xr.Dataset) -> str | None:
    """A variable that counts or indexes samples; counts first, so that what they count is in place for indices."""
    for key in ("sample_dimension", "instance_dimension"):
        for name, variable in ds.variables.items():
            if key in variable.attrs:
                return str(name)
    return None


def _find_instances(ds: xr.Dataset, name: str) -> tuple[str, str, np.ndarray]:
    """Instance dimension, sample dimension, and the instance of each sample; -1 for none."""
    variable = ds[name].variable
    if variable.ndim != 1:
        raise ObservationError(f"{name} counts or indexes samples along {variable.dims}; expected one dimension")
    own = str(variable.dims[0])
    numbers = variable.to_numpy()
    if (told := variable.attrs.get("sample_dimension")) is not None:
        sample = str(told)
        if sample not in ds.sizes:
            raise ObservationError(
                f"{name} counts samples along {sample!r}, but dimensions are {', '.join(map(str, ds.sizes))}"
            )
        counts = _parse_whole_numbers(name, numbers, 0.0).clip(min=0)
        if counts.sum(dtype=float) > ds.sizes[sample]:
            raise ObservationError(
                f"{name} counts {counts.sum():.0f} samples, but the dimension {sample!r} has {ds.sizes[sample]}: the "
                "file is not whole, or the counts are wrong. Expected counts that add up to it"
            )
        owner = np.repeat(np.arange(counts.size), counts.astype("int64"))
        rest = np.full(ds.sizes[sample] - owner.size, -1)
        return own, sample, np.concatenate([owner, rest])
    instance = str(variable.attrs["instance_dimension"])
    if instance not in ds.sizes:
        raise ObservationError(f"{name} indexes {instance!r}, but dimensions are {', '.join(map(str, ds.sizes))}")
    owner = _parse_whole_numbers(name, numbers, -1.0)
    if owner.max(initial=-1) >= ds.sizes[instance]:
        raise ObservationError(
            f"{name} gives index {owner.max():.0f} along {instance!r}, which has {ds.sizes[instance]}. Expected 0 to "
            f"{ds.sizes[instance] - 1}"
        )
    return instance, own, owner.clip(min=-1).astype("int64")


def _parse_whole_numbers(name: str, numbers: np.ndarray, missing: float) -> np.ndarray:
    """Counts or indices, as floats so that no sum of them overflows; `missing` where there are none."""
    if numbers.dtype.kind not in "iuf" or np.isinf(numbers).any():
        found = "infinite values" if numbers.dtype.kind == "f" else str(numbers.dtype)
        raise ObservationError(f"{name} counts or indexes samples, and has {found}. Expected whole numbers")
    return np.trunc(np.nan_to_num(numbers.astype(float), nan=missing))


def _repeat_instances(variable: xr.Variable, instance: str, sample: str, owner: np.ndarray) -> xr.Variable:
    """Values of instances at their samples; missing at samples that belong to none."""
    where = variable.dims.index(instance)
    if sample in variable.dims:
        raise ObservationError(f"A variable lies along both {instance!r} and {sample!r}; expected one of them")
    data = variable.data
    taken = data[(slice(None),) * where + (owner.clip(min=0),)] if data.shape[where] else data
    dims = tuple(sample if dim == instance else dim for dim in variable.dims)
    result = xr.Variable(dims, taken, variable.attrs, variable.encoding)
    if (owner < 0).any() and variable.dtype.kind in "fmM":
        result = result.where(xr.Variable(sample, owner >= 0))
        result.attrs = variable.attrs
    return result

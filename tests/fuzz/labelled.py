"""Damage to tables and Datasets in memory: values, types, names, attributes, dimensions, indexes."""

from __future__ import annotations

import datetime
import decimal
import fractions
import random
from collections.abc import Hashable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

ODD: tuple[Any, ...] = (
    None, np.nan, pd.NA, pd.NaT, np.inf, -np.inf, True, False, np.True_, 1 + 2j, "", "abc", "1", "1,5", "nan", b"x",
    b"\xff", 0, -1, 1e30, -1e30, 10**30, -(10**400), 2**63, 999.9, -9999, 1e-320, [1, 2], (1,), {}, {1}, object(),
    np.array([1.0]), np.array(5.0), decimal.Decimal("5.5"), decimal.Decimal("sNaN"), fractions.Fraction(1, 3),
    pd.Timestamp("2018-11-02"), np.datetime64("9999-12-31"), np.datetime64("NaT"), np.datetime64("1500-01-01", "s"),
    np.timedelta64(-5, "h"), pd.Timedelta("6h"), datetime.date(2018, 11, 2), datetime.datetime(1, 1, 1),
    datetime.time(12), pd.Timestamp("2018-11-02", tz="Asia/Tokyo"), pd.Period("2018-11", "M"), pd.Interval(0, 1),
    "2018-11-02T12", "1500-01-01", "6h", "-6h", "12°N", slice(0), range(3), float, "é" * 300, "\x00",
)  # fmt: skip
"""Odd single values."""

DTYPES: tuple[Any, ...] = (
    "bool", "complex64", "complex128", "object", "float16", "float32", "float64", "longdouble", "int8", "uint8",
    "int64", "uint64", "S4", "U8", "datetime64[s]", "datetime64[ns]", "timedelta64[s]", "timedelta64[ns]", ">f4",
    ">i2", "V4",
)  # fmt: skip

FRAME_DTYPES: tuple[Any, ...] = (
    *DTYPES[:-1], "category", "string", "Int64", "Float64", "boolean", "datetime64[ns, UTC]", "period[D]",
)  # fmt: skip

YEARS = ("0001", "1500", "1599", "1600", "1677", "1969", "2018", "2261", "2262", "3000", "9999", "20000")


def years(rng: random.Random, size: int) -> np.ndarray:
    """Times in years of all kinds; without a unit that reaches so far, whatever numpy makes of them."""
    unit = rng.choice(("s", "s", "ms", "us", "ns", "D", "h", "Y"))
    with np.errstate(all="ignore"):
        return np.array([f"{rng.choice(YEARS)}-01-01" for _ in range(size)], "datetime64[D]").astype(
            f"datetime64[{unit}]"
        )


def scaled(values: np.ndarray, rng: random.Random) -> np.ndarray:
    """Numbers of another order, sign or unit."""
    with np.errstate(all="ignore"):
        return rng.choice(
            (
                lambda x: x * 1000,
                lambda x: -x,
                lambda x: x - 273.15,
                lambda x: x / 100,
                lambda x: x + 1e6,
                lambda x: x * 1e300,
                lambda x: x * 0,
                lambda x: x[::-1],
            )
        )(values)


def with_one(values: np.ndarray, value: Any, rng: random.Random) -> np.ndarray:
    """One element replaced; objects, where it is of another type."""
    if isinstance(value, int | float) and not isinstance(value, bool) and values.dtype.kind == "f":
        changed = values.copy()
        with suppress(OverflowError):
            changed.flat[rng.randrange(values.size)] = value
            return changed
    changed = np.empty(values.shape, object)
    changed.flat = values.ravel().tolist() if values.dtype.kind != "M" else list(values.ravel())
    changed[np.unravel_index(rng.randrange(values.size), values.shape)] = value
    return changed


def full(shape: tuple[int, ...], value: Any) -> np.ndarray:
    """An array of one value, of its own type where numpy has one."""
    with suppress(Exception):
        if np.ndim(value) == 0 and not isinstance(value, int) or isinstance(value, bool):
            return np.full(shape, value)
    filled = np.empty(shape, object)
    for place in np.ndindex(shape):
        filled[place] = value
    return filled


def new_values(values: np.ndarray, rng: random.Random) -> np.ndarray:
    """Values of one variable or column, damaged."""
    with suppress(Exception), np.errstate(all="ignore"):
        change = rng.randrange(6)
        if change <= 1 and values.size:
            return with_one(values, rng.choice(ODD), rng)
        if change == 2:
            return full(values.shape, rng.choice(ODD))
        if change == 3:
            return values.astype(rng.choice(DTYPES))
        if change == 4 and values.dtype.kind == "M":
            return years(rng, values.size).reshape(values.shape)
        return scaled(values, rng)
    return values


def mutate_frame(frame: pd.DataFrame, rng: random.Random, words: Sequence[str]) -> pd.DataFrame:
    """A copy of a table, damaged; `words` are names of columns and values that mean something."""
    frame = frame.copy()
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        # What pandas itself refuses is no input.
        with suppress(Exception):
            frame = rng.choice(_FRAME)(frame, rng, words)
    return frame


def _column(frame: pd.DataFrame, rng: random.Random) -> int:
    return rng.randrange(frame.shape[1])


def _with_column(frame: pd.DataFrame, place: int, values: Any) -> pd.DataFrame:
    columns = [frame.iloc[:, k] for k in range(frame.shape[1])]
    columns[place] = pd.Series(values, index=frame.index, name=frame.columns[place])
    out = pd.concat(columns, axis=1)
    out.columns = frame.columns
    return out


def _values(frame: pd.DataFrame, rng: random.Random, words: Sequence[str]) -> pd.DataFrame:
    place = _column(frame, rng)
    return _with_column(frame, place, new_values(frame.iloc[:, place].to_numpy(), rng))


def _word(frame: pd.DataFrame, rng: random.Random, words: Sequence[str]) -> pd.DataFrame:
    place = _column(frame, rng)
    return _with_column(frame, place, with_one(frame.iloc[:, place].to_numpy(), rng.choice(words), rng))


def _cast(frame: pd.DataFrame, rng: random.Random, words: Sequence[str]) -> pd.DataFrame:
    place = _column(frame, rng)
    return _with_column(frame, place, frame.iloc[:, place].astype(rng.choice(FRAME_DTYPES)))


def _renamed(frame: pd.DataFrame, rng: random.Random, words: Sequence[str]) -> pd.DataFrame:
    names = [*frame.columns]
    names[_column(frame, rng)] = rng.choice(
        (rng.choice(words), rng.choice(words), rng.choice(names), rng.choice(ODD[:20]))
    )
    return frame.set_axis(pd.Index(names, tupleize_cols=rng.random() < 0.5), axis=1)


def _more(frame: pd.DataFrame, rng: random.Random, words: Sequence[str]) -> pd.DataFrame:
    place = _column(frame, rng)
    other = frame.iloc[:, place].rename(rng.choice(words))
    return pd.concat([frame, other], axis=1)


def _fewer(frame: pd.DataFrame, rng: random.Random, words: Sequence[str]) -> pd.DataFrame:
    place = _column(frame, rng)
    return frame.iloc[:, [k for k in range(frame.shape[1]) if k != place]]


def _rows(frame: pd.DataFrame, rng: random.Random, words: Sequence[str]) -> pd.DataFrame:
    return rng.choice(
        (
            frame.iloc[:0],
            frame.iloc[:1],
            frame.iloc[::-1],
            pd.concat([frame, frame]),
            frame.sample(frac=0.5, random_state=rng.randrange(99)),
        )
    )


def _indexed(frame: pd.DataFrame, rng: random.Random, words: Sequence[str]) -> pd.DataFrame:
    names = rng.sample([*frame.columns], rng.choice((1, 1, 2)))
    return rng.choice((frame.set_index(names), frame.T, frame.stack().to_frame(), frame.set_index(names, drop=False)))


_FRAME = (_values, _values, _values, _values, _word, _cast, _renamed, _renamed, _more, _fewer, _rows, _indexed)


ATTRIBUTES: dict[str, tuple[Any, ...]] = {
    "units": ("K", "degC", "degF", "hPa", "Pa", "m", "km", "m s-1", "kt", "1", "%", "degrees_north", "degrees_east",
        "radians", "mm", "hours since 1900-01-01", "days since -4713-01-01", "seconds since banana", "h", "days",
        "months since 2000-01-01"),
    "standard_name": ("time", "latitude", "longitude", "air_temperature", "air_pressure", "altitude", "height",
        "depth", "eastward_wind",         "wind_speed", "platform_id", "air_temperature standard_error",
        "air_temperature status_flag"),
    "long_name": ("2 metre temperature", "x"),
    "cell_methods": ("time: mean", "time: sum", "time: maximum (interval: 1 hour)",
        "area: mean time: standard_deviation", "mean", "::"),
    "coordinates": ("time lat lon", "lat lon", "nothing", "t2m"),
    "bounds": ("time_bounds", "lat", "nothing"),
    "ancillary_variables": ("t2m_error", "t2m_qc", "nothing", "t2m"),
    "flag_values": ([0, 1], [0, 1, 2, 3], "0 1", []),
    "flag_masks": ([1, 2], [0]),
    "flag_meanings": ("good bad", "good", "", "good bad suspect missing"),
    "valid_range": ([0.0, 400.0], [400.0, 0.0], "0 400", [1.0], [np.nan, 1.0]),
    "valid_min": (300.0, "x", np.inf),
    "valid_max": (200.0, -np.inf),
    "_FillValue": (-999.0, np.nan, 0, "x", [1, 2]),
    "missing_value": (-999.0, [1.0, 2.0], "x", np.nan),
    "scale_factor": (0.01, 0.0, np.inf, np.nan, "x", [1.0, 2.0], 1e308),
    "add_offset": (273.15, np.inf, "x"),
    "calendar": ("standard", "noleap", "360_day", "julian", "banana"),
    "axis": ("T", "X", "Y", "Z"),
    "positive": ("up", "down", "x"),
    "cf_role": ("timeseries_id", "profile_id", "trajectory_id"),
    "sample_dimension": ("obs", "nothing"),
    "instance_dimension": ("station", "nothing"),
    "compress": ("lat lon", "nothing"),
    "grid_mapping": ("crs", "lat"),
    "formula_terms": ("a: b", "x"),
    "dtype": ("bool", "x", "f4"),
    "_Unsigned": ("true", "false", 1),
    "_Encoding": ("utf-8", "banana"),
    "featureType": ("point", "timeSeries", "profile", "trajectory", "banana"),
    "derived": ("off", 1),
    "units_assumed": ("2m_temperature", 5),
    "unknown_variables": ("{", "[]", "{}", '{"a": "b"}'),
    "error_correlation": ("x", "{}", "[]"),
}  # fmt: skip
"""Attributes that CF and this package read, with good values and bad ones."""


def mutate_dataset(ds: xr.Dataset, rng: random.Random, words: Sequence[str]) -> xr.Dataset:
    """A copy of a Dataset, damaged; `words` are names that mean something."""
    ds = ds.copy()
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        # What xarray itself refuses is no input.
        with suppress(Exception):
            ds = rng.choice(_DATASET)(ds, rng, words)
    return ds


def _variable(ds: xr.Dataset, rng: random.Random) -> Hashable:
    return rng.choice([*ds.variables])


def _replaced(ds: xr.Dataset, name: Hashable, variable: xr.Variable) -> xr.Dataset:
    return ds.assign_coords({name: variable}) if name in ds.coords else ds.assign({name: variable})


def _new_values(ds: xr.Dataset, rng: random.Random, words: Sequence[str]) -> xr.Dataset:
    name = _variable(ds, rng)
    old = ds.variables[name]
    return _replaced(ds, name, xr.Variable(old.dims, new_values(old.values, rng), old.attrs, old.encoding))


def _attribute(ds: xr.Dataset, rng: random.Random, words: Sequence[str]) -> xr.Dataset:
    name, key = _variable(ds, rng), rng.choice([*ATTRIBUTES])
    value = rng.choice((rng.choice(ATTRIBUTES[key]), rng.choice(ATTRIBUTES[key]), rng.choice(ODD[:30])))
    if rng.random() < 0.15:
        return ds.assign_attrs({key: value})
    new = ds.variables[name].copy()
    new.attrs[key] = value
    return _replaced(ds, name, new)


def _no_attribute(ds: xr.Dataset, rng: random.Random, words: Sequence[str]) -> xr.Dataset:
    name = _variable(ds, rng)
    new = ds.variables[name].copy()
    del new.attrs[rng.choice([*new.attrs])]
    return _replaced(ds, name, new)


def _other_name(ds: xr.Dataset, rng: random.Random, words: Sequence[str]) -> xr.Dataset:
    return ds.rename({rng.choice([*ds.variables, *ds.dims]): rng.choice(words)})


def _dropped(ds: xr.Dataset, rng: random.Random, words: Sequence[str]) -> xr.Dataset:
    return ds.drop_vars(_variable(ds, rng))


def _role(ds: xr.Dataset, rng: random.Random, words: Sequence[str]) -> xr.Dataset:
    return rng.choice((ds.reset_coords(), ds.set_coords(rng.choice([*ds.variables])), ds.drop_indexes([*ds.indexes])))


def _shape(ds: xr.Dataset, rng: random.Random, words: Sequence[str]) -> xr.Dataset:
    dim = rng.choice([*ds.dims])
    name = _variable(ds, rng)
    return rng.choice(
        (
            lambda: ds.isel({dim: slice(0, 0)}),
            lambda: ds.isel({dim: 0}),
            lambda: ds.isel({dim: [0]}),
            lambda: ds.expand_dims(rng.choice(("x", "time", "member", "lat"))),
            lambda: ds.transpose(*reversed([*ds.dims])),
            lambda: ds.isel({dim: slice(None, None, -1)}),
            lambda: xr.concat([ds, ds], dim=dim),
            lambda: ds.stack(both=[*ds.dims]),
            lambda: ds.chunk(),
            lambda: _replaced(ds, name, ds.variables[name].isel({ds[name].dims[0]: 0})),
            lambda: ds.rename({dim: "x"}).assign(t2m=ds[name]),
        )
    )()


def _copied(ds: xr.Dataset, rng: random.Random, words: Sequence[str]) -> xr.Dataset:
    return ds.assign({rng.choice(words): ds.variables[_variable(ds, rng)]})


def _swapped(ds: xr.Dataset, rng: random.Random, words: Sequence[str]) -> xr.Dataset:
    one, other = _variable(ds, rng), _variable(ds, rng)
    first, second = ds.variables[one].copy(), ds.variables[other].copy()
    first.values, second.values = second.values.copy(), first.values.copy()
    return _replaced(_replaced(ds, one, first), other, second)


_DATASET = (
    _new_values, _new_values, _new_values, _new_values, _attribute, _attribute, _attribute, _no_attribute,
    _other_name, _dropped, _role, _shape, _shape, _copied, _swapped,
)  # fmt: skip

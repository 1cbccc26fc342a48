"""Statistics and masks of official runs, read from their Zarr stores."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np

from xappa._typing import Array
from xappa.errors import ModelError, translate_read_errors
from xappa.model.appa.channels import Channels
from xappa.sizes import require_zarr_sizes
from xappa.zarr_codecs import require_safe_codecs

if TYPE_CHECKING:
    import zarr

REMEDY = "Fetch or copy the store again."
SEA = "sea_surface_temperature_mask"

P = ParamSpec("P")
R = TypeVar("R")


def _with_store_in_errors(function: Callable[P, R]) -> Callable[P, R]:
    """`function` of a store, whose metadata may be anything: errors of Zarr are raised with the name of the store."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with translate_read_errors(args[0], "a Zarr store of statistics or masks", ModelError, REMEDY):
            return function(*args, **kwargs)

    return call


def is_statistics(folder: Path) -> bool:
    """Whether a folder is a Zarr store of statistics."""
    return (folder / "statistic").is_dir()


def is_masks(folder: Path) -> bool:
    """Whether a folder is a Zarr store of masks."""
    return (folder / SEA).is_dir()


@_with_store_in_errors
def read_levels(store: Path) -> tuple[int, ...]:
    """Pressure levels of a store of statistics, hPa; none if it has no upper air."""
    group = _open(store)
    if "level" not in group:
        return ()
    levels = _numbers(group, "level")
    if levels.ndim != 1 or not (levels == np.floor(levels)).all():
        raise ModelError(f"{store} has no whole numbers along one dimension as 'level'; expected hPa. {REMEDY}")
    return tuple(int(level) for level in levels)


@_with_store_in_errors
def read_channel_statistics(store: Path, channels: Channels) -> tuple[Array, Array]:
    """Mean and standard deviation of each channel: (channel,), float32, physical units.

    Parameters
    ----------
    store : Path
        Variables over (statistic) or (statistic, level), with the coordinates ``statistic`` ("mean", "std") and
        ``level`` (hPa).
    channels : sequence of (str, int or None)

    Raises
    ------
    ModelError
        Listing all that is missing, and deviations that are not above zero.
    """
    group = _open(store)
    names = [str(name) for name in _values(group, "statistic")]
    problems = [f"no statistic {name!r}" for name in ("mean", "std") if name not in names]
    levels = read_levels(store)
    for name, level in channels:
        if name not in group:
            problems.append(f"no variable {name}")
        elif level is not None and level not in levels:
            problems.append(f"{name} has no level {level} hPa")
    if problems:
        raise ModelError(f"{store} lacks what the model needs: {'; '.join(dict.fromkeys(problems))}.")
    rows = {
        name: _read_transposed(group, name, ("statistic", "level")) for name in dict.fromkeys(n for n, _ in channels)
    }
    aloft = {name for name, level in channels if level is not None}
    shapes = {name: (len(names), len(levels)) if name in aloft else (len(names),) for name in rows}
    if odd := [
        f"{name} has {rows[name].shape}, expected {shapes[name]}" for name in rows if rows[name].shape != shapes[name]
    ]:
        raise ModelError(f"{store} has variables of other sizes than (statistic, level): {'; '.join(odd)}. {REMEDY}")
    where = [(rows[name], (Ellipsis,) if level is None else (levels.index(level),)) for name, level in channels]
    mean, deviation = (np.array([row[names.index(kind)][at] for row, at in where], "f4") for kind in ("mean", "std"))
    if wrong := [
        f"{n}{'' if lev is None else f' at {lev} hPa'}"
        for (n, lev), m, d in zip(channels, mean, deviation, strict=True)
        if not (np.isfinite(m) and np.isfinite(d) and d > 0)
    ]:
        raise ModelError(f"{store} has no usable mean and deviation of {', '.join(wrong)}. {REMEDY}")
    return mean, deviation


@_with_store_in_errors
def read_sea_mask(store: Path, latitude: Sequence[float], longitude: Sequence[float]) -> Array:
    """True over sea: (latitude, longitude), in the order of the given coordinates.

    Raises
    ------
    ModelError
        If the store is on another grid.
    """
    group = _open(store)
    mask = np.asarray(_read_transposed(group, SEA, ("latitude", "longitude"))).astype(bool)
    if mask.shape != (len(latitude), len(longitude)):
        raise ModelError(f"{store} has a mask of {mask.shape} points; expected {(len(latitude), len(longitude))}.")
    rows = _find_positions(store, group, "latitude", latitude)
    columns = _find_positions(store, group, "longitude", longitude)
    return mask[rows][:, columns]


def _find_positions(store: Path, group: zarr.Group, axis: str, expected: Sequence[float]) -> Array:
    """Index of each of the `expected` coordinates; in order if the store has no coordinates."""
    if axis not in group:
        return np.arange(len(expected))
    away = np.abs(_numbers(group, axis).astype(float).ravel()[None] - np.asarray(expected)[:, None])
    away = np.minimum(away, np.abs(360 - away)) if axis == "longitude" else away
    if not away.size or not away.min(axis=1).max() <= 1e-3:
        raise ModelError(
            f"{store} has other {axis}s than the model, which goes from {expected[0]:g} to {expected[-1]:g}."
        )
    return away.argmin(axis=1)


def _read_transposed(group: zarr.Group, name: str, axes: tuple[str, ...]) -> Array:
    """Values of a variable, its axes in the given order; those without names are taken to be in it."""
    array, values = group[name], _numbers(group, name)
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, (list, tuple)) or not any(names):
        return values
    if set(names) - set(axes) or len(set(names)) < len(names) or len(names) != values.ndim:
        raise ModelError(f"{group.store_path}/{name} lies along {tuple(names)}; expected {axes}. {REMEDY}")
    return values.transpose([names.index(axis) for axis in axes if axis in names])


def _values(group: zarr.Group, name: str) -> Array:
    import zarr

    with translate_read_errors(f"{group.store_path}/{name}", "a Zarr array", ModelError, REMEDY):
        array = group[name]
        if not isinstance(array, zarr.Array):
            raise ModelError(f"{group.store_path} has a group {name!r}; expected an array.")
        try:
            return np.asarray(array[...])
        except MemoryError as error:
            raise ModelError(f"{group.store_path}/{name} claims more memory than there is. {REMEDY}") from error


def _numbers(group: zarr.Group, name: str) -> Array:
    values = _values(group, name)
    if values.dtype.kind not in "iufb":
        raise ModelError(f"{group.store_path}/{name} holds {values.dtype}; expected numbers. {REMEDY}")
    return values


def _open(store: Path) -> zarr.Group:
    import zarr

    require_safe_codecs(store, ModelError)
    require_zarr_sizes(store, ModelError, whole=True)
    with translate_read_errors(store, "a Zarr group", ModelError, "Fetch or copy it again."):
        return zarr.open_group(store, mode="r")

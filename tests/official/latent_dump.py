"""Windows of latents from the HDF5 files into which official runs dump them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from xappa.errors import MissingDependency, ModelError, translate_read_errors
from xappa.model.latent_normalisation import ChannelLatents
from xappa.sizes import require_size


class LatentWindows:
    """Standardised windows of a dump, read when asked for.

    Parameters
    ----------
    file : Path
        HDF5 with ``latents`` (N, tokens, C), raw, and ``dates`` (N, 4): year, month, day, hour.
    latents : ChannelLatents
        Their statistics.
    size : int
        Times K of a window.
    stride : int, default 1
        Records between two times of a window.
    start, end : datetime64, optional
        First time of the first window, and a time that no window reaches. Default: those of the file.

    Raises
    ------
    MissingDependency
        If netCDF4, which reads HDF5, isn't installed.
    ModelError
        If the file isn't a dump, or no record lies between `start` and `end`.
    """

    def __init__(
        self,
        file: Path,
        latents: ChannelLatents,
        size: int,
        stride: int = 1,
        start: np.datetime64 | None = None,
        end: np.datetime64 | None = None,
    ) -> None:
        self.file, self.latents, self.size, self.stride = file, latents, size, stride
        self.dates = np.asarray(self._read("dates", slice(None)))
        if self.dates.ndim != 2 or self.dates.shape[1] != 4 or not len(self.dates):
            raise ModelError(f"{file} has dates of the shape {self.dates.shape}; expected (N, 4) with N above 0")
        if odd := _odd_dates(self.dates):
            raise ModelError(f"{file} has no such date as {odd} (year, month, day, hour); fetch or dump it again")
        times = times_of(self.dates)
        inside = np.ones(len(times), bool) if start is None else times >= start
        inside = inside if end is None else inside & (times < end)
        if not inside.any():
            raise ModelError(f"{file} has no latents between {start} and {end}; found {times[0]} to {times[-1]}")
        self.first, self.records = int(inside.argmax()), int(inside.sum())

    def __len__(self) -> int:
        """Number of windows."""
        return max(0, self.records - (self.size - 1) * self.stride)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """A window: latents (K, tokens, C), float32, and dates (K, 4)."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        begin = self.first + index % len(self)
        rows = slice(begin, begin + (self.size - 1) * self.stride + 1, self.stride)
        raw = torch.from_numpy(np.asarray(self._read("latents", rows), np.float32))
        if (
            raw.ndim != 3
            or (len(raw), raw.shape[2]) != (self.size, len(self.latents.mean))
            or not torch.isfinite(raw).all()
        ):
            raise ModelError(
                f"{self.file} has latents of the shape {tuple(raw.shape)} in window {index}, or some that are not "
                f"finite; expected ({self.size}, tokens, channels). Fetch or dump it again"
            )
        dates = self.dates[rows]
        return self.latents.standardise(raw, times_of(dates)), torch.from_numpy(dates)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each channel over all records and tokens of the file: (C,), float32."""
        count, total, square = 0, 0.0, 0.0
        for begin in range(0, len(self.dates), 256):
            raw = np.asarray(self._read("latents", slice(begin, begin + 256)), np.float64)
            count += raw.shape[0] * raw.shape[1]
            total = total + raw.sum((0, 1))
            square = square + np.square(raw).sum((0, 1))
        mean = np.asarray(total) / count
        deviation = np.sqrt(np.asarray(square) / count - mean**2)
        return torch.from_numpy(mean.astype("f4")), torch.from_numpy(deviation.astype("f4"))

    def _read(self, name: str, rows: slice) -> np.ndarray:
        try:
            import netCDF4
        except ImportError as error:
            raise MissingDependency(
                "Reading dumps of latents (HDF5) needs netCDF4, which is not installed: pip install netCDF4"
            ) from error
        remedy = "Expected HDF5 with latents and dates; fetch or dump it again."
        with translate_read_errors(self.file, "a dump of latents", ModelError, remedy):
            with netCDF4.Dataset(str(self.file)) as dataset:
                dataset.set_auto_mask(False)
                shape = dataset[name].shape
                read = math.prod((len(range(*rows.indices(shape[0]))), *shape[1:]))
                require_size(8.0 * read, f"{self.file}: {name}", ModelError)
                found = np.asarray(dataset[name][rows])
            if found.dtype.kind not in ("iuf" if name == "latents" else "iu"):
                raise ModelError(f"{self.file} has {name} of the type {found.dtype}; expected numbers")
            return found


def _odd_dates(dates: np.ndarray) -> str:
    """The first date that does not exist, in words."""
    year, month, day, hour = np.moveaxis(dates.astype(np.int64), -1, 0)
    sane = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    sane &= (hour >= 0) & (hour <= 23)
    if sane.all():
        month_found = times_of(dates).astype("datetime64[M]").astype(np.int64)
        sane = month_found == (year - 1970) * 12 + month - 1
    return "" if sane.all() else str(tuple(map(int, dates[int((~sane).argmax())])))


def times_of(dates: np.ndarray) -> np.ndarray:
    """Years, months, days and hours (..., 4) as datetime64[h]."""
    year, month, day, hour = np.moveaxis(np.asarray(dates, np.int64), -1, 0)
    months = (year - 1970) * 12 + month - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]") + (day - 1).astype("timedelta64[D]")
    return days.astype("datetime64[h]") + hour.astype("timedelta64[h]")

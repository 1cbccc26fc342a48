"""Windows of latents that official runs dumped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from xappa.errors import ModelError
from xappa.model.appa.latent_dump import LatentWindows, times_of
from xappa.model.latent_normalisation import ChannelLatents

netCDF4 = pytest.importorskip("netCDF4", reason="reading HDF5 needs netCDF4")

START = np.datetime64("2020-02-28T20", "h")
LATENTS = ChannelLatents(np.array([1.0, -2.0], "f4"), np.array([2.0, 0.5], "f4"))


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """Forty hours; the number of the hour in all latents."""
    times = START + np.arange(40)
    year, month, day = (times.astype(f"M8[{unit}]") for unit in "YMD")
    ones = np.timedelta64(1, "D")
    dates = [year.astype(int) + 1970, month.astype(int) % 12 + 1, (day - month.astype("M8[D]")) // ones + 1]
    with netCDF4.Dataset(tmp_path / "era5.h5", "w") as file:
        for name, size in (("n", 40), ("four", 4), ("tokens", 3), ("c", 2)):
            file.createDimension(name, size)
        file.createVariable("dates", "i4", ("n", "four"))[:] = np.stack([*dates, (times - day).astype(int)], 1)
        values = np.broadcast_to(np.arange(40.0)[:, None, None], (40, 3, 2))
        file.createVariable("latents", "f4", ("n", "tokens", "c"))[:] = values
    return tmp_path / "era5.h5"


def test_windows(dump: Path) -> None:
    windows = LatentWindows(dump, LATENTS, size=4, stride=3, start=START + 5, end=START + 30)
    assert len(windows) == 25 - 9
    for index in (0, 7, len(windows) - 1, -1):
        latents, date = windows[index]
        hours = 5 + index % len(windows) + 3 * np.arange(4)
        np.testing.assert_array_equal(times_of(date.numpy()), START + hours)
        expected = (hours[:, None] - LATENTS.mean) / LATENTS.deviation
        np.testing.assert_allclose(latents.numpy(), np.broadcast_to(expected[:, None], (4, 3, 2)), rtol=1e-6)
    with pytest.raises(IndexError, match="window 16 of 16"):
        windows[16]
    assert len(LatentWindows(dump, LATENTS, size=30, stride=3)) == 0


def test_statistics(dump: Path) -> None:
    mean, deviation = LatentWindows(dump, LATENTS, size=2).statistics()
    np.testing.assert_allclose(mean, 19.5)
    np.testing.assert_allclose(deviation, np.arange(40).std(), rtol=1e-6)


def test_what_is_wrong_is_said(dump: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no latents between 2021-01-01"):
        LatentWindows(dump, LATENTS, 2, start=np.datetime64("2021-01-01", "h"))
    (tmp_path / "no.h5").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="Expected HDF5 with latents and dates"):
        LatentWindows(tmp_path / "no.h5", LATENTS, 2)

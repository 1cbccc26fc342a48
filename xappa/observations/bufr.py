"""SYNOP and SHIP reports in BUFR, decoded in a process of its own."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xappa.errors import MissingDependency, ObservationError
from xappa.observations import bufr_decode
from xappa.observations.frames import from_frame
from xappa.observations.names import Naming

_INSTALL = 'Reading BUFR needs pdbufr and ecCodes, which are not installed: pip install "xappa[obs]"'
_SPEED, _DIRECTION = "10m_wind_speed", "10m_wind_from_direction"
_UNITS = {
    "2m_temperature": "K",
    _SPEED: "m s-1",
    _DIRECTION: "degree",
    "mean_sea_level_pressure": "Pa",
    "surface_pressure": "Pa",
}


def read_bufr(path: str | Path) -> xr.Dataset:
    """Surface reports of a BUFR file.

    Parameters
    ----------
    path : path
        BUFR file with SYNOP or SHIP messages (data category 0 or 1); others are skipped and counted.

    Returns
    -------
    Dataset
        In the one form, without flags: temperature, wind speed and direction, mean sea level pressure and station
        pressure of every report that has at least one of them. Attributes count the reports read (``reports_read``),
        those without any of these (``reports_empty``, dropped), the winds of variable direction (direction 0 with a
        speed, `reports_variable_wind`; their direction is missing), and, where there are any, the messages that were
        skipped (``messages_skipped``) or could not be decoded (``messages_broken``).

    Raises
    ------
    MissingDependency
        If pdbufr or ecCodes is not installed.
    ObservationError
        If the file cannot be decoded, or has no surface report.

    References
    ----------
    WMO-No. 306, Manual on Codes, volume I.2, FM 94 BUFR, sequences 307079–307092; B/C1 for the meaning of direction 0.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "reports.npz"
        complaints = _decode(Path(path), target)
        with np.load(target) as archive:
            data = {name: archive[name] for name in archive.files}
    counts = {name.removeprefix("count_"): int(data.pop(name)) for name in list(data) if name.startswith("count_")}
    frame = pd.DataFrame(data)
    _require_reports(path, frame, counts, complaints)
    empty = frame[list(_UNITS)].isna().all(axis=1)
    # Places are coded in steps of 1e-5 degrees; the pole must not come out as 90.00000000000001.
    frame = frame[~empty].round({"latitude": 6, "longitude": 6})
    variable = (frame[_DIRECTION] == 0.0) & (frame[_SPEED] > 0.0)
    frame[_DIRECTION] = frame[_DIRECTION].mask(variable)
    absent = [name for name in ("altitude", *_UNITS) if name != _DIRECTION and frame[name].isna().all()]
    frame = frame.drop(columns=absent + ([_DIRECTION] if _SPEED in absent else []))
    obs = from_frame(frame, Naming(units=_UNITS))
    obs.attrs["reports_read"] = len(empty)
    obs.attrs["reports_empty"] = int(empty.sum())
    obs.attrs["reports_variable_wind"] = int(variable.sum())
    for name in ("messages_skipped", "messages_broken"):
        if counts[name]:
            obs.attrs[name] = counts[name]
    return obs


def _decode(path: Path, target: Path) -> str:
    """Run the decoder; returns its complaints."""
    if importlib.util.find_spec("pdbufr") is None:
        raise MissingDependency(_INSTALL)
    # Not `-m`: the decoder must not import the package, and `-P` keeps its folder off the path.
    command = [sys.executable, "-P", str(Path(bufr_decode.__file__)), str(path), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    tail = "\n".join(done.stderr.strip().splitlines()[-8:])
    if done.returncode == 3:
        raise MissingDependency(f"{_INSTALL}\n{tail}")
    if done.returncode != 0:
        how = f"was ended by {signal.Signals(-done.returncode).name}" if done.returncode < 0 else "failed"
        raise ObservationError(
            f"{path}: the BUFR decoder {how}. Expected a BUFR file of surface reports. It said:\n{tail}"
        )
    return tail


def _require_reports(path: str | Path, frame: pd.DataFrame, counts: dict[str, int], complaints: str) -> None:
    if len(frame) and not frame[list(_UNITS)].isna().all(axis=None):
        return
    categories = [name.removeprefix("category_") for name in counts if name.startswith("category_")]
    others = f" (of data category {', '.join(categories)})" if categories else ""
    said = f" The decoder said:\n{complaints}" if complaints else ""
    raise ObservationError(
        f"{path}: no surface report with temperature, wind or pressure in {counts['messages']} BUFR messages{others}, "
        f"{counts['messages_broken']} of which could not be decoded. Expected SYNOP or SHIP (category 0 or 1).{said}"
    )

"""`Quality`: which checks are made, and how strict they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import pandas as pd

from xappa.errors import OptionError, choose


@dataclass(frozen=True)
class Quality:
    """Checks of reports against each other, against station tables and against a background; None leaves one out.

    What no report can be (an impossible place, time or value, the same report twice) is rejected when reports are read,
    whatever is chosen here.

    Parameters
    ----------
    background : float or None, default 5.0
        A report is rejected where it departs from the background by more than this many expected deviations,
        ``sqrt(sigma_b**2 + sigma_o**2)``.
    buddies : float or None, default 4.0
        The same, for the departure from the median of the neighbours.
    radius : float, default 500.0
        Distance within which reports are neighbours, km.
    least : int, default 4
        Neighbours without which there is no buddy check.
    near_duplicates : float or None, default 0.5
        Reports of one quantity under two names (or from two sources), at most `near_distance` and `near_time` apart,
        count once if they differ by no more than this many deviations of their errors.
    near_distance : float, default 2.0
        km.
    near_time : float, default 15.0
        Minutes.
    track : float or None, default 60.0
        Speed, m/s, that no platform near the ground reaches: a position that a platform would have to leap to and back
        from is rejected. Reports on levels (aircraft, drifting balloons) may be 6 times as fast.
    station_height : float or None, default 100.0
        Largest difference between the reported height and that of the table `stations`, m.
    model_height : float or None, default 1500.0
        Largest difference between the reported height and the model's surface, m.
    sea_level_pressure : float or None, default 1500.0
        Height of a station, m, above which the pressure that it has reduced to mean sea level is rejected.
    station_pressure : float or None, default 750.0
        Height of a station, m, above which its own pressure is rejected, if the model has none but that at sea level.
    stations : DataFrame or mapping of str to float, optional
        Heights by station, m: a table with columns ``station`` and ``altitude`` (and, where positions are to be
        compared too, ``latitude`` and ``longitude``), or the heights alone.

    Raises
    ------
    OptionError
        Naming every option that is not valid.

    Examples
    --------
    >>> from xappa.observations.qc import Quality
    >>> Quality(background=4.0, buddies=None)
    Quality(background=4.0, buddies=None)
    """

    background: float | None = 5.0
    buddies: float | None = 4.0
    radius: float = 500.0
    least: int = 4
    near_duplicates: float | None = 0.5
    near_distance: float = 2.0
    near_time: float = 15.0
    track: float | None = 60.0
    station_height: float | None = 100.0
    model_height: float | None = 1500.0
    sea_level_pressure: float | None = 1500.0
    station_pressure: float | None = 750.0
    stations: pd.DataFrame | Mapping[str, float] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        problems = [
            f"{f.name}={value!r}: expected {_describe_expected(f.name)}"
            for f in fields(self)
            if f.name != "stations" and not _is_valid(value := getattr(self, f.name), f.name)
        ]
        if isinstance(self.stations, pd.DataFrame):
            lacking = {"station", "altitude"} - set(map(str, self.stations.columns))
            if lacking:
                problems.append(f"stations: no column {' and '.join(sorted(lacking))} in {list(self.stations.columns)}")
        elif self.stations is not None and not isinstance(self.stations, Mapping):
            problems.append(f"stations={type(self.stations).__name__}: expected a DataFrame or a mapping of heights")
        if problems:
            raise OptionError(f"Quality: {'; '.join(problems)}")

    def __repr__(self) -> str:
        shown = [f"{f.name}={getattr(self, f.name)!r}" for f in fields(self)[:-1] if getattr(self, f.name) != f.default]
        if self.stations is not None:
            shown.append(f"stations=<{len(self.stations)} stations>")
        return f"Quality({', '.join(shown)})"

    @property
    def compares(self) -> bool:
        """Whether any check looks at more than one report, or at a background."""
        return any(k is not None for k in (self.background, self.buddies, self.near_duplicates))


_OPTIONAL = (
    "background",
    "buddies",
    "near_duplicates",
    "track",
    "station_height",
    "model_height",
    "sea_level_pressure",
    "station_pressure",
)


def _is_valid(value: object, name: str) -> bool:
    if value is None:
        return name in _OPTIONAL
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if name == "least":
        return isinstance(value, int) and value >= 2
    return math.isfinite(value) and value > 0


def _describe_expected(name: str) -> str:
    if name == "least":
        return "a whole number, 2 or more"
    return "a number above zero" + (", or None" if name in _OPTIONAL else "")


QUALITY: dict[str, Quality] = {
    "none": Quality(
        background=None,
        buddies=None,
        near_duplicates=None,
        track=None,
        station_height=None,
        model_height=None,
        sea_level_pressure=None,
        station_pressure=None,
    ),
    "standard": Quality(),
    "strict": Quality(4.0, 3.0, near_distance=5.0, station_height=50.0, model_height=800.0, sea_level_pressure=750.0),
}
"""Names that choose a set of checks."""


def choose_quality(quality: str | Quality) -> Quality:
    """The checks that were named, or the object itself.

    Raises
    ------
    OptionError
        If there are no checks of that name.
    """
    if isinstance(quality, Quality):
        return quality
    if not isinstance(quality, str):
        names = ", ".join(map(repr, QUALITY))
        raise OptionError(f"quality={quality!r}: expected one of {names}, or an object xappa.Quality(...)")
    return choose("quality", quality, QUALITY)

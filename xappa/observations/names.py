"""Names of columns and variables: many spellings, one name.

The order of trust: what the caller says (`NameMap`), a WeatherBench name, CF attributes, a common
spelling.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from xappa.errors import ObservationError, OptionError, suggest_names
from xappa.observations import standard_names
from xappa.observations.readers.tables import headers
from xappa.observations.readers.tables.headers import ColumnHeading
from xappa.observations.readers.times import PARTS
from xappa.observations.units import COORDINATE_UNITS, is_convertible
from xappa.observations.variables import REPORTED, SPELLINGS
from xappa.vocabulary import ALIASES, VARIABLES, Variable

if TYPE_CHECKING:
    import xarray as xr

QUANTITIES: dict[str, Variable] = VARIABLES | REPORTED

COORDINATES: dict[str, tuple[str, ...]] = {
    "time": (
        "time",
        "datetime",
        "date_time",
        "valid_time",
        "date",
        "timestamp",
        "data_datetime",
        "time_utc",
        "observation_time",
    ),
    "latitude": ("latitude", "lat", "nav_lat"),
    "longitude": ("longitude", "lon", "long", "lng", "nav_lon"),
    "level": ("level", "lev", "plev", "pressure_level", "isobaricInhPa"),
    "altitude": (
        "altitude",
        "station_elev",
        "elev",
        "elevation",
        "alt",
        "height_of_station",
        "station_height",
        "station_altitude",
        "station_elevation",
        "surface_altitude",
        "heightOfStation",
        "heightOfStationGroundAboveMeanSeaLevel",
    ),
    "station": (
        "station",
        "station_id",
        "stationid",
        "wmo_station_id",
        "wmo_id",
        "wmo",
        "stnid",
        "stn",
        "platform",
        "platform_id",
        "ident",
        "call_sign",
        "id",
    ),
    "period": ("period", "duration", "accumulation_period", "timePeriod"),
    "channel": ("channel", "chan", "channel_number", "sensor_channel"),
}
"""Coordinates of a report, with the spellings (any case) that are recognised."""

_WITHOUT_UNITS = ("time", "station", "channel")

NEEDED = ("time", "latitude", "longitude")

_QUANTITY_OF: dict[str, str] = (
    {alias.casefold(): name for alias, name in ALIASES.items()}
    | {spelling.casefold(): name for name, spellings in SPELLINGS.items() for spelling in spellings}
    | {name.casefold(): name for name in QUANTITIES}
)
_COORDINATE_OF: dict[str, str] = {
    spelling.casefold(): name for name, spellings in COORDINATES.items() for spelling in spellings
}
_Z = "z"
"""A height in many files, the short name of geopotential in others: units and levels tell."""


def normalise_name(name: str) -> str:
    """A name in small letters, with underscores for blanks, hyphens and the like (``Wind Speed``: ``wind_speed``)."""
    return re.sub(r"[\s\-./]+", "_", name.strip().casefold())


def find_quantity(name: str) -> str | None:
    """Name of the quantity that `name` (any common spelling, any case) stands for, or None."""
    return _QUANTITY_OF.get(name.casefold()) or _QUANTITY_OF.get(normalise_name(name))


def find_coordinate(name: str) -> str | None:
    """Name of the coordinate that `name` (any common spelling, any case) stands for, or None."""
    found = _COORDINATE_OF.get(name.casefold()) or _COORDINATE_OF.get(normalise_name(name))
    return found or standard_names.COORDINATES.get(standard_names.resolve_standard_name(normalise_name(name)))


def get_expected_units(name: str) -> str | None:
    """Units of the quantity or coordinate that `name` (a common spelling or a standard name) stands for, or None."""
    quantity = find_quantity(name) or standard_names.find_by_standard_name(normalise_name(name), "time: sum", False)
    return QUANTITIES[quantity].units if quantity is not None else COORDINATE_UNITS.get(str(find_coordinate(name)))


@dataclass(frozen=True)
class NameMap:
    """Names and units that the caller gives.

    Parameters
    ----------
    rename : mapping of str to str
        Name in the source to quantity or coordinate.
    units : mapping of str to str
        Name in the source, or of the quantity or coordinate, to units.
    unknown : {"drop", "keep"} or collection of str
        What becomes of names that are no known quantity: left out, kept as user-defined quantities, or only these
        kept. Those in `units` are kept as well.
    suspect : {"keep", "reject"}
        What becomes of values that the source's own quality control calls suspect.
    source_quality : str, or mapping of str to str or mapping
        Scheme of the source's quality codes (`source_quality.SCHEMES`, or codes to verdicts), for all columns or by
        name.
    declared : mapping of str to str
        Units that the source itself says of its names, as in a row of units. The caller's count for more.

    Raises
    ------
    OptionError
        If a name is given a meaning that does not exist.
    """

    rename: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    unknown: str | Collection[str] = "drop"
    suspect: str = "keep"
    source_quality: str | Mapping[str, str | Mapping[str, str]] = field(default_factory=dict)
    declared: Mapping[str, str] = field(default_factory=dict)
    _format_names: set[str] = field(default_factory=set, repr=False, compare=False)
    _source_names: set[str] = field(default_factory=set, repr=False, compare=False)
    _meanings: set[str] = field(default_factory=set, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._require_texts()
        if isinstance(self.unknown, str) and self.unknown not in ("drop", "keep"):
            raise OptionError(f"unknown={self.unknown!r}: expected 'drop', 'keep', or the names that are kept")
        if self.suspect not in ("keep", "reject"):
            raise OptionError(f"suspect={self.suspect!r}: expected 'keep' or 'reject'")
        known = [*QUANTITIES, *COORDINATES]
        wrong = [
            f"{target!r} (for {source!r}){suggest_names(target, known)}"
            for source, target in self.rename.items()
            if find_quantity(target) is None
            and find_coordinate(target) is None
            and target.casefold() not in PARTS
            and self.find_user_name(source) is None
        ]
        if wrong:
            raise OptionError(
                f"rename gives names that are unknown: {'; '.join(wrong)}. Quantities are {', '.join(QUANTITIES)}; "
                f"coordinates are {', '.join(COORDINATES)}; parts of the time are {', '.join(PARTS)}. For a quantity "
                "of your own, which a function gives as "
                "operator, say its units too: units={'<your name>': '1'}"
            )

    def _require_texts(self) -> None:
        for option, given in (("rename", self.rename), ("units", self.units)):
            if not isinstance(given, Mapping):
                raise OptionError(f"{option}={given!r}: expected a mapping of names, such as {{'<your name>': '...'}}")
            wrong = [f"{name!r}: {text!r}" for name, text in given.items() if not isinstance(text, str | None)]
            wrong += [f"{name!r}: None" for name, text in given.items() if text is None and option == "rename"]
            if wrong:
                raise OptionError(f"{option}={{{', '.join(wrong)}}}: expected texts")
        quality = self.source_quality
        schemes = list(quality.values()) if isinstance(quality, Mapping) else [quality]
        if not all(isinstance(scheme, str | Mapping) for scheme in schemes):
            raise OptionError(
                f"source_quality={quality!r}: expected the name of a scheme, codes to verdicts, or either by the name "
                "of a column"
            )

    def find_user_name(self, name: str) -> str | None:
        """What a quantity that the vocabulary does not have is called, if `name` of the source is one to be kept."""
        target = self.rename.get(name, name)
        if (
            find_quantity(target) is not None
            or find_coordinate(target) is not None
            or target.endswith(("_error", "_flag"))
        ):
            return None
        told = {name, target} & set(self.units)
        kept = self.unknown == "keep" if isinstance(self.unknown, str) else bool({name, target} & set(self.unknown))
        return target if told or kept else None

    def find_quantity(self, name: str, aloft: bool | None = None, units: str | None = None) -> str | None:
        """Quantity that `name` of the source stands for, or None.

        Parameters
        ----------
        name : str
            As in the source.
        aloft : bool, optional
            Whether the reports have levels. Where that is known, CF standard names are understood too, and ``z`` is a
            geopotential only on levels, or with units of one.
        units : str, optional
            Its units, where neither the caller nor the name tells.
        """
        text = self.parse_heading(name).name
        meaning = find_quantity(text)
        if aloft is not None and meaning is None:
            meaning = standard_names.find_by_standard_name(normalise_name(text), "", aloft)
        if aloft is False and normalise_name(text) == _Z and name not in self.rename:
            found = self.find_units(name, str(meaning)) or units
            meaning = meaning if found and is_convertible("m2 s-2", found) else None
        return self._record(name, meaning)

    def find_coordinate(self, name: str) -> str | None:
        """Coordinate that `name` of the source stands for, or None."""
        return self._record(name, find_coordinate(self.parse_heading(name).name))

    def is_known(self, name: str) -> bool:
        """Whether `name` stands for anything; asking does not count as having seen it."""
        text = self.parse_heading(name).name
        return name in self.rename or find_coordinate(text) is not None or get_expected_units(text) is not None

    def parse_heading(self, name: str) -> ColumnHeading:
        """Quantity of `name`, by the caller or by its spelling, and the units that it states (``t2m (degC)``)."""
        if name in self.rename:
            units = headers.split_bracketed_units(name).units
            return ColumnHeading(self.rename[name], units if self._can_have_units(self.rename[name], units) else None)
        if find_quantity(name) is not None or find_coordinate(name) is not None:
            return ColumnHeading(name)
        text, units = headers.split_bracketed_units(name)
        if units is not None and (text in self.rename or self._is_units(text, units)):
            return ColumnHeading(self.rename.get(text, text), None if headers.is_nothing(units) else units)
        text, units = headers.split_suffix_units(name)
        if units is not None and self._can_have_units(text, units):
            return ColumnHeading(text, units)
        return ColumnHeading(name)

    def _is_units(self, text: str, units: str) -> bool:
        """Whether what is in brackets are units, of whatever, or says nothing of the meaning."""
        if find_coordinate(text) in _WITHOUT_UNITS or headers.is_nothing(units):
            return True
        return headers.is_unit(units) and not headers.is_height(units)

    def _can_have_units(self, text: str, units: str | None) -> bool:
        """Whether a name is known, and can have the units."""
        if units is None or find_coordinate(text) == "time":
            return units is not None and units.casefold() in headers.UTC
        expected = get_expected_units(text)
        return expected is not None and is_convertible(units, expected)

    def _record(self, name: str, meaning: str | None) -> str | None:
        self._source_names.update(
            (name, headers.split_bracketed_units(name).name) if name not in self.rename else (name,)
        )
        if meaning is not None:
            self._meanings.add(meaning)
        return meaning

    def record_names(self, names: Iterable[str]) -> None:
        """Remember names that a source has, so that messages can offer them."""
        self._source_names.update(names)

    def record_quantities(self, obs: xr.Dataset) -> xr.Dataset:
        """The same observations, of a format that tells all names itself; their quantities are remembered."""
        self._format_names.update(name for name in map(str, obs.data_vars) if not name.endswith(("_error", "_flag")))
        return obs

    def with_declared(self, units: Mapping[str, str]) -> NameMap:
        """The same for a source that says units of its own."""
        return replace(self, declared={**self.declared, **units}) if units else self

    def find_units(self, name: str, meaning: str) -> str | None:
        """Units that the caller gave for `name` of the source, or for what it means; else those that the source says.

        Raises
        ------
        ObservationError
            If the source says that times are in another zone than UTC.
        """
        heading = self.parse_heading(name)
        keys = (name, heading.name, headers.split_bracketed_units(name).name, meaning)
        self._meanings.update(keys)
        said = self.declared.get(name, heading.units)
        if meaning == "time" and said is not None and name not in self.rename:
            said = headers.parse_time_units(name, said)
        return next((self.units[key] for key in keys if key in self.units), said)

    def find_quality_scheme(self, name: str) -> str | Mapping[str, str] | None:
        """Scheme that the caller gave for the quality codes of a column or variable, or of all."""
        self._source_names.add(name)
        return self.source_quality if isinstance(self.source_quality, str) else self.source_quality.get(name)

    def has_own_scheme(self, name: str) -> bool:
        """Whether the caller gave a scheme for just this name."""
        return not isinstance(self.source_quality, str) and name in self.source_quality

    def require_used(self) -> None:
        """Complain about names in `rename` and `units` that no source had.

        Raises
        ------
        ObservationError
            If there are any.
        """
        known = self._source_names | self._meanings
        unused = {
            "rename": [name for name in self.rename if name not in self._source_names],
            "units": [name for name in self.units if name not in known],
            "source_quality": []
            if isinstance(self.source_quality, str)
            else [n for n in self.source_quality if n not in self._source_names],
        }
        problems = [f"{option} names {', '.join(map(repr, names))}" for option, names in unused.items() if names]
        if problems:
            names = self._source_names | self._format_names
            hints = "".join(suggest_names(name, names) for name in dict.fromkeys(sum(unused.values(), [])))
            found = f"the source has {format_names(names)}"
            if self._format_names:
                found += f" (the format of {format_names(self._format_names)} tells all names and units)"
            raise ObservationError(f"{' and '.join(problems)}, but {found}{hints}")


def format_names(names: Iterable[object], most: int = 20) -> str:
    """Names as text, cut after `most`."""
    texts = sorted(map(str, names))
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more if texts else "nothing"


def require_coordinates(found: Iterable[str], names: Iterable[object], needed: Iterable[str] = NEEDED) -> None:
    """Complain, all at once, about needed coordinates that were not found.

    Raises
    ------
    ObservationError
        With the names found and the spellings that are recognised.
    """
    missing = [name for name in needed if name not in set(found)]
    if missing:
        spellings = "; ".join(f"{name}: {', '.join(COORDINATES[name])}" for name in missing)
        raise ObservationError(
            f"Reports need {', '.join(NEEDED)}; {' and '.join(missing)} not found among {format_names(names)}. "
            f"Recognised (any case): {spellings}. Otherwise say it: rename={{'<your name>': '{missing[0]}'}}"
        )


def require_quantities(found: Iterable[str], unknown: Iterable[str]) -> None:
    """Complain if not one quantity is known.

    Raises
    ------
    ObservationError
        With the nearest known names for each that is not.
    """
    if list(found):
        return
    unknown = list(unknown)
    known = [*QUANTITIES, *ALIASES]
    texts = [f"{name!r}{suggest_names(name, known)}" for name in unknown[:8]]
    raise ObservationError(
        f"No known variable among {'; '.join(texts) or 'the columns (there is none beside the coordinates)'}. "
        f"Known are {', '.join(QUANTITIES)}. Otherwise say it: rename={{'<your name>': '2m_temperature'}}, or, for a "
        "quantity of your own, its units: units={'<your name>': '1'}"
    )


def require_one_each(sources: Mapping[str, list[str]]) -> None:
    """Complain about quantities or coordinates that more than one name of the source stands for.

    Raises
    ------
    ObservationError
        With the candidates.
    """
    twice = [f"{meaning} ({', '.join(names)})" for meaning, names in sources.items() if len(names) > 1]
    if twice:
        raise ObservationError(
            f"More than one name stands for the same thing: {'; '.join(twice)}. Drop all but one, "
            "or give the one that is meant with rename="
        )

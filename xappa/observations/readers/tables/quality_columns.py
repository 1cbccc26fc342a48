"""Columns beside a quantity in a table: xappa's own flags, and the verdict of the source's quality control."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from xappa.errors import ObservationError, suggest_names
from xappa.observations.flags import Flag
from xappa.observations.names import QUANTITIES, NameMap, normalise_name
from xappa.observations.readers.quality_words import classify_meaning
from xappa.observations.readers.source_quality import (
    SCHEMES,
    QualityScheme,
    choose_scheme,
    classify_codes,
    factorize_codes,
)

_WORDS = "qc|qa|qf|qartod|flags?|quality|quality_(?:code|flag|control)|qc_(?:flag|code|agg)|qcflag"
_SUFFIX = rf"(?i)[_. ](?:{_WORDS})$"
_PREFIX = r"(?i)^(?:qc|qa|flag|quality|q)[_. ]"
_WHOLE = ("qc", "quality", "quality_code", "quality_flag", "qc_flag", "qc_code", "qcflag", "flag", "quality_control")
_MADIS_ONLY = frozenset("VCQB")
_REASONS = {flag.name.lower(): int(flag) for flag in Flag}
_EXAMPLE = "'qartod', or its codes: {'1': 'good', '3': 'suspect', '4': 'failed'}"


@dataclass
class TableFlags:
    """Flags of the quantities of a table, from columns beside them.

    Parameters
    ----------
    flags : dict of arrays of int8, shape (n,)
        By quantity; 0 where nothing speaks against a value.
    suspect : int
        Values that the source calls suspect, and that are used.
    assumed : list of str
        Sentences on what was assumed, or not understood.
    used : set of str
        Columns that were looked at.
    """

    flags: dict[str, np.ndarray] = field(default_factory=dict)
    suspect: int = 0
    assumed: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def add(self, meaning: str, flags: np.ndarray) -> None:
        """Set flags of a quantity; the first reason stays."""
        old = self.flags.get(meaning, np.zeros(len(flags), "int8"))
        self.flags[meaning] = np.where(old != Flag.GOOD, old, flags).astype("int8")

    def make_attrs(
        self, values: Mapping[str, np.ndarray], flags: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, int]:
        """Attributes that count values which the source rejects, and those that it calls suspect."""
        flags = self.flags if flags is None else flags
        rejected = [(flags[name] == Flag.REJECTED_BY_SOURCE) & ~np.isnan(values[name]) for name in flags]
        counts = {"reports_refused": sum(int(mask.sum()) for mask in rejected), "reports_suspect": self.suspect}
        return {name: count for name, count in counts.items() if count}


def find_base_name(name: str) -> str | None:
    """Name of what a column ``<name>_qc``, ``qc_<name>``, ``<name>DD`` or ``<name>_flag`` stands beside."""
    for pattern in (_SUFFIX, _PREFIX, r"(?<=[a-z])DD$"):
        base = re.sub(pattern, "", name)
        if base != name and base:
            return base
    return None


def is_row_quality(name: str) -> bool:
    """Whether a column gives the quality of the whole row."""
    return name.casefold() in _WHOLE


def read_column_flags(
    columns: Mapping[str, pd.Series], known: Mapping[str, str], located: np.ndarray, naming: NameMap
) -> TableFlags:
    """Flags of a wide table's quantities.

    Parameters
    ----------
    columns : mapping of str to Series, shape (n,)
        Columns that are neither places nor quantities.
    known : mapping of str to str
        Name of each quantity's column, by quantity.
    located : array of bool, shape (n,)
        Reports with a place and a time.
    naming : NameMap
        What the caller says.

    Raises
    ------
    ObservationError
        If xappa's own flags have an unknown code or reason.
    """
    result = TableFlags()
    by_name = {name.casefold(): meaning for meaning, name in known.items()}
    for name, column in columns.items():
        base = find_base_name(name)
        meaning = None if base is None else by_name.get(base.casefold(), naming.find_quantity(base))
        own = meaning in known and not naming.has_own_scheme(name) and _is_own_flag(name, str(meaning), column, located)
        if own:
            result.add(str(meaning), parse_xappa_flags(column, name))
            result.used.add(name)
        elif meaning in known:
            apply_quality_column(result, name, column, [str(meaning)], naming)
        elif is_row_quality(name):
            apply_quality_column(result, name, column, list(known), naming)
    return result


def read_row_flags(
    columns: Mapping[str, pd.Series], rows: Mapping[str, np.ndarray], exact: bool, naming: NameMap
) -> TableFlags:
    """Flags of a tidy table's rows, by quantity: from a column ``flag`` of xappa's own, or one of the source's verdict.

    Parameters
    ----------
    columns : mapping of str to Series, shape (n,)
        Columns that are neither places nor have a role.
    rows : mapping of str to array of bool, shape (n,)
        Rows of each quantity.
    exact : bool
        Whether all variables have the names that xappa gives them.
    naming : NameMap
        What the caller says.
    """
    result = TableFlags()
    for name, column in columns.items():
        if not is_row_quality(name) and name != "pressure_quality":
            continue
        own = not naming.has_own_scheme(name) and name.casefold() == "flag" and _are_own(column, exact)
        aloft = name == "pressure_quality"
        of = [key for key in rows if not aloft or (key in QUANTITIES and QUANTITIES[key].upper_air)]
        if own:
            result.used.add(name)
            for key in of:
                result.add(key, parse_xappa_flags(column, name))
        else:
            one = TableFlags()
            apply_quality_column(one, name, column, ["row"], naming, tidy=True)
            result.assumed += one.assumed
            result.used |= one.used
            for key in of:
                result.add(key, one.flags.get("row", np.zeros(len(column), "int8")) * rows[key])
            result.suspect += one.suspect
    return result


def _are_own(column: pd.Series, exact: bool) -> bool:
    """Whether a column ``flag`` of a tidy table is xappa's: reasons, or codes that no place or time contradicts."""
    texts = {text.casefold() for text in factorize_codes(column)[1]} - {""}
    if texts & set(_REASONS):
        return texts <= {*_REASONS, *map(str, range(len(Flag)))}
    # Most reports have a place and a time.
    most = pd.Series(factorize_codes(column)[0]).value_counts(normalize=True)
    first = {
        text
        for text, share in zip(factorize_codes(column)[1], most.sort_index()[lambda s: s.index >= 0], strict=True)
        if share > 0.5
    }
    return exact and bool(texts) and texts <= set(map(str, map(int, Flag))) and not first & {"1", "2"}


def apply_quality_column(
    result: TableFlags, name: str, column: pd.Series, meanings: Sequence[str], naming: NameMap, tidy: bool = False
) -> None:
    """Add what a column of the source's quality control says of some quantities."""
    result.used.add(name)
    scheme, text = find_scheme(name, column, naming, tidy)
    if text:
        result.assumed.append(text)
    if scheme is None:
        return
    failed, suspect = classify_codes(column, scheme)
    rejected = failed | suspect if naming.suspect == "reject" else failed
    result.suspect += int((suspect & ~rejected).sum()) * len(meanings)
    for meaning in meanings:
        result.add(meaning, np.where(rejected, Flag.REJECTED_BY_SOURCE, Flag.GOOD))


def _is_own_flag(name: str, meaning: str, column: pd.Series, located: np.ndarray) -> bool:
    """Whether a column is xappa's own: by the quantity's full name, or by its reasons.

    Most reports cannot lack a place or a time that they have: 1 and 2 are then the "good" of another scheme.
    """
    if normalise_name(name) == normalise_name(f"{meaning}_flag"):
        return not np.mean(column.isin([1, 2, "1", "2"]).to_numpy(bool) & located) > 0.5
    texts = {str(value).strip().casefold() for value in column.dropna().unique()}
    return name.casefold().endswith("_flag") and bool(texts) and texts <= set(_REASONS)


def parse_xappa_flags(column: pd.Series, name: str) -> np.ndarray:
    """Flags of xappa's own that went through a table: codes, or names of reasons; blank is good.

    Raises
    ------
    ObservationError
        If one is no reason.
    """
    number, texts = factorize_codes(column)
    codes = {str(int(flag)): int(flag) for flag in Flag} | _REASONS
    wrong = [text for text in texts if text.casefold() not in (*codes, "")]
    if wrong:
        raise ObservationError(
            f"Column {name!r} has flags that are none of xappa's: {', '.join(map(repr, wrong[:5]))}"
            f"{suggest_names(wrong[0], _REASONS)}. Expected 0 to {max(Flag)}, or reasons ({', '.join(_REASONS)}); if "
            f"they are the source's own, say which: source_quality={{{name!r}: {_EXAMPLE}}}"
        )
    return np.array([*(codes.get(text.casefold(), 0) for text in texts), 0], "int8")[number]


def find_scheme(
    name: str, column: pd.Series, naming: NameMap, tidy: bool = False
) -> tuple[QualityScheme | None, str | None]:
    """Scheme of a column's codes, and what is assumed or not understood.

    Told by the caller, by words ("bad"), by the column's name, or by codes that one scheme alone has; numbers from 0 to
    9 are those of QARTOD and Argo, which agree, as far as they tell the two from a mere yes and no. A column
    ``quality`` of a tidy table has NCEP's markers, as earth2studio's frames do.
    """
    told = naming.find_quality_scheme(name)
    if told is not None:
        return choose_scheme(told), None
    texts = [text for text in factorize_codes(column)[1] if text]
    found = set(texts)
    if not found or found == {"0"}:
        return None, None
    words = {text: classify_meaning(text) for text in found if re.search(r"[A-Za-z]{2}", text)}
    if len(words) == len(found) and None not in words.values():
        return choose_scheme({text: str(verdict) for text, verdict in words.items()}), None
    if tidy and name in ("quality", "pressure_quality") and found <= SCHEMES["ncep"].codes:
        return SCHEMES["ncep"], (
            f"Codes of {name!r} are taken for NCEP's quality markers (0 best, 3 suspect, above 3 rejected), as "
            f"earth2studio has them. Say which they are: source_quality={{{name!r}: {_EXAMPLE}}}"
        )
    if re.search(r"(?i)qartod", name) and found <= SCHEMES["qartod"].codes:
        return SCHEMES["qartod"], None
    if found <= SCHEMES["madis"].codes and (name.endswith("DD") or found & _MADIS_ONLY):
        return SCHEMES["madis"], None
    if found <= SCHEMES["argo"].codes and found & {"3", "4", "5", "6", "7", "8"}:
        likely = "qartod" if found <= SCHEMES["qartod"].codes else "argo"
        return SCHEMES[likely], (
            f"Codes of {name!r} ({', '.join(sorted(found))}) are taken for those of {likely.upper()} (1 good, 3 "
            f"{SCHEMES[likely].classify('3')}, 4 failed). Say which they are: source_quality={{{name!r}: {_EXAMPLE}}}"
        )
    return None, (
        f"Codes of {name!r} ({', '.join(sorted(found)[:8])}) are of no scheme that is recognised, and reject nothing. "
        f"Say which they are: source_quality={{{name!r}: {_EXAMPLE}}} (known: {', '.join(SCHEMES)})"
    )


def find_written_quantities(names: Iterable[str], meanings: Mapping[str, str]) -> set[str]:
    """Quantities of a table that xappa wrote: under their full names, with its flags beside them.

    Their units are those of the vocabulary.
    """
    there = set(names)
    return {m for m, name in meanings.items() if name == m and m in QUANTITIES and f"{m}_flag" in there}

"""The verdict of a source's own quality control: what its codes say of a value, by named scheme.

A code is looked up as text, without blanks and without ``.0``; a code that is missing says nothing, as does one that
its scheme does not list. Codes of values that were not checked count as good.

References
----------
.. [1] U.S. IOOS, Manual for the Use of Real-Time Oceanographic Data Quality Control Flags (QARTOD), version 1.2, 2020,
   table 1-1; the same numbers as the primary level of IODE (IOC Manuals and Guides 54, volume 3).
.. [2] Argo User's Manual, version 3.4, reference table 2; SeaDataNet L20; OceanSITES; WMO-No. 306, volume I.2, code
   table 0 33 050 (GTSPP).
.. [3] NCEP, PREPBUFR processing, table 7: observation quality markers.
.. [4] NOAA/NCEP MADIS, QC information: QC data descriptor values.
.. [5] NOAA/NCEI, GHCNh documentation, table 3: quality codes.
.. [6] NOAA/NCEI, Federal Climate Complex Data Documentation for Integrated Surface Data (ISD), 2018: quality codes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from xappa.errors import OptionError, choose
from xappa.observations.readers.objects import make_hashable

Mask = npt.NDArray[np.bool_]

VERDICTS = ("good", "suspect", "failed")


@dataclass(frozen=True)
class QualityScheme:
    """Codes of a quality control, by their verdict.

    Parameters
    ----------
    good, suspect, failed : frozenset of str
        Codes as text. Values that are good or were not checked; that are doubtful; that are not to be used.
    others : {"good", "failed"}, default "good"
        Verdict of a code that is listed nowhere.
    """

    good: frozenset[str]
    suspect: frozenset[str]
    failed: frozenset[str]
    others: str = "good"

    @property
    def codes(self) -> frozenset[str]:
        """All codes that the scheme lists."""
        return self.good | self.suspect | self.failed

    def classify(self, code: str) -> str:
        """One of `VERDICTS` for a code."""
        named = {"failed": self.failed, "suspect": self.suspect, "good": self.good}
        return next((verdict for verdict, codes in named.items() if code in codes), self.others)


def _build_scheme(good: str, suspect: str, failed: str, others: str = "good") -> QualityScheme:
    return QualityScheme(frozenset(good.split()), frozenset(suspect.split()), frozenset(failed.split()), others)


SCHEMES: dict[str, QualityScheme] = {
    "qartod": _build_scheme("1 2 9", "3", "4"),
    # Values that were changed are good, those that were estimated, or lie beyond what can be measured, are suspect.
    "argo": _build_scheme("0 1 2 5 9", "6 7 8", "3 4"),
    "ncep": _build_scheme("0 1 2", "3", "4 5 6 7 8 9 10 11 12 13 14 15"),
    "madis": _build_scheme("Z C S V G T", "Q I W", "X B"),
    # Numbers, A, U, P, I, M and R are codes of the sources that GHCNh took over; every other letter is a failed test.
    # Both archives call 2 and 6 suspect; they are taken for failed, as there is no second look at them.
    "ghcnh": _build_scheme("0 1 4 5 A U P I M R", "", "2 3 6 7", "failed"),
    "isd": _build_scheme("0 1 4 5 9 A C I M P R U", "", "2 3 6 7"),
}
"""Schemes by name: QARTOD [1]_, Argo and its relatives [2]_, NCEP [3]_, MADIS [4]_, GHCNh [5]_, ISD [6]_."""


def choose_scheme(given: str | Mapping[str, str]) -> QualityScheme:
    """The scheme of a name, or one of the caller's own: codes to ``"good"``, ``"suspect"`` or ``"failed"``.

    Raises
    ------
    OptionError
        If there is no such scheme, or no such verdict.
    """
    if isinstance(given, str):
        return choose("source_quality", given, SCHEMES)
    wrong = sorted({str(verdict) for verdict in given.values()} - set(VERDICTS))
    if wrong:
        raise OptionError(f"source_quality gives the verdicts {', '.join(wrong)}; expected {', '.join(VERDICTS)}")
    codes = {v: frozenset(str(code) for code, verdict in given.items() if verdict == v) for v in VERDICTS}
    return QualityScheme(codes["good"], codes["suspect"], codes["failed"])


def factorize_codes(codes: Any) -> tuple[np.ndarray, list[str]]:
    """Number of each code, -1 where it is missing, and the codes as text: without blanks, whole numbers without ``.0``.

    Parameters
    ----------
    codes : array-like of numbers, text or bytes, shape (...,)

    Returns
    -------
    number : array of int, shape (...,)
    texts : list of str
    """
    array = np.asarray(codes)
    number, values = pd.factorize(make_hashable(array.reshape(-1)))
    texts = [_to_text(value) for value in values]
    # A blank is no code.
    absent = np.array([*(not text for text in texts), True])
    return np.where(absent[number], -1, number).reshape(array.shape), texts


def _to_text(code: Any) -> str:
    if isinstance(code, bytes):
        return code.decode(errors="replace").strip().strip("\x00")
    if isinstance(code, bool | np.bool_):
        return str(bool(code))
    if isinstance(code, float | np.floating) and float(code).is_integer():
        return str(int(code))
    return re.sub(r"^(-?\d+)\.0*$", r"\1", str(code).strip())


def classify_codes(codes: Any, scheme: QualityScheme) -> tuple[Mask, Mask]:
    """What a scheme says of codes.

    Parameters
    ----------
    codes : array-like of numbers, text or bytes, shape (...,)
        Missing or blank ones say nothing.
    scheme : QualityScheme

    Returns
    -------
    failed, suspect : arrays of bool, shape (...,)
    """
    return _classify_texts(codes, scheme.classify)


def _classify_texts(codes: Any, verdict: Callable[[str], str | None]) -> tuple[Mask, Mask]:
    number, texts = factorize_codes(codes)
    found = [*map(verdict, texts), None]
    return tuple(np.array([v == word for v in found])[number] for word in ("failed", "suspect"))  # type: ignore[return-value]

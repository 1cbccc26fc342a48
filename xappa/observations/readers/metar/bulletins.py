"""METAR and SPECI reports in the text of bulletins, apart from forecasts and whatever else stands between them.

A report begins with its station and time, and ends with "=", an empty line, another heading, or where the next begins.
What is left out is counted by reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from xappa.observations.readers.compressed import open_decompressed

FORECAST, NIL, OTHER = "forecast", "nil", "other"
"""Reasons why a piece of a bulletin is no report: TAF and the like, no observation was made, anything else."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]+|^[ \t]*NNNN[ \t]*$", re.MULTILINE)
# WMO abbreviated heading: TTAAii CCCC YYGGgg [BBB].
_HEADING = re.compile(
    r"^[ \t]*(?P<data>[A-Z]{2})[A-Z]{2}\d{0,2}[ \t]+[A-Z][A-Z0-9]{3}[ \t]+(?P<issued>\d{6})(?:[ \t]+[A-Z]{3})?"
    r"(?=\s|\Z)",
    re.MULTILINE,
)
_FIRST = r"(?:AUTO|COR|CC[A-Z]|RTD|AMD|NIL|CAVOK|(?:\d{3}|VRB|///)(?:P?\d\d|//)|\d{4}\b|\d{6}\s)"
_START = re.compile(
    r"\b(?P<kind>(?:(?:METAR|SPECI|TAF|TAFOR|COR|AMD|CC[A-Z]|RTD|AUTO)\s+){0,4})"
    r"(?P<station>(?!AUTO|NEXT|FROM|UNTL)[A-Z][A-Z0-9]{3})\s+"
    rf"(?:(?P<time>\d{{6}})(?P<zulu>\s?Z)?|(?P<odd>[\dO/]{{4,8}}Z))(?(zulu)|(?=\s|=|\Z))(?P<like>\s*{_FIRST})?"
)
# Archives put the full date before each report: 2019/07/01 12:50, 201907011250.
_DATE = r"(?:19|20)\d\d[-/]?(?:0[1-9]|1[0-2])[-/]?(?:0[1-9]|[12]\d|3[01])"
_STAMP = rf"(?P<stamp>{_DATE}[ T]?(?:[01]\d|2[0-3]):?[0-5]\d)\b"
_STAMPED = re.compile(rf"{_STAMP}\s*\Z")
_END = re.compile(rf"=|\n\s*\n|\n\s*{_STAMP}|\b(?:SIGMET|AIRMET|GAMET|AAXX|BBXX|UUA?\s*/OV)\b")
_KIND = re.compile(r"\b(METAR|SPECI|TAF|TAFOR)\b")
_KIND_ALONE = re.compile(r"^[ \t]*(METAR|SPECI|TAF|TAFOR)(?:[ \t]+(?:AMD|COR|\d{6}Z?))*[ \t]*$", re.MULTILINE)
_VALIDITY = re.compile(r"(?:(?:AMD|COR|NIL|CNL|AUTO)\s+){0,5}(?:\d{4}/\d{2,4}|\d{6})(?=\s|\Z)")
_NIL = re.compile(r"(?:(?:AUTO|COR|CC[A-Z]|RTD|RMK)\s+){0,5}NIL\b")
_CORRECTION = re.compile(r"\b(?:COR|CC([A-Z]))\b")
# Pages of the web that were saved as text.
_TAG = re.compile(r"</?[A-Z][A-Z0-9]*(?:\s[^<>]*)?/?>|&NBSP;")
_NOISE = re.compile(r"\S*|[\d\s/:.-]+|(?:METAR|SPECI)\s+\d{6}Z?")


@dataclass(frozen=True)
class MetarReport:
    """One report as it was sent.

    Parameters
    ----------
    station : str
        ICAO name.
    time : str
        Day of the month, hour and minute (``ddhhmm``), or what stands in their place.
    text : str
        Its groups after the time, on one line.
    issued : str
        Day, hour and minute of the heading of its bulletin, or the full date that stands before it (``yyyymmddhhmm``);
        empty if it has neither.
    correction : int
        0 for none, 1 for ``COR`` and ``CCA``, 2 for ``CCB``, and so on.
    """

    station: str
    time: str
    text: str
    issued: str
    correction: int


def read_bulletin_text(path: Path) -> str:
    """Text of a file, plain or packed, with line ends of one character.

    Raises
    ------
    ObservationError
        If it cannot be unpacked.
    """
    with open_decompressed(path) as file:
        data = file.read()
    text = data.decode("utf-8-sig", errors="replace")
    # Telecommunication ends lines with CR CR LF. Text mode takes that for a line and an empty one, and saves it so.
    text = re.sub(r"\r*\n\r*|\r+", "\n", text).upper()
    text = _TAG.sub(" \n", text)
    runs = Counter(map(len, re.findall(r"\n+", text)))
    if runs[2] > 0.7 * runs.total():
        text = re.sub(r"\n\n?", "\n", text)
    return text


def split_reports(text: str) -> tuple[list[MetarReport], dict[str, int]]:
    """Reports of a text of bulletins, in their order, and the number of other pieces by reason.

    Parameters
    ----------
    text : str
        From `read_bulletin_text`.

    Returns
    -------
    reports : list of MetarReport
    left_out : dict of str to int
        ``forecast`` (TAF), ``nil`` and ``other`` (SIGMET, SYNOP, pilots' reports, …).

    References
    ----------
    WMO-No. 306, volume I.1, FM 15, FM 16 and FM 51; WMO-No. 386, part II, attachment II-5 (headings).
    """
    reports: list[MetarReport] = []
    left_out: Counter[str] = Counter()
    for data, issued, body in _iterate_bulletins(text):
        kind, stamp = ("TAF" if data in ("FT", "FC") else ""), ""
        for piece in _iterate_pieces(body):
            if isinstance(piece, str):
                kind = (_KIND_ALONE.findall(piece) or [kind])[-1]
                stamped = _STAMPED.search(piece)
                stamp = re.sub(r"\D", "", stamped["stamp"]) if stamped else ""
                left_out.update(_explain_other_text(piece))
                continue
            start, groups = piece
            own = (_KIND.findall(start["kind"]) or [kind])[-1]
            forecast = own.startswith("TAF")
            kind = kind if forecast else own
            time = start["time"] or start["odd"].rstrip("Z")
            if forecast or _VALIDITY.match(groups):
                left_out[FORECAST] += 1
            elif _NIL.match(groups):
                left_out[NIL] += 1
            else:
                correction = _count_corrections(start["kind"], groups)
                reports.append(MetarReport(start["station"], time, groups, stamp or issued, correction))
    return reports, dict(left_out)


def _iterate_bulletins(text: str) -> Iterator[tuple[str, str, str]]:
    """Type of data (TT), time of issue and body of each bulletin; both empty without a heading."""
    for part in _CONTROLS.split(text):
        headings = list(_HEADING.finditer(part))
        ends = [*(heading.start() for heading in headings), len(part)]
        yield "", "", part[: ends[0]]
        for heading, end in zip(headings, ends[1:], strict=True):
            yield heading["data"], heading["issued"], part[heading.end() : end]


def _iterate_pieces(body: str) -> Iterator[str | tuple[re.Match[str], str]]:
    """Reports with their groups, and the text between them."""
    starts = [start for start in _START.finditer(body) if _is_start(start, body)]
    ends = [*(start.start() for start in starts), len(body)]
    done = 0
    for start, limit in zip(starts, ends[1:], strict=True):
        yield body[done : start.start()]
        begin = start.start("like") if start["like"] else start.end()
        found = _END.search(body, begin, limit)
        done = found.start() if found else limit
        yield start, " ".join(body[begin:done].split())
    yield body[done:]


def _is_start(start: re.Match[str], body: str) -> bool:
    """Whether a name and a time begin a report: after its kind, at the beginning of a line, or before a first group."""
    if _KIND.search(start["kind"]):
        return True
    before = _get_character_before(body, start.start())
    if start["odd"]:
        return False
    at_beginning = before in ("", "\n", "=")
    return (
        at_beginning if start["zulu"] and not start["like"] else bool(start["like"] and (at_beginning or start["zulu"]))
    )


def _get_character_before(body: str, position: int) -> str:
    """The last character before a position that is no blank; empty at the beginning."""
    while position and body[position - 1] in " \t":
        position -= 1
    return body[position - 1 : position] if position else ""


def _count_corrections(kind: str, groups: str) -> int:
    """Number of corrections of a report, by the words before its station or its first groups."""
    found = _CORRECTION.search(kind) or _CORRECTION.search(" ".join(groups.split()[:2]))
    return 0 if found is None else ord(found[1] or "A") - ord("A") + 1


def _explain_other_text(piece: str) -> Iterator[str]:
    """Reasons of the pieces of a text that are no reports."""
    for part in re.split(r"=|\n\s*\n", piece):
        lines = [line for line in part.split("\n") if not _NOISE.fullmatch(line.strip())]
        if lines:
            yield NIL if re.search(r"\bNIL\b", lines[0]) else OTHER

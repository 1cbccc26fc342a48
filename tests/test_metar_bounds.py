"""METAR is decoded in steps that grow with the length of the text, whatever is in it: counted, not timed."""

from __future__ import annotations

import re

import pytest

from tests.regex_steps import Counter
from xappa.observations.readers.metar import bulletins, decode, reader

SAMPLE = """SAUS31 KWBC 011200
METAR KJFK 011251Z COR 18012G20KT 10SM FEW250 25/18 A2992 RMK AO2 SLP132 T02500183 10261 P0003 60012=
SPECI EDDF 011220Z AUTO VRB02KT 9999 M01/M03 Q1013 NOSIG=
TAF EDDF 011100Z 0112/0218 24010KT CAVOK=
2019/07/01 12:50 EGLL 011250Z NIL=
NNNN
<p class="x">ENGM 011250Z 00000KT 1O/05 SLP5 123KTS</p>&nbsp;
"""
SEEDS = [
    *(
        " ",
        "\n",
        "\n ",
        "1",
        "A",
        "1A",
        "A1",
        ".1",
        "-1",
        "/",
        "1/",
        "<A",
        "<A ",
        "=",
        "KT ",
        "12345 ",
        "M",
        "Q1",
        "SLP ",
    ),
    *("METAR ", "METAR KJFK ", "COR ", "KJFK  ", "KJFK 011251", "KJFK 011251Z ", "NNNN ", "TAF\n", "NIL ", "AUTO "),
    *("2019/07/01 12:50 ", "011251Z", "SAUS31 KWBC 011200\n", "A\t", "\t ", "UUA ", "1KT1", "&NBSP", "RMK ", "\x00"),
]


def patterns() -> dict[str, re.Pattern[str]]:
    """All regular expressions of the modules that decode METAR."""
    modules = (reader, bulletins, decode)
    found = {f"{m.__name__}.{n}": v for m in modules for n, v in vars(m).items() if isinstance(v, re.Pattern)}
    return found | {f"garbled {'/'.join(names)}": v for names, v in decode._GARBLED.items()}


def growth(pattern: re.Pattern[str], seed: str, size: int = 100) -> float:
    """Steps for a text of twice the length, in those for the text; 2 if they are linear, 4 if they are quadratic."""
    steps = []
    for times in (size, 2 * size):
        counter = Counter(pattern)
        counter.finditer(seed * (times // len(seed)))
        steps.append(counter.steps)
    return steps[1] / steps[0]


@pytest.mark.parametrize("name", patterns())
def test_the_counter_finds_what_re_finds(name):
    pattern = patterns()[name]
    for text in (SAMPLE.upper(), SAMPLE.upper().replace("\n", " ")):
        for begin in range(0, len(text), 40):
            found = pattern.search(text, begin)
            assert Counter(pattern).search(text, begin) == (found.span() if found else None)


def test_the_counter_tells_quadratic_patterns_from_linear_ones():
    assert growth(re.compile(r"\S*\d\S*KT"), "1") > 3.5
    assert growth(re.compile(r"\s+\Z"), " A") < 2.1
    assert growth(re.compile(r"\s+A"), " ") > 3.5


@pytest.mark.parametrize("name", patterns())
def test_steps_are_linear_in_the_length_of_the_text(name):
    pattern = patterns()[name]
    grown = {seed: growth(pattern, seed) for seed in SEEDS}
    assert {seed: factor for seed, factor in grown.items() if factor > 2.5} == {}


class Sliced(str):
    """Text that counts the characters that are copied out of it."""

    copied = 0

    def __getitem__(self, key):
        part = super().__getitem__(key)
        Sliced.copied += len(part)
        return part


@pytest.mark.parametrize("piece", ["METAR EDDF 011220Z 18012KT 25/18 Q1013=\n", "EDDF 011220Z     ", " 011220Z EDDF"])
def test_what_is_copied_is_linear_in_the_length_of_the_text(piece):
    copied = []
    for times in (200, 400):
        Sliced.copied = 0
        list(bulletins._iterate_pieces(Sliced(piece * times)))
        copied.append(Sliced.copied)
    assert copied[1] <= 2.1 * copied[0]


def test_a_word_of_any_length_is_no_garbled_wind_unless_it_ends_as_one():
    report = bulletins.MetarReport("EDDF", "011220", "1" * 50000 + " 18O12KT 25/18 Q1013", "", 0)
    assert decode.decode_report(report).unread == {decode.WIND}

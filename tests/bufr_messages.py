"""BUFR messages for tests, encoded in a process of its own: ecCodes stays out of that of the tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

Message = dict[str, Any]

HEIGHT = "heightOfSensorAboveLocalGroundOrDeckOfMarinePlatform"
WATER = "heightOfSensorAboveWaterSurface"
DEPTH = "depthBelowWaterSurface"
MISSING = 2147483647

_ENCODE = """
import json, sys
import eccodes as ec

HEADER = dict(edition=4, masterTableNumber=0, bufrHeaderCentre=98, bufrHeaderSubCentre=0, updateSequenceNumber=0,
    dataSubCategory=0, masterTablesVersionNumber=37, localTablesVersionNumber=0, typicalYear=2018, typicalMonth=11,
    typicalDay=2, typicalHour=12, typicalMinute=0, typicalSecond=0, observedData=1)

def encoded(message):
    handle = ec.codes_bufr_new_from_samples("BUFR4")
    for key, value in (HEADER | message["header"]).items():
        ec.codes_set(handle, key, value)
    for kind, factors in message["factors"].items():
        ec.codes_set_array(handle, f"input{kind}elayedDescriptorReplicationFactor", factors)
    if message["bitmap"]:
        ec.codes_set_array(handle, "inputDataPresentIndicator", [0] * message["bitmap"])
    ec.codes_set_array(handle, "unexpandedDescriptors", message["descriptors"])
    for key, value in message["values"].items():
        if isinstance(value, list):
            setter = ec.codes_set_string_array if isinstance(value[0], str) else ec.codes_set_array
            setter(handle, key, value)
        else:
            ec.codes_set(handle, key, value)
    ec.codes_set(handle, "pack", 1)
    return ec.codes_get_message(handle)

with open(sys.argv[1], "wb") as file:
    for message in json.load(sys.stdin):
        file.write(encoded(message))
"""


def message(
    descriptors: list[int], values: Message, *, category: int = 0, sub: int = 255, subsets: int = 1,
    compressed: bool = False, bitmap: int = 0, **factors: list[int],
) -> Message:  # fmt: skip
    """A message; `factors` are those of delayed replications (``D``, ``ShortD``, ``ExtendedD``).

    `bitmap` is the number of elements that quality information belongs to.
    """
    header = {"dataCategory": category, "internationalDataSubCategory": sub, "numberOfSubsets": subsets}
    header["compressedData"] = int(compressed)
    return {"header": header, "descriptors": descriptors, "values": values, "factors": factors, "bitmap": bitmap}


def write(path: Path, *messages: Message) -> Path:
    """Write a file of messages."""
    text = json.dumps(messages)
    subprocess.run([sys.executable, "-c", _ENCODE, str(path)], input=text, text=True, check=True, capture_output=True)
    return path


STATION = [301004, 301011, 301012, 301021, 7030]
"""Identification, date, time, place and height of a station on land."""


def station(number: int = 433, **values: Any) -> Message:
    """Values of `STATION`: 10433 on 2018-11-02 at 12:00, at 52.4 N 13.4 E."""
    when = {"#1#year": 2018, "#1#month": 11, "#1#day": 2, "#1#hour": 12, "#1#minute": 0}
    place = {"latitude": 52.4, "longitude": 13.4, "heightOfStationGroundAboveMeanSeaLevel": 48.0}
    return when | place | {"blockNumber": 10, "stationNumber": number} | values

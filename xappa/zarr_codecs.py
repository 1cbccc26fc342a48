"""Codecs that Zarr metadata ask for: those that turn bytes into numbers and text, and nothing that runs code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xappa.errors import XappaError

SAFE = frozenset(
    [
        "bytes",
        "endian",
        "transpose",
        "sharding_indexed",
        "crc32c",
        "vlen-utf8",
        "vlen-bytes",
        "vlen-array",
        "blosc",
        "zstd",
        "zlib",
        "gzip",
        "bz2",
        "lzma",
        "lz4",
        "pcodec",
        "zfpy",
        "shuffle",
        "delta",
        "fixedscaleoffset",
        "quantize",
        "bitround",
        "astype",
        "packbits",
        "categorize",
        "json2",
        "msgpack2",
        "base64",
        "crc32",
        "adler32",
        "fletcher32",
        "jenkins_lookup3",
    ]
)
"""Codecs of Zarr and numcodecs whose decoding runs no code from the data."""

_METADATA = (".zarray", "zarr.json", ".zmetadata")


def require_safe_codecs(store: Path, error: type[XappaError]) -> None:
    """Refuse a Zarr folder that asks for a codec which may run code, before any chunk is read.

    Parameters
    ----------
    store : Path
        Folder of format 2 or 3, or a file (which is not looked at).
    error : type
        Kind of error to raise.

    Raises
    ------
    XappaError
        Of the kind `error`: with the codec and the array, or with a file of metadata that is no JSON.
    """
    for file in _list_metadata_files(store):
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except (ValueError, RecursionError, OSError) as raised:
            raise error(f"{file} cannot be read as Zarr metadata: {raised}. Copy or write the store again.") from raised
        unsafe = sorted({name for name in _list_codecs(found) if name.removeprefix("numcodecs.") not in SAFE})
        if unsafe:
            raise error(
                f"{file} asks for the codec {', '.join(map(repr, unsafe))}, which is refused: decoding may run code "
                f"from the data. Expected {', '.join(sorted(SAFE))}. Ask whom you have the store from to write it with "
                "one of these (Zarr's default is Zstandard)."
            )


def _list_metadata_files(store: Path) -> Iterator[Path]:
    if store.is_dir():
        for name in _METADATA:
            yield from sorted(store.rglob(name))


def _list_codecs(value: Any, inside: bool = False) -> Iterator[str]:
    """Names of codecs anywhere in metadata: entries of `compressor`, `filters` and `codecs`, nested ones too."""
    if isinstance(value, list):
        for item in value:
            yield from _list_codecs(item, inside)
    elif isinstance(value, dict):
        if inside and (name := value.get("id", value.get("name"))) is not None:
            yield str(name)
        for key, item in value.items():
            if key != "attributes" and not key.endswith(".zattrs"):
                yield from _list_codecs(
                    item, inside=key in ("compressor", "compressors", "filters", "codecs", "index_codecs")
                )
    elif inside and isinstance(value, str):
        yield value

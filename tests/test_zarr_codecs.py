"""Stores that ask for codecs which may run code are refused, by the metadata alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from xappa.errors import ModelError, ObservationError
from xappa.model.appa.statistics import read_levels
from xappa.zarr_codecs import require_safe_codecs


@pytest.fixture(params=[2, 3])
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A store with numbers and texts, as xarray writes it."""
    texts = np.array(list("abcd"), object)
    ds = xr.Dataset({"number": ("x", np.arange(4.0)), "text": ("x", texts)}, attrs={"filters": [{"id": "pickle"}]})
    ds.to_zarr(tmp_path / "store", zarr_format=request.param)
    return tmp_path / "store"


def test_what_xarray_writes_is_taken(store: Path) -> None:
    require_safe_codecs(store, ObservationError)


def edit(store: Path, codec: str) -> None:
    """Ask for a codec where the format has them."""
    old = store / "text" / ".zarray"
    file = old if old.exists() else store / "text" / "zarr.json"
    metadata = json.loads(file.read_text())
    if old.exists():
        metadata["filters"] = [{"id": codec, "protocol": 5}]
    else:
        inner = [{"name": "bytes"}, {"name": codec, "configuration": {}}]
        metadata["codecs"] = [{"name": "sharding_indexed", "configuration": {"chunk_shape": [2], "codecs": inner}}]
    file.write_text(json.dumps(metadata))


@pytest.mark.parametrize("codec", ["pickle", "numcodecs.pickle", "run_this"])
def test_others_are_refused_by_name(store: Path, codec: str) -> None:
    edit(store, codec)
    with pytest.raises(ObservationError, match=f"text.*asks for the codec '{codec}'.*run code"):
        require_safe_codecs(store, ObservationError)


def test_statistics_of_a_model_too(store: Path) -> None:
    edit(store, "pickle")
    with pytest.raises(ModelError, match="codec 'pickle'"):
        read_levels(store)


@pytest.mark.parametrize("text", ["{", "", "[" * 100_000])
def test_metadata_that_are_no_json_are_refused(store: Path, text: str) -> None:
    file = next(f for name in (".zarray", "zarr.json") for f in store.glob(f"text/{name}"))
    file.write_text(text)
    with pytest.raises(ObservationError, match="text.*cannot be read as Zarr metadata"):
        require_safe_codecs(store, ObservationError)

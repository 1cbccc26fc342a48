"""Model directories: what is not as it should be is refused before anything is built (see also tests.bad_inputs)."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import xappa
from tests.bad_inputs.models import put_nan
from xappa.cli import main
from xappa.errors import IntegrityError, ModelError, XappaError
from xappa.model.directory import sign_model
from xappa.model.schema import LARGEST, from_json
from xappa.model.state import StateSpec

SOURCE = Path(xappa.__file__).parent / "data" / "speedy"
GOOD = json.loads((SOURCE / "model.json").read_text())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The embedded model, its tensors as links."""
    for file in SOURCE.iterdir():
        if file.name != "model.json":
            os.symlink(file, tmp_path / file.name)
    (tmp_path / "model.json").write_text(json.dumps(GOOD))
    return tmp_path


def load(folder: Path, record: Any) -> None:
    text = record if isinstance(record, str) else json.dumps(record)
    (folder / "model.json").write_text(text)
    xappa.load(folder, device="cpu")


def test_a_right_one_is_taken(folder: Path) -> None:
    load(folder, GOOD)


@pytest.mark.parametrize("file", ["autoencoder.safetensors", "denoiser.safetensors", "statistics.safetensors"])
def test_a_file_without_a_hash_is_not_read(folder: Path, file: str) -> None:
    record = {**GOOD, "files": {name: digest for name, digest in GOOD["files"].items() if name != file}}
    with pytest.raises(IntegrityError, match=f"no hash of {file}.*xappa models hash"):
        load(folder, record)


@pytest.mark.parametrize("instead", [Path.mkdir, os.mkfifo, lambda path: None], ids=["folder", "pipe", "nothing"])
def test_only_regular_files_are_read(folder: Path, instead: Callable[[Path], None]) -> None:
    (folder / "denoiser.safetensors").unlink()
    instead(folder / "denoiser.safetensors")
    with pytest.raises(IntegrityError, match="no such file|something else than a file"):
        load(folder, GOOD)


def test_a_model_of_ones_own_is_signed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    statistics = load_file(SOURCE / "statistics.safetensors")
    (folder / "statistics.safetensors").unlink()
    save_file({**statistics, "scale": statistics["scale"] * 2}, folder / "statistics.safetensors")
    with pytest.raises(IntegrityError, match="statistics.safetensors: expected"):
        load(folder, GOOD)
    assert main(["models", "hash", str(folder)]) == 0
    assert "statistics.safetensors" in capsys.readouterr().out
    assert xappa.load(folder, device="cpu").digest != xappa.load("speedy", device="cpu").digest


def test_only_model_directories_are_signed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "hash", str(tmp_path)]) == 2
    assert "no model.json" in capsys.readouterr().err


@pytest.mark.parametrize("file", ["autoencoder", "denoiser", "statistics", "tangent"])
def test_numbers_that_are_not_finite_are_refused(folder: Path, file: str) -> None:
    name = put_nan(folder, file)
    with pytest.raises(ModelError, match=f"not finite in .*{name}"):
        xappa.load(folder, device="cpu")


def test_tensors_that_are_none_are_refused(folder: Path) -> None:
    (folder / "denoiser.safetensors").unlink()
    (folder / "denoiser.safetensors").write_bytes(b"\xff" * 100)
    sign_model(folder)
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        xappa.load(folder, device="cpu")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([name for name in GOOD["state"]]), JSON)
def test_any_value_makes_a_state_or_a_refusal(name: str, value: Any) -> None:
    try:
        state = from_json(StateSpec, {**GOOD["state"], name: value}, "state")
        state.require_sensible()
    except XappaError:
        return
    assert 0 < state.step_hours <= 24 and 0 < state.window < LARGEST and len(state.channels) == state.shape[0]

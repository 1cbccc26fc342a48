"""Model directories whose ``model.json`` or files are not as they should be are refused, before anything is built."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

import xappa
from xappa.cli import main
from xappa.errors import IntegrityError, ModelError, XappaError
from xappa.models.directory import sign_model
from xappa.models.schema import LARGEST, from_json
from xappa.models.state import StateSpec

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


def changed(*path: str | int, to: Any) -> dict[str, Any]:
    """The record with one entry changed."""
    record = json.loads(json.dumps(GOOD))
    place = record
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return record


def load(folder: Path, record: Any) -> None:
    text = record if isinstance(record, str) else json.dumps(record)
    (folder / "model.json").write_text(text)
    xappa.load(folder, device="cpu")


WRONG: dict[str, tuple[Any, str]] = {
    "nothing": ("", "cannot be read as JSON"),
    "cut short": (json.dumps(GOOD)[:5000], "cannot be read as JSON"),
    "nested without end": ("[" * 100_000, "cannot be read as JSON"),
    "a list": ("[]", "holds a list"),
    "another format": (changed("format", to=2), "has format 2"),
    "no name": ({k: v for k, v in GOOD.items() if k != "name"}, "name is missing"),
    "files that are null": (changed("files", to=None), "files is of the type NoneType"),
    "a hash that is none": (changed("files", "denoiser.safetensors", to="abc"), "expected a sha256"),
    "an absolute path": (changed("files", "/etc/hostname", to="0" * 64), "leads out of the directory"),
    "a path upwards": (changed("files", "../denoiser.safetensors", to="0" * 64), "leads out of the directory"),
    "a path of another system": (changed("files", "c:\\weights", to="0" * 64), "leads out of the directory"),
    "a number for the state": (changed("state", to=5), "state is of the type int"),
    "a channel that is a number": (changed("state", "channels", 0, to=5), r"state.channels\[0\] is 5"),
    "a channel that comes twice": (changed("state", "channels", 1, to=["2m_temperature", None]), "named twice"),
    "a level in Pa": (changed("state", "channels", 7, to=["temperature", 20000]), r"levels \[20000\]"),
    "a step that is no part of a day": (changed("state", "step_hours", to=7), "step_hours is 7"),
    "a negative step": (changed("state", "step_hours", to=-6), "step_hours is -6"),
    "a step that is a truth value": (changed("state", "step_hours", to=True), "step_hours is True"),
    "no window": (changed("state", "window", to=0), "window is 0"),
    "an endless window": (changed("state", "window", to=10**9), "window is 1000000000"),
    "a latitude that is text": (changed("state", "latitude", 3, to="north"), r"latitude\[3\] is 'north'"),
    "a latitude beyond the pole": (changed("state", "latitude", 0, to=-91.0), "latitude is not"),
    "a longitude that is not finite": (json.dumps(changed("state", "longitude", 0, to=float("nan"))), "finite"),
    "other units": (changed("units", "2m_temperature", to="degC"), "2m_temperature in degC"),
    "a spelling": (changed("autoencoder", "hid_chanels", to=1), "did you mean 'hid_channels'"),
    "another grid of the autoencoder": (changed("autoencoder", "shape", to=[24, 48]), "state has"),
    "a tower of blocks": (changed("autoencoder", "hid_blocks", to=[2, 10**7]), "hid_blocks 10000000"),
    "widths that the file has not": (changed("autoencoder", "hid_channels", to=[80, 1 << 22]), "does not fit"),
    "another tower of blocks": (changed("denoiser", "residual", "blocks", to=10**6), "blocks is 1000000"),
    "patterns that the file has not": (changed("denoiser", "patterns", to=1 << 20), "does not fit"),
    "another window of the denoiser": (changed("denoiser", "residual", "window", to=9), "residual takes"),
    "an unknown kind of denoiser": (changed("denoiser", "kind", to="oracle"), "Unknown kind of denoiser 'oracle'"),
    "a denoiser of another type": (changed("denoiser", "kind", to=["transformer"]), "Unknown kind of denoiser"),
    "an unknown schedule": (changed("schedule", "kind", to="stairs"), "schedule 'stairs'"),
    "noise levels in the wrong order": (changed("schedule", "sigma_min", to=2000.0), "sigma_min"),
    "an unknown normalisation": (changed("normalisation", to="none"), "normalisation 'none'"),
    "unknown latents": (changed("latents", to="none"), "latents 'none'"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_record_is_refused_with_file_and_entry(folder: Path, what: str) -> None:
    record, said = WRONG[what]
    with pytest.raises(ModelError, match=said) as raised:
        load(folder, record)
    assert str(folder) in str(raised.value)


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
    path = folder / f"{file}.safetensors"
    arrays = load_file(path)
    name = max(arrays, key=lambda key: arrays[key].size if arrays[key].dtype.kind == "f" else 0)
    arrays[name].flat[-1] = np.nan
    path.unlink()
    save_file(arrays, path)
    sign_model(folder)
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
    except XappaError:
        return
    assert 0 < state.step_hours <= 24 and 0 < state.window < LARGEST and len(state.channels) == state.shape[0]

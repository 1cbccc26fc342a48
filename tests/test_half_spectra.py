"""Priors on disk: the outer wavenumbers, which are real, share a place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from xappa.model.directory import read_model, sha256
from xappa.model.half_spectra import COUNT, NAMES, pack_spectra, unpack_spectra


def tensors(real: bool) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    found = {name: torch.randn(5, 3, 2, 2) for name in NAMES}
    if real:
        for value in found.values():
            value[[0, -1], ..., 1] = 0
    return {**found, COUNT: torch.rand(5, 3), "residual.weight": torch.randn(4, 3)}


def test_what_is_unpacked_is_what_was_packed() -> None:
    before = tensors(real=True)
    small = pack_spectra(before)
    assert all(len(small[name]) == 4 for name in NAMES)
    again = unpack_spectra(small)
    assert again.keys() == before.keys()
    assert all(torch.equal(again[name], before[name]) for name in before)


def test_wavenumbers_that_are_not_real_stay_as_they_are() -> None:
    before = tensors(real=False)
    for after in (pack_spectra(before), unpack_spectra(pack_spectra(before))):
        assert all(torch.equal(after[name], before[name]) for name in before)


def test_other_networks_stay_as_they_are() -> None:
    before = {"backbone.weight": torch.randn(3, 2)}
    assert pack_spectra(before) == before == unpack_spectra(before)


def test_directories_are_packed_and_those_of_before_still_read(tiny_work: Path, tmp_path: Path) -> None:
    model = tiny_work / "model"
    found = load_file(model / "denoiser.safetensors")
    count = len(found[COUNT])
    assert all(len(found[name]) == count - 1 for name in NAMES)
    for file in model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file({k: v.contiguous() for k, v in unpack_spectra(found).items()}, tmp_path / "denoiser.safetensors")
    text = (tmp_path / "model.json").read_text()
    before, after = sha256(model / "denoiser.safetensors"), sha256(tmp_path / "denoiser.safetensors")
    assert before != after
    (tmp_path / "model.json").write_text(text.replace(before, after))
    new, old = (read_model(folder).denoiser.state_dict() for folder in (model, tmp_path))
    assert new.keys() == old.keys() and all(torch.equal(new[name], old[name]) for name in new)


@pytest.mark.parametrize("name", NAMES)
def test_the_embedded_prior_is_packed_without_loss(name: str) -> None:
    import xappa

    value = xappa.load("speedy").denoiser.state_dict()[name]
    assert not value[0, ..., 1].any() and not value[-1, ..., 1].any() and value[1, ..., 1].any()

"""Places, dates and conditions of the transformer are computed once a run, and change no bit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

import xappa
from tests.official_project import Project
from tests.toy import TIMES, seeded, toy_model
from xappa.diffusion.samplers import LMS
from xappa.model.networks import transformer as transformer_module
from xappa.model.networks.blocks import Block
from xappa.model.networks.transformer import Transformer, TransformerSpec
from xappa.model.window_denoiser import WindowDenoiser

_seed = pytest.fixture(autouse=True)(seeded)
toy = pytest.fixture(toy_model)


def test_prepared_conditions_change_no_bit():
    date = torch.tensor([[2021, 3, 1, hour] for hour in range(4)])
    for window in (None, (1, 3, 3)):
        spec = TransformerSpec(3, 4, (3, 4), 16, 3, 2, mod_features=8, patch_size=(2, 1, 1), window_size=window)
        network = Transformer(spec).requires_grad_(False)
        x = torch.randn(2, 4, 3, 4, 3)
        expected = network(x, torch.tensor(0.3), date)
        assert torch.equal(network(x, torch.tensor(0.3), network.prepare(date)), expected)
        assert torch.equal(network(x, torch.tensor(0.3), network.prepare(date, network.compute_shared())), expected)
        both = network.prepare(date.expand(2, -1, -1))
        torch.testing.assert_close(network(x, torch.tensor(0.3), both), expected)


def test_places_and_dates_are_computed_once_a_run(monkeypatch, toy):
    calls = {"positions": 0, "rotation": 0, "date_codes": 0}

    def counted(name, function):
        def count(*arguments):
            calls[name] += 1
            return function(*arguments)

        return count

    monkeypatch.setattr(Transformer, "embed_positions", counted("positions", Transformer.embed_positions))
    monkeypatch.setattr(Block, "make_rotation", counted("rotation", Block.make_rotation))
    monkeypatch.setattr(transformer_module, "date_codes", counted("date_codes", transformer_module.date_codes))
    evaluations = WindowDenoiser(toy)
    windows = [TIMES[:4], TIMES[2:6]]
    x = torch.randn(1, 4, *toy.latent_shape)
    for _ in range(3):
        LMS(steps=5)(evaluations.make_denoiser(windows[0]), 1e3 * x, lambda k: torch.zeros_like(x), toy.schedule)
        evaluations.make_denoiser(windows[1])(x, torch.tensor(1.0))
    assert calls == {"positions": 1, "rotation": 2, "date_codes": 2}
    plain = toy.denoiser(x, torch.tensor(1.0), torch.tensor([[2021, 3, 1, hour] for hour in range(2, 6)]))
    assert torch.equal(evaluations.make_denoiser(windows[1])(x, torch.tensor(1.0)), plain)


def test_an_analysis_computes_them_once(monkeypatch, tmp_path):
    Project().write(tmp_path / "run")
    calls = []
    monkeypatch.setattr(
        Transformer, "compute_shared", lambda self, real=Transformer.compute_shared: calls.append(1) or real(self)
    )
    ds = xappa.template("2021-03-13T00", "2021-03-13T07", model=tmp_path / "run")  # three windows of four times
    reports = pd.DataFrame(
        {"time": [pd.Timestamp("2021-03-13T01")], "lat": [12.0], "lon": [3.0], "variable": "2m_temperature",
         "observation": [288.0]}
    )  # fmt: skip
    analysis = ds.appa.assimilate(
        reports, error={"2m_temperature": 1.0}, model=tmp_path / "run", steps=3, seed=0, quality="none"
    )
    assert np.isfinite(analysis["2m_temperature"].values).all()
    assert calls == [1]

"""A function of a Dataset as operator of an analysis, from the reports to the result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from xappa.operators import Footprint, StateContext, choose_operator


def tiny_speed(state: xr.Dataset) -> xr.DataArray:
    """A speed that is not linear in the tiny model's one wind component."""
    return (state["u_component_of_wind"].isel(level=-1, drop=True) ** 2 + 1) ** 0.5


class TestAssimilate:
    """A function through the whole way, on the tiny model."""

    def run(self, tiny_model: Any, obs: Any, operator: Any, **options: Any) -> xr.Dataset:
        import xappa

        ds = xappa.template("2001-03-13T00", "2001-03-13T18", model=tiny_model)
        return ds.appa.assimilate(obs, operator, model=tiny_model, seed=0, steps=8, **options)

    def obs(self, model: Any, speed: float = 9.0) -> xr.Dataset:
        from xappa.observations.schema import build_observations

        size = 12
        coords = {
            "time": np.datetime64("2001-03-13T00", "s") + 6 * np.arange(size) % 24 * np.timedelta64(3600, "s"),
            "latitude": np.linspace(-60, 60, size),
            "longitude": np.linspace(0, 330, size),
        }
        return build_observations(coords, {"10m_wind_speed": np.full(size, speed)})

    def test_the_state_is_drawn_to_the_reports(self, tiny_model: Any) -> None:
        seen = {}
        for speed in (2.0, 30.0):
            obs = self.obs(tiny_model, speed)
            analysis = self.run(tiny_model, obs, tiny_speed, error={"10m_wind_speed": 0.5}, members=2)
            assert analysis.attrs["xappa_operator"] == "tiny_speed"
            found = analysis.compute().appa.observe(obs, operator=tiny_speed)["10m_wind_speed"]
            seen[speed] = float(found.mean())
        assert seen[30.0] > seen[2.0] + 1

    @pytest.mark.parametrize("guidance", ["mmps", "sda", "w2c"])
    def test_every_guidance_takes_functions(self, tiny_model: Any, guidance: str) -> None:
        analysis = self.run(
            tiny_model, self.obs(tiny_model), tiny_speed, error={"10m_wind_speed": 2.0}, guidance=guidance
        )
        assert np.isfinite(analysis["2m_temperature"].isel(time=0)).all()

    def test_tokens_follow_the_function(self, tiny_model: Any) -> None:
        def other(state: xr.Dataset) -> xr.DataArray:
            return 1.1 * tiny_speed(state)

        options = {"error": {"10m_wind_speed": 2.0}}
        obs = self.obs(tiny_model)
        runs = [self.run(tiny_model, obs, f, **options).attrs["xappa_run"] for f in (tiny_speed, tiny_speed, other)]
        assert runs[0] == runs[1] != runs[2]

    def test_by_source(self, tiny_model: Any) -> None:
        import pandas as pd

        import xappa

        table = pd.DataFrame({"time": pd.to_datetime(["2001-03-13T06"]), "lat": [10.0], "lon": [20.0], "t2m": [290.0]})
        both = {"scat": self.obs(tiny_model), "synop": table}
        operator = {"scat": Footprint(radius=25.0) @ tiny_speed, "synop": "nearest"}
        analysis = self.run(tiny_model, both, operator, error={"10m_wind_speed": 2.0, "2m_temperature": 1.0})
        counts = xappa.diagnostics(analysis)["reports"].sel(status="good")
        assert int(counts.sel(variable="10m_wind_speed")) == 12 and int(counts.sel(variable="2m_temperature")) == 1

    def test_the_linear_map_is_taken_around_the_estimate(self, tiny_model: Any) -> None:
        from xappa.model.registry import load
        from xappa.sampling.sampling_tasks import observe_latents

        model = load(tiny_model)
        times = np.datetime64("2001-03-13T00", "s") + np.arange(model.spec.window) * model.spec.step
        obs = self.obs(tiny_model).assign({"10m_wind_speed_error": ("obs", np.ones(12))})
        rows, _ = choose_operator(tiny_speed)(obs, StateContext(model.spec, times, mask=model.mask))
        observation = observe_latents(model, rows, times)
        assert observation.tangent is None and observation.linearise is not None
        latents = torch.randn(2, model.spec.window, *model.latent_shape, generator=torch.Generator().manual_seed(0))
        (a, value), (b, _) = observation.linearise(latents), observation.linearise(-latents)
        torch.testing.assert_close(value, observation.operator(latents))
        v = torch.randn_like(latents)
        u = torch.randn_like(value)
        assert not torch.allclose(a.forward(v), b.forward(v))
        torch.testing.assert_close((a.forward(v) * u).sum(), (v * a.adjoint(u)).sum(), rtol=1e-3, atol=1e-3)
        whitened = observation.whiten()
        torch.testing.assert_close(whitened.linearise(latents)[0].forward(v), a.forward(v))

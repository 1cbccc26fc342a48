"""The recipe of a model: one dataclass, read from one TOML file."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from xappa.errors import OptionError, translate_read_errors
from xappa.model.state import StateSpec
from xappa.training.toml_values import build_dataclass


@dataclass(frozen=True)
class SimulationRun:
    """One continuous simulation.

    Parameters
    ----------
    name : str
        Name of its folder.
    start, end : str
        First day of the record, and the day it reaches.
    origin : str
        Day on which the simulator's clock began (default: `start` less the spin-up). A run that starts
        from a restart state names the origin of the run that wrote it.
    keep_restarts : tuple of str
        Days whose restart states are kept beside the first and last.
    """

    name: str
    start: str
    end: str
    origin: str = ""
    keep_restarts: tuple[str, ...] = ()


@dataclass(frozen=True)
class SimulationConfig:
    """Settings of the nature run; times in the unit of the name, pressure in Pa, levels in hPa."""

    runs: tuple[SimulationRun, ...] = ()
    spinup_days: int = 122
    chunk_days: int = 10
    save_hours: int = 6
    step_minutes: float = 30.0
    mean_surface_pressure: float = 98350.0
    diffusion_order: int = 4
    diffusion_hours: float = 2.4
    sst_anomaly_limit: float = 5.0
    keepbits: int = 9
    levels: tuple[int, ...] = (100, 200, 300, 500, 700, 850, 925)


@dataclass(frozen=True)
class StateConfig:
    """Variables and levels of the model's state.

    Parameters
    ----------
    surface : tuple of str
        Variables of the surface.
    upper_air : tuple of (str, levels in hPa)
    masked : tuple of str
        Variables that are missing over land.
    daily : tuple of (str, level or 0)
        Channels whose climatology has a daily cycle (0: at the surface).
    weight : tuple of (str, float)
        Factors on standardised anomalies of variables that would otherwise rule the loss.
    """

    surface: tuple[str, ...] = ()
    upper_air: tuple[tuple[str, tuple[int, ...]], ...] = ()
    masked: tuple[str, ...] = ()
    daily: tuple[tuple[str, int], ...] = ()
    weight: tuple[tuple[str, float], ...] = ()

    def list_daily_channels(self, spec: StateSpec) -> list[tuple[str, int | None]]:
        """Channels with a daily cycle."""
        return [(name, level or None) for name, level in self.daily if (name, level or None) in spec.channels]


@dataclass(frozen=True)
class Splits:
    """Periods, each (after this day, up to this day). What lies in none is a gap.

    Climatology and deviations come from the periods of `climatology`, which are those of `train` unless given.
    `correction` names runs that nothing but the last steps sees, whatever their years. The last correction
    (`SeasonalDiurnalConfig`) is fitted to the error of a trained denoiser on them, and the decoder is fine-tuned on
    analyses of them (`AnalysisSampling`). Without it, both take `train`.
    """

    train: tuple[tuple[str, str], ...] = ()
    validation: tuple[tuple[str, str], ...] = ()
    test: tuple[tuple[str, str], ...] = ()
    climatology: tuple[tuple[str, str], ...] = ()
    correction: tuple[str, ...] = ()


@dataclass(frozen=True)
class Optimisation:
    """Training of a network: `steps` of `batch` examples, learning rate with warm-up and cosine decay.

    At each of `restarts`, steps in ascending order above 0 and below `steps`, warm-up and cosine have come to their end
    and begin anew.
    """

    steps: int = 2000
    restarts: tuple[int, ...] = ()
    batch: int = 8
    rate: float = 1e-3
    warmup: int = 100
    decay: float = 0.0
    average: float = 0.99
    checkpoint: int = 200
    bfloat16: bool = True

    def __post_init__(self) -> None:
        """Check the restarts.

        Raises
        ------
        OptionError
            If they are no ascending steps of the training.
        """
        if self.restarts and any(after <= before for before, after in pairwise((0, *self.restarts, self.steps))):
            raise OptionError(
                f"restarts={list(self.restarts)}, steps={self.steps}: expected restarts in ascending order, all above "
                "0 and below steps. Sort them, leave out those beyond, or give more steps"
            )


@dataclass(frozen=True)
class AutoencoderConfig:
    """Size and training of the autoencoder: `training`, then `decoder` alone, then both (`joint`).

    Then `local_scale`: the decoder alone again, with a scale and a shift for each grid cell. After `training`,
    errors count by each channel's deviation; `emphasis` (variable, factor) makes squared errors of some variables count
    more from `joint` on. When all else is trained, `finetune`: the decoder once more, on `batch` encoded
    states and as many states of analyses (`AnalysisSampling`).
    """

    latent_channels: int = 48
    factor: int = 4
    hidden: tuple[int, ...] = (96, 192)
    blocks: tuple[int, ...] = (2, 2)
    bound: float = 5.0
    linear_rate: float = 0.03
    training: Optimisation = field(default_factory=Optimisation)
    decoder: Optimisation = field(default_factory=lambda: Optimisation(steps=0))
    joint: Optimisation = field(default_factory=lambda: Optimisation(steps=0))
    local_scale: Optimisation = field(default_factory=lambda: Optimisation(steps=0))
    finetune: Optimisation = field(default_factory=lambda: Optimisation(steps=0))
    emphasis: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class PriorConfig:
    """Size of the Gaussian prior: patterns a zonal wavenumber, of which `joint` have a joint covariance in time."""

    patterns: int = 256
    joint: int = 40
    calibration_bins: int = 20


@dataclass(frozen=True)
class LocalCorrectionConfig:
    """A correction of the Gaussian at every place.

    Parameters
    ----------
    rank : int
        Matrices that all places share.
    modes : int
        Cosines in time, from the slowest, that are corrected; 0: all.
    neighbours : bool
        Whether a place is corrected by its four neighbours too.
    ridge : float
        Of the mean power of the estimates.
    every : int
        One window of so many is used.
    """

    rank: int = 96
    modes: int = 0
    neighbours: bool = False
    ridge: float = 0.1
    every: int = 2


@dataclass(frozen=True)
class DenoiserConfig:
    """Size and training of the residual network over windows of `window` times; learning rate of the fitted factors."""

    window: int = 8
    hidden: int = 224
    blocks: int = 5
    local_rate: float = 0.1
    sigma_min: float = 1e-3
    sigma_max: float = 1e3
    training: Optimisation = field(default_factory=Optimisation)


@dataclass(frozen=True)
class SeasonalDiurnalConfig:
    """The seasonal and diurnal correction: linear, different in each grid cell.

    Parameters
    ----------
    rank : int
        Patterns that all places share; 0: no such correction.
    emphasis : tuple of (str, float)
        Factors on squared errors of variables of the state.
    ridge : float
        Of the mean power of the regressors, once they are made independent of each other.
    pooling : float
        What the windows of each of the four neighbours of a place count, beside its own: little is known of one place.
    every : int
        One window of so many is used.
    steps : int
        Steps of the descent.
    """

    rank: int = 0
    emphasis: tuple[tuple[str, float], ...] = ()
    ridge: float = 0.3
    pooling: float = 0.1
    every: int = 1
    steps: int = 300


@dataclass(frozen=True)
class AnalysisSampling:
    """Analyses with random observing networks, on which the decoder is fine-tuned.

    Parameters
    ----------
    count : int
        Of analyses; 0: none.
    scattered : float
        Share of the networks whose values lie anywhere; the others are of columns.
    share : (float, float)
        Least and largest share of all values of a window that such a network reports.
    columns : (float, float)
        Least and largest share of all columns that the others report.
    observed : float
        Share of the channels that columns report.
    error : (float, float)
        Least and largest error deviation, in each channel's deviation.
    """

    count: int = 0
    scattered: float = 0.6
    share: tuple[float, float] = (0.004, 0.025)
    columns: tuple[float, float] = (0.022, 0.13)
    observed: float = 0.8
    error: tuple[float, float] = (0.05, 0.3)

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises
        ------
        OptionError
            If shares are not between 0 and 1, or the least of something exceeds the largest.
        """
        for name in ("share", "columns", "error"):
            least, largest = getattr(self, name)
            if not 0 < least <= largest or (name != "error" and largest > 1):
                expected = "two positive numbers" if name == "error" else "two shares, above 0 and up to 1"
                raise OptionError(f"{name}={[least, largest]}: expected {expected}, the least first")
        for name in ("scattered", "observed"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name}={getattr(self, name)}: expected a share between 0 and 1")


@dataclass(frozen=True)
class DecoderCorrectionConfig:
    """A local linear correction of the decoder's residual in some channels, from the neighbouring latents.

    Parameters
    ----------
    channels : tuple of (str, int)
        Variable and level (hPa; 0 at the surface).
    rank : int
        Patterns that all places share; 0: nothing is added.
    analysis_weight : float
        Weight of a state of an analysis (`AnalysisSampling`); an encoded state has weight one.
    ridge : float
        Of the mean power of the regressors, once they are made independent of each other.
    steps : int
        Steps of the descent.
    """

    channels: tuple[tuple[str, int], ...] = ()
    rank: int = 0
    analysis_weight: float = 1.0
    ridge: float = 0.1
    steps: int = 300

    def find_channels(self, spec: StateSpec) -> tuple[int, ...]:
        """Indices of the channels in a state."""
        return tuple(spec.index(name, level or None) for name, level in self.channels)


@dataclass(frozen=True)
class Recipe:
    """Everything that makes a model, from simulation to package."""

    name: str = "speedy"
    seed: int = 0
    simulation: SimulationConfig = field(default_factory=SimulationConfig)
    state: StateConfig = field(default_factory=StateConfig)
    splits: Splits = field(default_factory=Splits)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    prior: PriorConfig = field(default_factory=PriorConfig)
    local: tuple[LocalCorrectionConfig, ...] = (LocalCorrectionConfig(),)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    seasonal_diurnal_correction: SeasonalDiurnalConfig = field(default_factory=SeasonalDiurnalConfig)
    analysis_sampling: AnalysisSampling = field(default_factory=AnalysisSampling)
    decoder_correction: DecoderCorrectionConfig = field(default_factory=DecoderCorrectionConfig)

    def __post_init__(self) -> None:
        """Check names that one part takes from another.

        Raises
        ------
        OptionError
            If emphasis or a decoder correction is of a variable that the state does not have; if only one of
            `analysis_sampling` and `autoencoder.finetune` is given; or if runs of `splits.correction` are missing.
        """
        known = {*self.state.surface, *(name for name, _ in self.state.upper_air)}
        for part, emphasis in (
            ("autoencoder", self.autoencoder.emphasis),
            ("seasonal_diurnal_correction", self.seasonal_diurnal_correction.emphasis),
        ):
            if unknown := [name for name, _ in emphasis if name not in known]:
                raise OptionError(
                    f"{part}: emphasis on {unknown}: the state has no such variables; expected some of {sorted(known)}"
                )
        runs = [run.name for run in self.simulation.runs]
        if missing := sorted({*self.splits.correction} - {*runs}):
            raise OptionError(f"splits.correction: no runs {missing}; the recipe simulates {runs}")
        of_state = {*((name, 0) for name in self.state.surface)}
        of_state |= {(name, level) for name, levels in self.state.upper_air for level in levels}
        if absent := [channel for channel in self.decoder_correction.channels if channel not in of_state]:
            raise OptionError(
                f"decoder_correction.channels: {absent}: the state has no such channels; it has {sorted(of_state)}"
            )
        if bool(self.decoder_correction.rank) != bool(self.decoder_correction.channels):
            raise OptionError(
                f"decoder_correction.rank={self.decoder_correction.rank}, "
                f"decoder_correction.channels={list(self.decoder_correction.channels)}: "
                "give both, or neither"
            )
        if bool(self.autoencoder.finetune.steps) != bool(self.analysis_sampling.count):
            raise OptionError(
                f"autoencoder.finetune.steps={self.autoencoder.finetune.steps}, analysis_sampling.count="
                f"{self.analysis_sampling.count}: the decoder is fine-tuned on sampled analyses; give both, or neither"
            )


RENAMED: dict[type, dict[str, str]] = {
    AutoencoderConfig: {"together": "joint", "places": "local_scale", "estimates": "finetune"},
    DecoderCorrectionConfig: {"estimates": "analysis_weight"},
    Recipe: {
        "dated": "seasonal_diurnal_correction",
        "rehearsal": "analysis_sampling",
        "remainder": "decoder_correction",
    },
}
"""Old keys of recipes and their new names; both are read until version 0.2."""


def read_config(path: str | Path) -> Recipe:
    """Read a recipe from TOML; unknown keys are an error that names them, old names of keys give a warning."""
    remedy = "Expected a recipe as in docs/training.md: TOML, in UTF-8."
    with translate_read_errors(path, "a recipe", OptionError, remedy):
        values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    return build_dataclass(Recipe, values, str(path), RENAMED)

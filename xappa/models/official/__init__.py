"""Official Appa run directories: what is found there, how it is read, and the model that it makes."""

from xappa.models.official.discovery import RunFiles, find_run
from xappa.models.official.networks import read_autoencoder, read_denoiser
from xappa.models.official.read import read_run

__all__ = ["RunFiles", "find_run", "read_autoencoder", "read_denoiser", "read_run"]

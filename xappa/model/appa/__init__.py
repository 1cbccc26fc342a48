"""Official Appa run directories: what is found there, how it is read, and the model that it makes."""

from xappa.model.appa.discovery import RunFiles, find_run
from xappa.model.appa.networks import read_autoencoder, read_denoiser
from xappa.model.appa.read import read_run

__all__ = ["RunFiles", "find_run", "read_autoencoder", "read_denoiser", "read_run"]

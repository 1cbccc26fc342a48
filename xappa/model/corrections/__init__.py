"""Linear corrections of a decoder and of a Gaussian denoiser, fitted in closed form."""

"""Tensors in the clothes of arrays: what lets xarray compute on torch, and keep the gradient."""

"""Observation operators on tensors, which the sampler calls."""

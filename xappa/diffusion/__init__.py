"""Diffusion: schedules, preconditioning, samplers, guidance. Torch only."""

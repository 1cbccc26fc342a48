"""What reports say of a state, on tensors: the half of an operator that the sampler calls."""

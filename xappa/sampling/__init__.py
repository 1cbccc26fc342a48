"""From a sampling specification to latents of members: trajectories, batches, backgrounds and checks."""

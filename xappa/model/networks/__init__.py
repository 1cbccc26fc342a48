"""Networks of models: autoencoder, diffusion transformers and their parts."""

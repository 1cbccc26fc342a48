"""Networks: autoencoder, transformer and what they are made of. Torch only."""

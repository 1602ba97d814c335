"""GAN inversion: search a prior's latent space for the code that fits the known pixels."""

"""Pure functions on tensors: losses, latent codes, completions, metrics. torch and scipy only."""

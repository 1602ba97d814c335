"""Adversarial training: the LightningModule, its callbacks, what stops it."""

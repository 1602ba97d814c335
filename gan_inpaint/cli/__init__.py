"""The commands: Hydra, configuration files, exit codes, one-sentence errors."""

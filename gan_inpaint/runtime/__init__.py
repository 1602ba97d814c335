"""The machine: files, random generators, signals, memory, precision, environment."""

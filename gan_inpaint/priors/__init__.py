"""Priors: trained networks, found by name, read from files and frozen for the search."""

"""Figures, pages, tables and W&B."""

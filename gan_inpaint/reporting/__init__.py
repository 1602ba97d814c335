"""What people look at: figures, pages, tables, W&B."""

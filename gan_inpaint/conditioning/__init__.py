"""Conditions: what an image shows, as a label, attributes or a caption, and their encoders."""

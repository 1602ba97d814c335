"""The guide: an estimate of the hole from the known pixels."""

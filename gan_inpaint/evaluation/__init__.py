"""Reconstruct images of a data set, measure the results, choose an epoch by them."""

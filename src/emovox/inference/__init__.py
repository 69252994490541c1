"""Prediction with a bundle: needs the base installation only."""

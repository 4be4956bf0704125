"""Hyperparameters for a trainer."""

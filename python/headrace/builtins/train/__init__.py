"""Trainers that stand on a library of their own."""

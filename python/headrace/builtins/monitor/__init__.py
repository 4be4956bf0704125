"""Watching the world after the model was made: live rows against the reference that its package has."""

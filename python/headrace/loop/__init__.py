"""The loop: when to train again, what becomes of the model, and how that goes on after the process died."""

"""From raw columns to what a model takes."""

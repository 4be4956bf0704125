"""Making a model package and giving it a version."""

"""Writes what a person starts from: a project for a data file, a package for a plugin."""

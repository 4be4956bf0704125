"""Rows into train, validation and test, and whether knowledge leaks between them."""

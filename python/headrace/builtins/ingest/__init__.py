"""Data into a run: files, and the results of queries."""

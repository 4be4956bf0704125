"""What must be true of the data, and what becomes of rows for which it is not."""

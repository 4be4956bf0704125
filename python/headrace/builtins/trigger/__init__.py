"""What makes the loop train again."""

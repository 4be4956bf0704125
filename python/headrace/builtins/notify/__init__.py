"""Who is told what the loop does."""

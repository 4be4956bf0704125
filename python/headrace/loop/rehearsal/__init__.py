"""Rehearsals: a simulated world with known faults, through the real loop, on a simulated clock."""

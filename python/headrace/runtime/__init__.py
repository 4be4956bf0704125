"""Runs a plan: the runner, the stages' context, executors. The only caller of hooks."""

"""What would run: the spec, the graph, the plan and its cache keys. Pure; no I/O but reading the spec file."""

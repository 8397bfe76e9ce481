"""Measured claims: ``python -m benchmarks.NAME [--quick] [--seed N]`` prints a table, then one JSON object as its last line."""

"""Benchmarks: ``python -m benchmarks.NAME [--quick] [--seed N]`` prints a table, and one JSON object as its last line."""

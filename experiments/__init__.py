"""Benchmarks, metrics, plots and the demo (floor 4)."""

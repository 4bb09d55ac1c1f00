"""The laboratory: what only the demonstration, benchmarks and tests use; not installed."""

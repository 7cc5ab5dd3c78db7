"""What the service takes, in time and memory: `python -m benchmarks`."""

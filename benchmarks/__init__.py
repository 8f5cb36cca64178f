"""Our speed beside that of other tools on the same job: `python -m benchmarks`. See README.md."""

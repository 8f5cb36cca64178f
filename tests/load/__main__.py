"""Entry point of `python3 tests/load`."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    if __package__:
        from .cli import main

        sys.exit(main())
    # Run as a folder, not with -m: make the folder importable as the package that it is.
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    runpy.run_module("load", run_name="__main__")

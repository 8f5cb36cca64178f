"""Entry point of ``python3 tests/hosts``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    if not __package__:
        # Run as a folder, not with -m: make the folder importable as the package that it is.
        sys.path[0] = str(Path(__file__).resolve().parents[1])
    from hosts.cli import main

    sys.exit(main())

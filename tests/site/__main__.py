"""Build the documentation as a site: `python3 tests/env.py python -m tests.site`

The Markdown pages keep their places, so that a link that works in the repository works here; antsibull-docs adds the
reference of roles and plugins from their own descriptions. A broken link or reference is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / ".venv" / "site"
PAGES = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "docs/**/*.svg", "docs/**/*.png", "roles/*/README.md")

CONTENTS = """
```{{toctree}}
:hidden:
{pages}
Plugins and roles <reference/index>
```
"""


def lay_out(source: Path) -> None:
    """Copy the pages, and append the table of contents to the first one."""
    shutil.rmtree(source, ignore_errors=True)
    pages = [path.relative_to(ROOT) for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    for page in pages:
        (source / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, source / page)
    listed = [str(page.with_suffix("")) for page in pages if page.suffix == ".md" and page.name != "README.md"]
    listed += [str(page.with_suffix("")) for page in pages if page.match("*/*/README.md")]
    with (source / "README.md").open("a") as stream:
        stream.write(CONTENTS.format(pages="\n".join(listed)))


def reference(source: Path) -> None:
    """Write the pages of roles and plugins."""
    destination = source / "reference"
    destination.mkdir()
    command = ["antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--no-indexes", "--dest-dir"]
    subprocess.run([*command, destination, "flask_ops.production"], cwd=ROOT, check=True)


def main() -> int:
    source, html = SITE / "source", SITE / "html"
    lay_out(source)
    reference(source)
    command = ["sphinx-build", "-q", "-W", "--keep-going", "-c", str(Path(__file__).parent), "-b", "html"]
    status = subprocess.run([*command, str(source), str(html)], env=os.environ, check=False).returncode
    print(f"The site: {(html / 'README.html').relative_to(ROOT)}")
    return status


if __name__ == "__main__":
    sys.exit(main())

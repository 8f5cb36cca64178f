"""Build the documentation as a site: `python3 tests/env.py python -m tests.site`

The Markdown pages keep their places, so that a link that works in the repository works here; antsibull-docs adds the
reference of roles and plugins from their own descriptions. A broken link or reference is an error.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / ".venv" / "site"
PAGES: tuple[str, ...] = ("README.md", "SECURITY.md", "CONTRIBUTING.md", "molecule/README.md", "tests/hosts/README.md")
PAGES += ("docs/**/*.md", "docs/**/*.svg", "docs/**/*.png", "roles/*/README.md")

# What the navigation shows. Sphinx complains about a page that is nowhere in it.
NAVIGATION = {
    "Use it": (
        *("docs/start", "docs/bring-your-app", "docs/deploy", "docs/several-apps", "docs/https"),
        *("docs/logs-and-metrics", "docs/tuning", "docs/hardening", "docs/from-hand-made"),
    ),
    "Look it up": (
        *("docs/flask_apps", "docs/releases", "docs/processes", "docs/nginx"),
        *("docs/workers", "docs/sandbox"),
    ),
    "Roles": ("roles/*/README", "All variables, modules, filters <reference/index>"),
    "Trust it": (
        "docs/architecture",
        "docs/faults",
        "docs/benchmarks",
        "docs/not-tested",
        "docs/adr/README",
        "SECURITY",
    ),
    "Change it": ("CONTRIBUTING", "molecule/README", "tests/hosts/README"),
}
CONTENTS = """
```{{toctree}}
:hidden:
:glob:
{options}

{pages}
```
"""


def contents(pages: Iterable[str], options: str = "") -> str:
    return CONTENTS.format(options=options, pages="\n".join(pages))


def lay_out(source: Path) -> None:
    """Copy the pages, and append the tables of contents: all pages to the first one, the decisions to their own."""
    shutil.rmtree(source, ignore_errors=True)
    for page in [path.relative_to(ROOT) for pattern in PAGES for path in sorted(ROOT.glob(pattern))]:
        (source / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, source / page)
    with (source / "README.md").open("a") as stream:
        stream.writelines(contents(pages, f":caption: {title}") for title, pages in NAVIGATION.items())
    with (source / "docs" / "adr" / "README.md").open("a") as stream:
        stream.write(contents(["0*"]))


def reference(source: Path) -> None:
    """Write the pages of roles and plugins."""
    destination = source / "reference"
    destination.mkdir()
    command = ["antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--no-indexes", "--dest-dir"]
    subprocess.run([*command, destination, "flask_ops.production"], cwd=ROOT, check=True)
    for page in destination.glob("*.rst"):  # the theme has a table of contents of its own
        page.write_text(re.sub(r"^\.\. contents::\n(?: +.*\n)*", "", page.read_text(), flags=re.MULTILINE))


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

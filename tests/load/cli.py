"""The command line: a plan in options, the report as JSON on stdout."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import fields
from pathlib import Path

from .run import Plan, RefusedError, run_load


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if every request was answered, 1 if not, 2 if the plan is refused."""
    defaults = {field.name: field.default for field in fields(Plan)}
    parser = argparse.ArgumentParser(
        prog="load",
        description="Send requests until enough were sent (or until told to stop) and report each that failed.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--url", required=True, help="scheme, name and port that the requests are for")
    parser.add_argument("--connect", metavar="HOST:PORT", help="where to connect to, instead of the URL's host")
    parser.add_argument("--cafile", metavar="PEM", help="certificate (authority) to trust, besides the machine's")
    parser.add_argument("--insecure", action="store_true", help="do not verify the certificate")
    parser.add_argument("--clients", type=int, help="keep-alive connections, each alternating GET and POST")
    parser.add_argument("--requests", type=int, help="how many to send at least, by all these clients together")
    parser.add_argument("--get-path", help="what to GET; `release` and `slot` of a JSON answer are noted")
    parser.add_argument("--post-path", help="what to POST to; answers `length` and `sha256` of the body")
    parser.add_argument("--long-path", help="what one more client GETs without pause; empty: nothing")
    parser.add_argument("--max-seconds", type=float, help="cut everything off after this time")
    parser.add_argument("--timeout", type=float, help="longest silence of the server within one request")
    parser.add_argument("--pause", type=float, help="seconds that each client waits between two requests")
    parser.add_argument("--until-file", type=Path, metavar="FILE", help="go on until FILE exists")
    parser.set_defaults(**{name: value for name, value in defaults.items() if name != "url"})
    options = vars(parser.parse_args(arguments))
    until_file: Path | None = options.pop("until_file")
    try:
        report = run_load(Plan(**options), until=until_file.exists if until_file else None)
    except RefusedError as error:
        print(f"load: {error}", file=sys.stderr)
        return 2
    lines = (f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in report.items())
    print("{", ",\n".join(lines), "}", sep="\n")
    return 0 if report["ok"] else 1

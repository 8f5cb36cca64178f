# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate that a site starts with: a self-signed one, or a copy of the user's own, after it was checked.

This module util is private to the collection.
"""

from __future__ import annotations

import glob
import os
import shutil
import ssl
import stat
import tempfile
import time
import typing as t
from pathlib import Path

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import (
    ensure_directory,
    link,
    make_directories,
    remove,
    write,
)

DAYS = 3650
RENEW_BEFORE = 30 * 86400
KEY = "privkey.pem"
FILES = ("fullchain.pem", KEY)

Site = dict[str, t.Any]


PLACES = ("self_signed_certificate", "own_certificate", "certificate")
"""Keys of an app's paths: the pair made here, the copy of the user's own, and the link that nginx reads."""


def ensure_sites(params: dict[str, t.Any], check_mode: bool) -> tuple[list[str], dict[str, str]]:
    """Return the names of the sites that were changed, and by name why the others were left as they were."""
    changed, failures = [], {}
    # In check mode, a run would have installed openssl before.
    can_check = not check_mode or shutil.which("openssl")
    for site in params["apps"]:
        problems = own_problems(site) if can_check else []
        if problems:
            failures[site["name"]] = f"{'; '.join(problems)}. The site is as it was before."
            continue
        ensure = remove_site if site.get("state") == "absent" else ensure_site
        if ensure(site, params, check_mode):
            changed.append(site["name"])
    return changed, failures


def ensure_site(site: Site, params: dict[str, t.Any], check_mode: bool) -> bool:
    """Return whether anything of the site's certificate was not as it should be."""
    pair, own, place = (site["paths"][key] for key in PLACES)
    missing = not is_good(pair, site["domains"])
    if missing and not check_mode:
        create(pair, site["domains"])
    files = own_files(site)
    differs = bool(files) and files != files_of(own)
    if differs and not check_mode:
        replace(own, files)
    if files:
        target = own
    elif site["name"] in params["force_self_signed"] or not files_of(place):
        target = pair
    else:
        target = os.readlink(place)
    astray = not os.path.islink(place) or os.readlink(place) != target
    if astray and not check_mode:
        make_directories(os.path.dirname(place))
        link(place, target)
    if not check_mode:
        for directory in (*versions(pair), *versions(own)):
            if directory not in (os.path.realpath(pair), os.path.realpath(own)):
                remove(directory)
    return missing or differs or astray


def remove_site(site: Site, params: dict[str, t.Any], check_mode: bool) -> bool:
    pair, own, place = (site["paths"][key] for key in PLACES)
    paths = [place, pair, own, *versions(pair), *versions(own)]
    found = [path for path in paths if os.path.lexists(path)]
    if not check_mode:
        for path in found:
            remove(path)
    return bool(found)


def own_problems(site: Site) -> list[str]:
    """What is wrong with the user's own certificate of a site. nginx would not start with some of it."""
    files = site.get("certificate")
    if not files or site.get("state") == "absent":
        return []
    place, chain, key = f"{site['name']}: certificate", files["fullchain"], files["privkey"]
    missing = [f"{place}: there is no file {path} on the host" for path in (chain, key) if not os.path.isfile(path)]
    if missing:
        return missing
    if stat.S_IMODE(os.stat(key).st_mode) & 0o007:
        return [f"{place}: everybody on the host can read the key {key}; a good mode is 0600"]
    x509 = ["openssl", "x509", "-in", chain, "-noout"]
    try:
        belongs = run([*x509, "-pubkey"]) == run(["openssl", "pkey", "-in", key, "-passin", "pass:", "-pubout"])
    except CommandError:
        return [f"{place}: openssl cannot read {chain} as a certificate, or {key} as its key, without a passphrase"]
    if not belongs:
        return [f"{place}: {key} is not the key of {chain}"]
    dates = dict(line.split("=", 1) for line in run([*x509, "-dates"]).splitlines())
    begins, ends = (ssl.cert_time_to_seconds(dates[name]) for name in ("notBefore", "notAfter"))
    if ends <= time.time():
        return [f"{place}: {chain} has expired: notAfter={dates['notAfter']}"]
    if begins > time.time():
        return [f"{place}: {chain} is not valid yet: notBefore={dates['notBefore']}"]
    # openssl checks a name against the wildcards of a certificate, and not a wildcard.
    names = {domain: domain.replace("*", "any", 1) for domain in site["domains"]}
    lacking = [domain for domain, name in names.items() if "NOT match" in run([*x509, "-checkhost", name])]
    return [f"{place}: {chain} is not for {', '.join(lacking)}"] if lacking else []


def own_files(site: Site) -> dict[str, bytes]:
    """The contents of the user's own certificate and key, none for a site that has no such certificate."""
    paths = site.get("certificate") or {}
    return {f"{name}.pem": Path(path).read_bytes() for name, path in paths.items()}


def files_of(directory: str) -> dict[str, bytes]:
    """The contents of a pair, none where it is not complete."""
    try:
        return {file: Path(directory, file).read_bytes() for file in FILES}
    except FileNotFoundError:
        return {}


def replace(pair: str, files: dict[str, bytes]) -> None:
    """Put a key and its certificate in the place of others.

    The place is a link to a directory, so that at every moment, and after a crash, there is a whole pair: the old one or
    the new one.
    """
    parent, name = os.path.split(pair)
    ensure_directory(parent)
    new = tempfile.mkdtemp(prefix=f"{name}.", dir=parent)
    ensure_directory(new)
    for file, content in files.items():
        write(os.path.join(new, file), content, 0o600 if file == KEY else 0o644, "root", "root")
    if not os.path.islink(pair):
        remove(pair)
    link(pair, os.path.basename(new))


def versions(pair: str) -> list[str]:
    """The directories behind a pair: one, or more after a change or a killed run. No site has a dot in its name."""
    return glob.glob(f"{glob.escape(pair)}.*")


def is_good(pair: str, domains: list[str]) -> bool:
    """Whether there is a certificate with these names that does not expire soon."""
    if not files_of(pair):
        return False
    x509 = ["openssl", "x509", "-in", os.path.join(pair, "fullchain.pem"), "-noout"]
    try:
        shown = run([*x509, "-checkend", str(RENEW_BEFORE), "-ext", "subjectAltName"])
    except CommandError:
        return False
    names = {word.strip(",").removeprefix("DNS:") for word in shown.split() if word.startswith("DNS:")}
    return names == set(domains)


def create(pair: str, domains: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        certificate, key = (os.path.join(directory, file) for file in FILES)
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]
        command += ["-days", str(DAYS), "-subj", f"/CN={domains[0][:64]}", "-keyout", key, "-out", certificate]
        run([*command, "-addext", "subjectAltName=" + ",".join(f"DNS:{domain}" for domain in domains)])
        replace(pair, files_of(directory))

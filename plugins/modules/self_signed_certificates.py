#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: self_signed_certificates
short_description: Create self-signed certificates for sites
version_added: 0.1.0
description:
  - Creates a key and a certificate for each site that has none, or one with other names, or one that expires within 30
    days. They are valid for ten years; a browser warns about them in any case.
  - The files are C(fullchain.pem) and C(privkey.pem) in C(<directory>/<name>/).
  - If the link that nginx reads does not point to a certificate, it is set to this one. A link to any other certificate
    is left unchanged, unless the site is in O(only_here).
  - A site can have its own certificate. It is refused if key and certificate do not match, if it has expired, is not
    valid yet, or lacks a name of the site, or when others than its owner and group can read the key. The site is then
    left unchanged, and the reason is in RV(failures). The link points to a copy.
author: [the flask_ops.production authors (@flask-ops)]
options:
  sites:
    description:
      - The sites. No other options of theirs are taken, since Ansible writes a module's arguments into the host's journal.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The site's name.
        type: str
        required: true
      state:
        description: The files of a site that is V(absent) are removed.
        type: str
        choices: [present, absent]
        default: present
      domains:
        description: The names in the certificate. Required unless the site is absent.
        type: list
        elements: str
      certificate:
        description: The site's own certificate.
        type: dict
        suboptions:
          fullchain:
            description: Path of the certificate, followed by those of the intermediate CAs.
            type: str
            required: true
          privkey:
            description: Path of its key.
            type: str
            required: true
  directory:
    description: Where the files are; created when it is missing.
    type: path
    required: true
  link:
    description: The symbolic link by which a site's certificate is read; C({name}) stands for the site's name.
    type: str
    required: true
  own_directory:
    description: Directory of the copies of the sites' own certificates.
    type: path
    required: true
  only_here:
    description: Names of the sites that get no certificate from elsewhere. Their links are led back to the self-signed one.
    type: list
    elements: str
    default: []
  reload:
    description: The unit that reads the files. A change is remembered for the next M(flask_ops.production.config_files).
    type: str
attributes:
  check_mode:
    description: Reports the certificates that would be created.
    support: full
  diff_mode:
    description: Keys are not shown.
    support: none
"""

EXAMPLES = r"""
- name: Create self-signed bootstrap certificates
  flask_ops.production.self_signed_certificates:
    sites:
      - name: shop
        domains: [shop.example.com]
    directory: /etc/nginx/self-signed
    own_directory: /etc/nginx/own-certificates
    link: /etc/nginx/certificates/{name}
    reload: nginx.service
"""

RETURN = r"""
changed_sites:
  description: The names of the sites whose files or links were made or removed.
  returned: success
  type: list
  elements: str
failures:
  description: By name of the site, the reason why its own certificate is refused. The site is unchanged.
  returned: success
  type: dict
  sample: {}
"""

import glob
import os
import shutil
import ssl
import stat
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import (
    ensure_directory,
    link,
    make_directories,
    remove,
    set_umask,
    write,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.pending import remember

DAYS = 3650
RENEW_BEFORE = 30 * 86400
FILES = ("fullchain.pem", "privkey.pem")
SITE = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "domains": {"type": "list", "elements": "str"},
    "certificate": {
        "type": "dict",
        "options": {
            "fullchain": {"type": "str", "required": True},
            "privkey": {"type": "str", "required": True, "no_log": False},  # a path
        },
    },
}


def main() -> None:
    set_umask()
    module = AnsibleModule(
        argument_spec={
            "sites": {"type": "list", "elements": "dict", "options": SITE, "required": True},
            "directory": {"type": "path", "required": True},
            "own_directory": {"type": "path", "required": True},
            "only_here": {"type": "list", "elements": "str", "default": []},
            "link": {"type": "str", "required": True},
            "reload": {"type": "str"},
        },
        supports_check_mode=True,
    )
    try:
        changed, failures = bring_to_state(module.params, module.check_mode)
    except (CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    if changed and module.params["reload"] and not module.check_mode:
        remember(module.params["reload"])
    module.exit_json(changed=bool(changed), changed_sites=changed, failures=failures)


def bring_to_state(params: dict, check_mode: bool) -> tuple[list[str], dict[str, str]]:
    """Return the names of the sites that were changed, and by name why the others were left as they were."""
    changed, failures = [], {}
    # In check mode, a run would have installed openssl before.
    judged = not check_mode or shutil.which("openssl")
    for site in params["sites"]:
        problems = own_problems(site) if judged else []
        if problems:
            failures[site["name"]] = f"{'; '.join(problems)}. The site is as it was before."
            continue
        bring = remove_site if site.get("state") == "absent" else ensure_site
        if bring(site, params, check_mode):
            changed.append(site["name"])
    return changed, failures


def ensure_site(site: dict, params: dict, check_mode: bool) -> bool:
    """Return whether anything of the site's certificate was not as it should be."""
    pair, own = (os.path.join(params[key], site["name"]) for key in ("directory", "own_directory"))
    place = params["link"].format_map(site)
    missing = not good(pair, site["domains"])
    if missing and not check_mode:
        make(pair, site["domains"])
    copied = bool(site.get("certificate")) and not same(own, site["certificate"])
    if copied and not check_mode:
        copy(own, site["certificate"])
    if site.get("certificate"):
        target = own
    elif site["name"] in params["only_here"] or not complete(place):
        target = pair
    else:
        target = os.readlink(place)
    astray = not os.path.islink(place) or os.readlink(place) != target
    if astray and not check_mode:
        make_directories(os.path.dirname(place))
        link(place, target)
    if not check_mode:
        tidy(pair)
        tidy(own)
    return missing or copied or astray


def remove_site(site: dict, params: dict, check_mode: bool) -> bool:
    paths = [os.path.join(params[key], site["name"]) for key in ("directory", "own_directory")]
    paths += [directory for path in paths for directory in directories_of(path)]
    there = [path for path in (params["link"].format_map(site), *paths) if os.path.lexists(path)]
    if not check_mode:
        for path in there:
            remove(path)
    return bool(there)


def own_problems(site: dict) -> list[str]:
    """What is wrong with the certificate that a site brings along. nginx would not start with some of it."""
    files = site.get("certificate")
    if not files or site.get("state") == "absent":
        return []
    place, chain, key = f"{site['name']}: certificate", files["fullchain"], files["privkey"]
    missing = [f"{place}: there is no file {path} on the host" for path in (chain, key) if not os.path.isfile(path)]
    if missing:
        return missing
    if stat.S_IMODE(os.stat(key).st_mode) & 0o007:
        return [f"{place}: everybody on the host can read the key {key}; a good mode is 0600"]
    asked = ["openssl", "x509", "-in", chain, "-noout"]
    try:
        belongs = run([*asked, "-pubkey"]) == run(["openssl", "pkey", "-in", key, "-passin", "pass:", "-pubout"])
    except CommandError:
        return [f"{place}: openssl cannot read {chain} as a certificate, or {key} as its key, without a passphrase"]
    if not belongs:
        return [f"{place}: {key} is not the key of {chain}"]
    try:
        run([*asked, "-checkend", "0"])
    except CommandError:
        return [f"{place}: {chain} has ended: {run([*asked, '-enddate']).strip()}"]
    begins = run([*asked, "-startdate"]).strip()
    if ssl.cert_time_to_seconds(begins.removeprefix("notBefore=")) > time.time():
        return [f"{place}: {chain} is not valid yet: {begins}"]
    lacking = [domain for domain in site["domains"] if "NOT match" in run([*asked, "-checkhost", any_name(domain)])]
    return [f"{place}: {chain} is not for {', '.join(lacking)}"] if lacking else []


def any_name(domain: str) -> str:
    return domain.replace("*", "any", 1)


def same(own: str, files: dict) -> bool:
    """Whether the copy is what the files are now. They were there a moment ago, see :func:`own_problems`."""
    pairs = ((os.path.join(own, file), files[file.removesuffix(".pem")]) for file in FILES)
    return complete(own) and all(content(mine) == content(theirs) for mine, theirs in pairs)


def content(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read()


def copy(own: str, files: dict) -> None:
    replace(own, {file: content(files[file.removesuffix(".pem")]) for file in FILES})


def replace(pair: str, files: dict[str, bytes]) -> None:
    """Put a key and its certificate in the place of others.

    The place is a link to a directory, so that at every moment, and after a crash, there is a whole pair: the old one or
    the new one.
    """
    parent, name = os.path.split(pair)
    ensure_directory(parent)
    new = tempfile.mkdtemp(prefix=f"{name}.", dir=parent)
    ensure_directory(new)
    for file, text in files.items():
        write(os.path.join(new, file), text, 0o600 if file == "privkey.pem" else 0o644, "root", "root")
    if not os.path.islink(pair):
        remove(pair)
    link(pair, os.path.basename(new))


def directories_of(pair: str) -> list[str]:
    """The directories behind a pair: one, or more after a change or a killed run. No site has a dot in its name."""
    return glob.glob(f"{glob.escape(pair)}.*")


def tidy(pair: str) -> None:
    """Remove the directories to which the place does not lead any more."""
    for directory in directories_of(pair):
        if directory != os.path.realpath(pair):
            remove(directory)


def complete(directory: str) -> bool:
    return all(os.path.exists(os.path.join(directory, file)) for file in FILES)


def good(pair: str, domains: list[str]) -> bool:
    """Whether there is a certificate with these names that does not end soon."""
    if not complete(pair):
        return False
    certificate = os.path.join(pair, "fullchain.pem")
    asked = ["openssl", "x509", "-in", certificate, "-noout", "-checkend", str(RENEW_BEFORE), "-ext", "subjectAltName"]
    try:
        answer = run(asked)
    except CommandError:
        return False
    names = {word.strip(" ,").removeprefix("DNS:") for word in answer.split() if word.startswith("DNS:")}
    return names == set(domains)


def make(pair: str, domains: list[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        key, certificate = os.path.join(place, "privkey.pem"), os.path.join(place, "fullchain.pem")
        run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"),
                *("-days", str(DAYS), "-subj", f"/CN={domains[0][:64]}"),
                *("-addext", "subjectAltName=" + ",".join(f"DNS:{domain}" for domain in domains)),
                *("-keyout", key, "-out", certificate),
            ]
        )
        replace(pair, {"privkey.pem": content(key), "fullchain.pem": content(certificate)})


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: self_signed_certificates
short_description: A self-signed certificate for each site, so that HTTPS works from the first minute
version_added: 0.1.0
description:
  - Makes a key and a certificate for each site that has none, or one with other names, or one that ends within
    30 days. They are valid for ten years; a browser warns about them in any case.
  - The files are C(fullchain.pem) and C(privkey.pem) in C(<directory>/<name>/).
  - Where the link that nginx reads leads to no certificate, it is made to lead there. Where it leads to one, it is left
    alone, whoever made that.
author: [the flask_ops.production authors (@flask-ops)]
options:
  sites:
    description: The sites, as in the C(nginx_proxy) role. The files of a site whose state is V(absent) are removed.
    type: list
    elements: dict
    required: true
  directory:
    description: Where the files are; created when it is missing.
    type: path
    required: true
  link:
    description: The symbolic link by which a site's certificate is read; C({name}) stands for the site's name.
    type: str
    required: true
  reload:
    description: The unit that reads the files. A change is remembered for the next M(flask_ops.production.config_files).
    type: str
attributes:
  check_mode:
    description: Says which certificates would be made.
    support: full
  diff_mode:
    description: Keys are not shown.
    support: none
"""

EXAMPLES = r"""
- name: Make the certificates that HTTPS starts with
  flask_ops.production.self_signed_certificates:
    sites:
      - name: shop
        domains: [shop.example.com]
    directory: /etc/nginx/self-signed
    link: /etc/nginx/certificates/{name}
    reload: nginx.service
"""

RETURN = r"""
changed_sites:
  description: The names of the sites whose files or links were made or removed.
  returned: success
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._files import link, remove
from ansible_collections.flask_ops.production.plugins.module_utils._pending import remember

DAYS = 3650
RENEW_BEFORE = 30 * 86400


FILES = ("fullchain.pem", "privkey.pem")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "sites": {"type": "list", "elements": "dict", "required": True},
            "directory": {"type": "path", "required": True},
            "link": {"type": "str", "required": True},
            "reload": {"type": "str"},
        },
        supports_check_mode=True,
    )
    changed = []
    try:
        for site in module.params["sites"]:
            pair, place = os.path.join(module.params["directory"], site["name"]), module.params["link"].format_map(site)
            bring = remove_site if site.get("state") == "absent" else ensure_site
            if bring(site, pair, place, module.check_mode):
                changed.append(site["name"])
    except (CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    if changed and module.params["reload"] and not module.check_mode:
        remember(module.params["reload"])
    module.exit_json(changed=bool(changed), changed_sites=changed)


def ensure_site(site: dict, pair: str, place: str, check_mode: bool) -> bool:
    """Return whether the pair, or the link to it, was not there."""
    missing, astray = not good(pair, site["domains"]), not complete(place)
    if missing and not check_mode:
        make(pair, site["domains"])
    if astray and not check_mode:
        os.makedirs(os.path.dirname(place), mode=0o755, exist_ok=True)
        link(place, pair)
    return missing or astray


def remove_site(site: dict, pair: str, place: str, check_mode: bool) -> bool:
    there = [path for path in (place, pair) if os.path.lexists(path)]
    if not check_mode:
        for path in there:
            remove(path)
    return bool(there)


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
    """Make both files in a directory beside their place, and rename it last: a key never meets another's certificate."""
    new = f"{pair}.new"
    remove(new)
    os.makedirs(new, mode=0o755)
    run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"),
            *("-days", str(DAYS), "-subj", f"/CN={domains[0][:64]}"),
            *("-addext", "subjectAltName=" + ",".join(f"DNS:{domain}" for domain in domains)),
            *("-keyout", f"{new}/privkey.pem", "-out", f"{new}/fullchain.pem"),
        ]
    )
    os.chmod(f"{new}/privkey.pem", 0o600)
    remove(pair)
    os.rename(new, pair)


if __name__ == "__main__":
    main()

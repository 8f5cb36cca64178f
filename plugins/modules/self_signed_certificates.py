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
  - The files are C(<directory>/<name>.crt) and C(<directory>/<name>.key).
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
    reload: nginx.service
"""

RETURN = r"""
changed_sites:
  description: The names of the sites whose files were made or removed.
  returned: success
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._command import CommandError, run
from ansible_collections.flask_ops.production.plugins.module_utils._files import remove
from ansible_collections.flask_ops.production.plugins.module_utils._pending import remember

DAYS = 3650
RENEW_BEFORE = 30 * 86400


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "sites": {"type": "list", "elements": "dict", "required": True},
            "directory": {"type": "path", "required": True},
            "reload": {"type": "str"},
        },
        supports_check_mode=True,
    )
    directory, changed = module.params["directory"], []
    try:
        for site in module.params["sites"]:
            certificate, key = (os.path.join(directory, f"{site['name']}.{suffix}") for suffix in ("crt", "key"))
            if site.get("state") == "absent":
                if os.path.exists(certificate) or os.path.exists(key):
                    changed.append(site["name"])
                    if not module.check_mode:
                        remove(certificate)
                        remove(key)
            elif not good(certificate, key, site["domains"]):
                changed.append(site["name"])
                if not module.check_mode:
                    make(certificate, key, site["domains"])
    except (CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    if changed and module.params["reload"] and not module.check_mode:
        remember(module.params["reload"])
    module.exit_json(changed=bool(changed), changed_sites=changed)


def good(certificate: str, key: str, domains: list[str]) -> bool:
    """Whether there is a certificate with these names that does not end soon."""
    if not (os.path.exists(certificate) and os.path.exists(key)):
        return False
    asked = ["openssl", "x509", "-in", certificate, "-noout", "-checkend", str(RENEW_BEFORE), "-ext", "subjectAltName"]
    try:
        answer = run(asked)
    except CommandError:
        return False
    names = {word.strip(" ,").removeprefix("DNS:") for word in answer.split() if word.startswith("DNS:")}
    return names == set(domains)


def make(certificate: str, key: str, domains: list[str]) -> None:
    """Make both files beside their place, and rename the certificate last: it is what :func:`good` looks at."""
    os.makedirs(os.path.dirname(certificate), mode=0o755, exist_ok=True)
    new_certificate, new_key = f"{certificate}.new", f"{key}.new"
    run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"),
            *("-days", str(DAYS), "-subj", f"/CN={domains[0][:64]}"),
            *("-addext", "subjectAltName=" + ",".join(f"DNS:{domain}" for domain in domains)),
            *("-keyout", new_key, "-out", new_certificate),
        ]
    )
    os.chmod(new_key, 0o600)
    os.rename(new_key, key)
    os.rename(new_certificate, certificate)


if __name__ == "__main__":
    main()

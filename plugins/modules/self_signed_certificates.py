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

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.self_signed import ensure_sites
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import set_umask
from ansible_collections.flask_ops.production.plugins.module_utils._host.reload import mark_pending

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
        changed, failures = ensure_sites(module.params, module.check_mode)
    except (CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    if changed and module.params["reload"] and not module.check_mode:
        mark_pending(module.params["reload"])
    module.exit_json(changed=bool(changed), changed_sites=changed, failures=failures)


if __name__ == "__main__":
    main()

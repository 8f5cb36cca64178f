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
  - The files are C(fullchain.pem) and C(privkey.pem) in the C(self_signed_certificate) of the app's C(paths).
  - If the link that nginx reads does not point to a certificate, it is set to this one. A link to any other certificate
    is left unchanged, unless the site is in O(force_self_signed).
  - A site can have its own certificate. It is refused if key and certificate do not match, if it has expired, is not
    valid yet, or lacks a name of the site, or when others than its owner and group can read the key. The site is then
    left unchanged, and the reason is in RV(failures). The link points to a copy.
extends_documentation_fragment:
  - flask_ops.production.common
  - flask_ops.production.common.apps
  - flask_ops.production.common.changes
seealso:
  - module: flask_ops.production.acme_certificates
options:
  force_self_signed:
    description: Names of the apps whose links point to the self-signed certificate again, although they have another.
    type: list
    elements: str
    default: []
  reload:
    description: The unit that reads the files. A change is remembered for the next M(flask_ops.production.config_files).
    type: str
attributes:
  diff_mode: {support: none, details: Keys are not shown.}
"""

EXAMPLES = r"""
- name: Create self-signed bootstrap certificates
  flask_ops.production.self_signed_certificates:
    apps: "{{ prepared.apps | flask_ops.production.without_secrets }}"
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


def main() -> None:
    set_umask()
    module = AnsibleModule(
        argument_spec={
            "apps": {"type": "list", "elements": "dict", "required": True},
            "force_self_signed": {"type": "list", "elements": "str", "default": []},
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

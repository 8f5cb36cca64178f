#!/usr/bin/python
# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: acme_certificates
short_description: Manage ACME certificates with certbot
version_added: 0.1.0
description:
  - Compares the configuration of each certificate (names, key type, profile, CA, challenge) with the one on disk.
    certbot requests a new one only if something differs. Renewals are left to the timer.
  - Before the CA is contacted, a file is fetched through every name.
  - A certificate is installed by updating its link, validating the proxy's configuration and reloading the proxy. Then
    the served certificate is compared with the one on disk.
  - A certificate that could not be obtained is a result with a reason, not a failure of the task. The others are still
    processed, and the previous certificate is still served.
  - Saves the settings for the timer that the C(letsencrypt) role installs.
  - A certificate that an earlier run obtained, and that is in neither O(certificates) nor O(absent), is kept and renewed.
    A warning names it.
extends_documentation_fragment:
  - flask_ops.production.common
  - flask_ops.production.common.changes
seealso:
  - module: flask_ops.production.self_signed_certificates
options:
  certificates:
    description: The certificates, as in the C(letsencrypt) role.
    type: list
    elements: dict
    required: true
  absent:
    description: Names of certificates to delete. Those that this module did not obtain are left unchanged.
    type: list
    elements: str
    default: []
  state:
    description: V(absent) deletes all certificates that this module has obtained on the host.
    type: str
    choices: [present, absent]
    default: present
  revoke:
    description: Whether a certificate is revoked before it is deleted.
    type: bool
    default: false
  server:
    description: URL of the CA's ACME directory.
    type: str
    required: true
  email:
    description: Email address of the account, for CAs that require one.
    type: str
    default: ""
  eab:
    description: C(kid) and C(hmac_key), for a CA that requires external account binding.
    type: dict
    default: {}
  ca_bundle:
    description: CA bundle on the host that verifies the ACME server.
    type: str
    default: ""
  challenge:
    description: The ACME challenge type, unless a certificate sets it.
    type: str
    choices: [http-01, dns-01]
    default: http-01
  webroot:
    description: The directory that is served over HTTP for every name.
    type: str
    default: ""
  dns_plugin:
    description: certbot's authenticator for dns-01.
    type: str
    default: ""
  dns_credentials:
    description: The file with that plugin's credentials.
    type: str
    default: ""
  dns_propagation:
    description: Seconds to wait until a DNS record has reached all name servers.
    type: int
    default: 60
  key_type:
    description: The key type, unless a certificate sets it.
    type: str
    choices: [ecdsa, rsa]
    default: ecdsa
  profile:
    description: The CA's certificate profile, unless a certificate sets it. None by default.
    type: str
    default: ""
  precheck:
    description: Whether to fetch a file through every name first.
    type: bool
    default: true
  validate:
    description: A command that tests the proxy's files.
    type: str
    default: ""
  reload:
    description: The proxy's unit.
    type: str
    default: ""
  probe_port:
    description: The port on which the served certificates are checked; V(0) for no check.
    type: int
    default: 0
  textfile_directory:
    description: Where node_exporter reads metrics from files.
    type: str
    default: ""
attributes:
  check_mode: {details: Contacts no server.}
"""

EXAMPLES = r"""
- name: Ensure the state of each certificate
  flask_ops.production.acme_certificates:
    certificates:
      - name: shop
        domains: [shop.example.com]
    server: https://acme-v02.api.letsencrypt.org/directory
    webroot: /var/www/html
    reload: nginx.service
"""

RETURN = r"""
summary:
  description: A line for each certificate; more for one that failed.
  returned: success
  type: list
  elements: str
failures:
  description: The lines of those that failed.
  returned: success
  type: list
  elements: str
"""

import os
from dataclasses import fields, replace

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.manage import (
    discard,
    ensure,
    inspect,
    lock,
)
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.metrics import write_metrics
from ansible_collections.flask_ops.production.plugins.module_utils._certificates.model import (
    Certificate,
    CertificateOutcome,
    Settings,
    SettingsError,
)
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import set_umask
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import systemctl

OPTIONS = {
    "certificates": {"type": "list", "elements": "dict", "required": True},
    "absent": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "revoke": {"type": "bool", "default": False},
    "server": {"type": "str", "required": True},
    "email": {"type": "str", "default": ""},
    "eab": {
        "type": "dict",
        "default": {},
        "no_log": True,
    },
    "ca_bundle": {"type": "str", "default": ""},
    "challenge": {"type": "str", "choices": ["http-01", "dns-01"], "default": "http-01"},
    "webroot": {"type": "str", "default": ""},
    "dns_plugin": {"type": "str", "default": ""},
    "dns_credentials": {"type": "str", "default": ""},
    "dns_propagation": {"type": "int", "default": 60},
    "key_type": {"type": "str", "choices": ["ecdsa", "rsa"], "default": "ecdsa", "no_log": False},
    "profile": {"type": "str", "default": ""},
    "precheck": {"type": "bool", "default": True},
    "validate": {"type": "str", "default": ""},
    "reload": {"type": "str", "default": ""},
    "probe_port": {"type": "int", "default": 0},
    "textfile_directory": {"type": "str", "default": ""},
}


def main() -> None:
    set_umask()
    module = AnsibleModule(argument_spec=OPTIONS, supports_check_mode=True)
    try:
        with lock():
            result = ensure_all(module.params, module.check_mode)
    except (CommandError, OSError) as error:
        module.fail_json(msg=str(error))
    if module.params["certificates"] and debian_timer_is_active():
        module.warn(
            "Debian's own certbot.timer is active on this host. Its older certbot renews the same certificates by other "
            "rules: systemctl disable --now certbot.timer"
        )
    for warning in result.pop("warnings"):
        module.warn(warning)
    module.exit_json(**result)


def ensure_all(params: dict, check_mode: bool) -> dict:
    warnings = []
    try:
        before = Settings.load()
    except SettingsError as error:
        warnings.append(str(error))
        before = None
    ours = set(before.ours if before else ())
    wanted = tuple(certificate_of(entry, params) for entry in params["certificates"] if params["state"] == "present")
    unwanted = sorted(ours) if params["state"] == "absent" else [name for name in params["absent"] if name in ours]
    left_out = {*unwanted, *params["absent"], *(certificate.name for certificate in wanted)}
    kept = tuple(entry for entry in (before.certificates if before else ()) if entry.name not in left_out)
    if kept:
        warnings.append(kept_warning([entry.name for entry in kept]))
    if before and not wanted:
        # The variables of the role may be missing, too: what is kept is renewed as before.
        settings = replace(before, certificates=kept)
    else:
        shared = {one.name for one in fields(Settings)} & params.keys()
        settings = Settings(**{name: params[name] for name in shared} | {"certificates": wanted + kept})
    links = {entry.name: entry.link for entry in (before.certificates if before else ())}
    outcomes = [discard(name, links.get(name, ""), settings, params["revoke"], check_mode) for name in unwanted]
    ours -= {outcome.name for outcome in outcomes if outcome.action == "removed"}
    outcomes += [ensure(entry, settings, check_mode=check_mode, eab=params["eab"] or None) for entry in wanted]
    outcomes += [inspect(entry, settings) for entry in kept]
    written = replace(settings, ours=tuple(sorted(ours | {entry.name for entry in settings.certificates})))
    # A host that never had a certificate of this collection gets no file about them.
    rewritten = written != before and bool(before or settings.certificates)
    if not check_mode and (before or settings.certificates):
        if rewritten:
            written.save()
        write_metrics(outcomes, settings)
    return {
        "changed": rewritten or any(outcome.changed for outcome in outcomes),
        "summary": [outcome.summary for outcome in outcomes],
        "failures": [outcome.summary for outcome in outcomes if outcome.problem],
        "diff": [diff_of(outcome) for outcome in outcomes if outcome.changed],
        "warnings": warnings,
    }


def kept_warning(names: list[str]) -> str:
    return (
        f"The certificates of {', '.join(names)} are kept and renewed, although this run does not configure them: "
        "letsencrypt_email is missing for this host, or the apps are. To delete certificates, set "
        "'letsencrypt_state: absent' for the host, or 'acme: {enabled: false}' or 'state: absent' for an app."
    )


def certificate_of(entry: dict, params: dict) -> Certificate:
    own, link = entry.get("acme") or {}, entry["paths"]["certificate"]
    return Certificate(
        name=entry["name"],
        domains=tuple(entry["domains"]),
        ip_addresses=tuple(own.get("ip_addresses") or ()),
        challenge=own.get("challenge") or params["challenge"],
        key_type=own.get("key_type") or params["key_type"],
        profile=own.get("profile") or params["profile"],
        # Where nginx_proxy has made its own certificates, it reads this link.
        link=link if os.path.isdir(os.path.dirname(link)) else "",
    )


def diff_of(outcome: CertificateOutcome) -> dict:
    why = "".join(f"{reason}\n" for reason in outcome.reasons)
    title = f"certificate {outcome.name}"
    return {"before": why, "after": f"{outcome.action}\n", "before_header": title, "after_header": title}


def debian_timer_is_active() -> bool:
    try:
        systemctl("is-active", "--quiet", "certbot.timer")
    except CommandError:
        return False
    return True


if __name__ == "__main__":
    main()

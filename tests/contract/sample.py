"""A small collection that keeps every promise; the samples in promises.py break it at one place."""

SOUND = {
    "README.md": "# Sample\n\n```yaml\nweb_port: 8080\nflask_apps:\n  - {name: shop, tls: {enabled: true}}\n```\n",
    "roles/web/README.md": "# web\n",
    "roles/web/defaults/main.yml": "# web_name: shop\nweb_sites: []\nweb_port: 80\n",
    "roles/web/meta/main.yml": "galaxy_info: {}\n",
    "roles/web/meta/argument_specs.yml": """
        argument_specs:
          main:
            options:
              web_name: {type: str, required: true}
              web_port: {type: int, default: 80}
              web_sites:
                type: list
                elements: dict
                default: []
                options:
                  name: {type: str, required: true}
                  port: {type: int, default: 80}
                  tls: {type: dict, options: {enabled: {type: bool, default: false}}}
        """,
    "roles/web/tasks/main.yml": "- {name: Nothing, ansible.builtin.meta: noop}\n",
    "roles/web/templates/web.conf.j2": "# Managed by Ansible (flask_ops.production): changes made here are lost.\n",
    "roles/web/templates/web.json.j2": "{}\n",
    ".config/molecule/config.yml": "verifier: {additional_files_or_dirs: ['${X}/molecule/shared/tests']}\n",
    "molecule/shared/tests/test_invariants.py": "def test_invariant(): ...\n",
    "molecule/shared/converge.yml": "- hosts: all\n",
    "molecule/web/molecule.yml": "provisioner: {inventory: {group_vars: {all: {web_port: 81}}}}\n",
    "molecule/web/tests/test_web.py": "def test_web(): ...\n",
    "plugins/filter/plain.py": (
        "DOCUMENTATION = 'name: plain'\n"
        "EXAMPLES = '{{ 1 | flask_ops.production.plain }}'\n"
        "RETURN = '_value: {type: str}'\n"
    ),
    "plugins/plugin_utils/_private/private.py": "",
}

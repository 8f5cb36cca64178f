from ansible.plugins.loader import init_plugin_loader

# Before a test imports ansible_collections: what Python finds by itself lacks what Ansible adds to it.
init_plugin_loader()

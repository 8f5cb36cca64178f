"""Looks for secrets where none may be: a scenario's have the form of a canary, `canary-` and hexadecimal digits.

`callbacks/leaks.py` looks at all that a run of Ansible says or could say, `on_host.py` at a host afterwards.
"""

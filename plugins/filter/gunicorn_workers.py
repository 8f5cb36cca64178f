# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: gunicorn_workers
short_description: Compute the number of gunicorn workers for one app of a host
version_added: 0.1.0
author: [the flask_ops.production authors (@flask-ops)]
description:
  - By CPU C(cpus + 1), but C(2 * cpus + 1) for the class V(sync), as gunicorn's documentation recommends; by memory
    what is left after a reserve of a quarter, or of 256 MiB where that is more, shared between all apps of the host
    and their two slots, and no more than the app's own limit.
  - The smallest of these, and at least 1.
  - Fails if a fact is missing.
positional: _input
options:
  _input:
    description: The host's facts, with C(processor_vcpus) and C(memtotal_mb).
    type: dict
    required: true
  apps:
    description: How many apps share the host.
    type: int
    default: 1
  worker_mib:
    description: Memory of one worker in MiB.
    type: int
    default: 128
  worker_class:
    description: The class of the workers.
    type: str
    default: gthread
  limit_mib:
    description: What one slot of the app may use at most, in MiB. By default there is no limit.
    type: int
"""

EXAMPLES = r"""
workers: "{{ ansible_facts | flask_ops.production.gunicorn_workers(apps=2) }}"
# On a host with 2 processors and 4096 MiB: 3
"""

RETURN = r"""
_value:
  description: The number of workers.
  type: int
"""

from ansible.errors import AnsibleFilterError
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.worker_sizing import WORKER_MIB, workers


def gunicorn_workers(facts, apps=1, worker_mib=WORKER_MIB, worker_class="gthread", limit_mib=None):
    try:
        cpus, memory_mib = int(facts["processor_vcpus"]), int(facts["memtotal_mb"])
        return workers(cpus, memory_mib, int(apps), int(worker_mib), worker_class, limit_mib)
    except KeyError as error:
        raise AnsibleFilterError(f"gunicorn_workers: the fact {error} has not been gathered") from error
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"gunicorn_workers: {error}") from error


class FilterModule:
    def filters(self):
        return {"gunicorn_workers": gunicorn_workers}

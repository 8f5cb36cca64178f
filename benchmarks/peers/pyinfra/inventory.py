"""The host, as pyinfra wants to be told."""

import json
import os

told = json.loads(os.environ["BENCHMARK_HOST"])
host = [
    (
        told["address"],
        {
            "ssh_user": told["user"],
            "ssh_key": told["identity_file"],
            "ssh_known_hosts_file": told["known_hosts"],
            "ssh_strict_host_key_checking": "yes",
            "_sudo": True,
        },
    )
]

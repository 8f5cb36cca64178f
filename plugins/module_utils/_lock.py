# Copyright: the flask_ops.production authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One run at a time per app. A second one waits for the first, and gives up by naming it.

This module util is private to the collection.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import time
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._files import ensure_directory

LOCKS = "/run/flask-ops"


class LockedError(Exception):
    """Another run has not let go of the app in time. The message says whose it is."""


@contextlib.contextmanager
def lock(app: str, by: str, patience: float) -> t.Iterator[None]:
    """Hold an app's lock. The kernel lets go of it when the process ends, however that happens.

    :param by: who this is, for the next one to read.
    :param patience: seconds to wait for another run.
    """
    ensure_directory(LOCKS)
    path = os.path.join(LOCKS, f"{app}.lock")
    deadline = time.monotonic() + patience
    with open(path, "a+", encoding="utf-8") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    stream.seek(0)
                    holder = stream.read().strip() or "somebody who did not say so"
                    raise LockedError(
                        f"{app}: another run works on this app: {holder}. Waited {patience:g} s for {path}; nothing was "
                        "changed. Run again when it is done."
                    ) from None
                time.sleep(0.2)
        stream.truncate(0)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        stream.write(f"{by}, process {os.getpid()} on this host, since {now}\n")
        stream.flush()
        yield

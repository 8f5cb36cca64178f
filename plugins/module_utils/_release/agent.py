# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main process of a build unit: runs one command after another for the module, as the app's user.

This file is run by the host's Python in the unit. Requests and answers are JSON with a length before
it, on the socket that is standard input; a request may carry a file descriptor, the standard input of its command.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import typing as t

MAX_OUTPUT = 1 << 20
"""In bytes: how much of a command's output is passed on."""


def send(channel: socket.socket, message: t.Any, descriptor: int | None = None) -> None:
    content = json.dumps(message).encode()
    socket.send_fds(channel, [struct.pack("!I", len(content))], [] if descriptor is None else [descriptor])
    channel.sendall(content)


def receive(channel: socket.socket, most: int = 8 * MAX_OUTPUT) -> tuple[t.Any, int | None]:
    """Return a message and the descriptor that came with it. The other side is not trusted to send a sane length."""
    head, descriptors, _flags, _address = socket.recv_fds(channel, 4, 1)
    while head and len(head) < 4:
        head += channel.recv(4 - len(head))
    length = struct.unpack("!I", head)[0] if head else 0
    if not 0 < length <= most:
        raise EOFError
    content = b""
    while len(content) < length:
        part = channel.recv(length - len(content))
        if not part:
            raise EOFError
        content += part
    return json.loads(content), descriptors[0] if descriptors else None


def execute(request: dict[str, t.Any], stdin: int | None) -> dict[str, t.Any]:
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        # Files and not pipes: what the command leaves running may hold them open.
        try:
            process = subprocess.Popen(
                request["argv"],
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=stdout,
                stderr=stderr,
                env=request["env"],
                cwd=request["cwd"],
                umask=0o022,
                start_new_session=True,
            )
        except OSError as error:
            missing = error.errno == errno.ENOENT
            return {"missing": missing, "status": 126, "stdout": "", "stderr": os.strerror(error.errno or 0)}
        try:
            status: int | None = process.wait(request["timeout"])
        except subprocess.TimeoutExpired:
            status = None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return {"missing": False, "status": status, "stdout": tail(stdout), "stderr": tail(stderr)}


def tail(stream: t.IO[bytes]) -> str:
    stream.seek(max(0, stream.seek(0, os.SEEK_END) - MAX_OUTPUT))
    return stream.read().decode("utf-8", "replace")


def read(request: dict[str, t.Any]) -> dict[str, t.Any]:
    """The text of a regular file. An error names any other kind: a source may hold links, pipes and endless files."""
    try:
        descriptor = os.open(request["read"], os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return {"text": None}
    except OSError as error:
        return {"problem": os.strerror(error.errno or 0)}
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return {"problem": "it is not a file"}
        content = b""
        while len(content) <= MAX_OUTPUT and (part := os.read(descriptor, MAX_OUTPUT)):
            content += part
    finally:
        os.close(descriptor)
    if len(content) > MAX_OUTPUT:
        return {"problem": "it is larger than 1 MiB"}
    return {"text": content.decode("utf-8", "replace")}


def main() -> None:
    channel = socket.socket(fileno=os.dup(0))
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            request, stdin = receive(channel)
            try:
                send(channel, read(request) if "read" in request else execute(request, stdin))
            finally:
                if stdin is not None:
                    os.close(stdin)

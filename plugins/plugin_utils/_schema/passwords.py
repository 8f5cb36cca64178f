# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hashes of passwords, made by ansible-core or by the libraries that it uses on the controller.

This plugin util is private to the collection.
"""

from __future__ import annotations

import hmac
import re
import typing as t

from ansible.errors import AnsibleError
from ansible.utils.encrypt import do_encrypt

BCRYPT = re.compile(r"\$(2[aby])\$(0[4-9]|1[0-5])\$([./A-Za-z0-9]{22})[./A-Za-z0-9]{31}")

WAY_OUT = (
    "install libpass and bcrypt for the Python of ansible-core on the controller (pip install libpass bcrypt), use "
    "ansible-core 2.21 or newer, which needs neither, or give hashes"
)


class HashError(Exception):
    """The controller cannot hash a password. The message does not contain it."""


def hashed(password: str, algorithm: str, **options: t.Any) -> str:
    try:
        return str(do_encrypt(password, algorithm, **options))
    except (AnsibleError, AttributeError, ImportError, RuntimeError, TypeError, ValueError) as error:
        # Whatever a library says, it may quote the password.
        raise HashError(f"the controller cannot make {algorithm} hashes ({type(error).__name__}): {WAY_OUT}") from None


def bcrypt_hash(password: str, stored: str | None) -> str:
    """A bcrypt hash of a password: the stored one, where it fits."""
    found = BCRYPT.fullmatch(stored or "")
    if stored and found:
        ident, rounds, salt = found.groups()
        again = hashed(password, "bcrypt", salt=salt, rounds=int(rounds), ident=ident)
        if hmac.compare_digest(again.encode(), stored.encode()):
            return stored
    return hashed(password, "bcrypt", rounds=12, ident="2b")


def hash_errors(places: list[str], algorithm: str, page: str, **options: t.Any) -> list[str]:
    """An error for each place with a password that is given as such, on a controller that cannot hash it.

    :param page: the page of the documentation about it.
    """
    try:
        if places:
            hashed("a text to try it with", algorithm, **options)
    except HashError as error:
        return [f"{place}: {error}; see {page}" for place in places]
    return []

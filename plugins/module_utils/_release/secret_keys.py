# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with an app's secret key: a placeholder, too short, or in the source.

The app's own Python runs this file as a part of the pre-flight's program (see :mod:`probe`): it uses the standard
library alone.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import sys
import typing as t

PLACEHOLDERS = re.compile(
    # Words that stand in documentation and templates where a key should be.
    "secret|changeme|changethis|changeit|changein|changebefore|replaceme|replacethis|replacewith|insecure|placeholder|"
    "password|passwort|default|development|production|example|neverguess|hardtoguess|nottelling|tutorial|keyhere|"
    "mykey|yourkey|testkey|devkey|mustbechanged|precious|qwerty|letmein|topsecret|geheim|supersecure|notsecure|unsafe|"
    "randomstring|randomkey|complexrandom|securerandom|longrandom|temporary"
)

VOCABULARY = sorted(
    # A key of nothing but these words and a few digits is one that others have, too.
    "secret secrets key keys my your our the this is a an i it its in of on to for and or with by as at be not no so "
    "very super ultra mega top really most more some any changeme change me please replace value string random here "
    "enter insert put set use used using must should will would you never guess guessed guessing hard easy difficult "
    "impossible dev devel development develop developer prod production test tests testing tester debug debugging "
    "default example sample demo tutorial placeholder insecure secure security safe unsafe local localhost only "
    "flask django quart fastapi python app apps application web website site server session sessions cookie token jwt "
    "csrf crypt crypto encryption pass password passwd passphrase admin administrator root user guest foo bar baz "
    "qux spam eggs hello world abc abcdef xyz qwerty qwertz asdf asdfgh zxcvbn letmein todo fixme xxx long complex "
    "strong unique precious temporary temp tmp before after deploy deploying deployment do dont forget shh shhh sh "
    "whatever something anything nothing nobody knows know blah bla stuff thing things magic monkey dragon master "
    "geheim geheime schluessel passwort ein mein supersafe real own new old first blog shop store microblog todo "
    "project work in env environment config configuration setting settings that can cannot cant if else but was "
    "sure make made than at least characters chars bytes bit bits generate generated from open ssl rand hex "
    "uuid now later one two three four five six seven eight nine ten zero auth api service notsecret tell told "
    "telling wont find out what who why how ever all always just like think thats".split(),
    key=len,
    reverse=True,
)

PUBLIC_KEYS: tuple[str | bytes, ...] = (
    # Keys in documentation, courses and well-known projects that look random.
    b'_5#y2L"F4Q8z\n\xec]/',
    '_5#y2L"F4Q8z\n\xec]/',
    "192b9bdd22ab9ed4d12e236c78afcb9a393ec15f71bbf5dc987d54727823bcbf",
    "A0Zr98j/3yX R~XHH!jmN]LWX/,?RT",
    b'\xfd{H\xe5<\x95\xf9\xe3\x96.5\xd1\x01O<!\xd5\xa2\xa0\x9fR"\xa1\xa8',
    "5791628bb0b13ce0c676dfde280ba245",
    "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
    "\\2\\1thisismyscretkey\\1\\2\\e\\y\\y\\h",
    "\2\1thisismyscretkey\1\2\\e\\y\\y\\h",
    "c292a0a3aa32397cdb050e233733900f",
    "f3cfe9ed8fae309f02079dbf",
    "9OLWxND4o83j4K4iuopO",
)

SKIPPED = frozenset((".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".mypy_cache"))
"""Directories in which nobody looks for a key."""

MAX_FILES, MAX_FILE_SIZE, MAX_BYTES = 20_000, 1_000_000, 64_000_000
"""How much of the source is searched for a key."""


def unused_keys(key: t.Any, request: dict[str, t.Any]) -> list[str]:
    """The variables that were provided to be the key, if the app has another one."""
    names = ("SECRET_KEY", "FLASK_SECRET_KEY", "QUART_SECRET_KEY", "DJANGO_SECRET_KEY", "APP_SECRET_KEY")
    provided = {name: os.environ[name] for name in request["given"] if name in names and name in os.environ}
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        with open(f"{os.environ['CREDENTIALS_DIRECTORY']}/secrets.json", encoding="utf-8") as stream:
            held = json.load(stream)
        provided |= {name: held[name] for name in names if name in held}
    if not provided or not key:
        return []
    values = set()
    for value in provided.values():
        values.add(value)
        with contextlib.suppress(ValueError, TypeError):
            values.add(str(json.loads(value)))
    return [] if as_text(key) in values else sorted(provided)


def as_text(key: t.Any) -> str:
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)


def key_report(key: t.Any, request: dict[str, t.Any]) -> dict[str, t.Any]:
    """What is wrong with a key: never the key."""
    if not isinstance(key, (str, bytes)) or not key:
        return {"length": 0, "weak": "", "source": ""}
    weak = weakness(as_text(key))
    return {
        "length": len(key),
        "weak": weak,
        "source": "" if weak else file_with_key(source_directories(request["wsgi"]), key),
    }


def weakness(key: str) -> str:
    """Why others could know or guess a key; empty if nothing speaks against it."""
    folded = normalized(key)
    if folded in {normalized(as_text(published)) for published in PUBLIC_KEYS}:
        return "known"
    for text in (folded, normalized(key, leet=True)):
        if made_of_words(text):
            return "known"
        rest = PLACEHOLDERS.sub("", text)
        if rest != text and len(rest) < 16:
            return "known"
    if key.startswith("django-insecure-"):
        return "known"
    if len(key) < 16:
        return "short"
    if len(set(folded)) < 6 and len(set(key)) < 6:
        return "monotonous"
    if key in (key + key)[1:-1] or is_sequence(folded):
        return "monotonous"
    return ""


def normalized(key: str, leet: bool = False) -> str:
    """Letters and digits alone, in lower case; with ``leet`` also what people write for letters."""
    text = key.lower()
    if leet:
        text = text.translate(str.maketrans("0134578@$!", "oieastbasi"))
    return re.sub(r"[\W_]", "", text)


def made_of_words(text: str) -> bool:
    """Whether a text is words of the vocabulary from end to end, and few digits.

    >>> made_of_words("mysupersecretkey123"), made_of_words("kx8qz2")
    (True, False)
    """
    digits = sum(letter.isdigit() for letter in text)
    if not text or digits * 5 > len(text) * 2:
        return False
    reached = {0}
    for start in range(len(text)):
        if start in reached:
            if text[start].isdigit():
                reached.add(start + 1)
            reached.update(start + len(word) for word in VOCABULARY if text.startswith(word, start))
    return len(text) in reached


def is_sequence(text: str) -> bool:
    """Whether most characters follow the one before them, as in an alphabet or in a row of digits."""
    steps = sum(ord(after) - ord(before) in (1, -1) for before, after in itertools.pairwise(text))
    return len(text) > 3 and steps * 5 > len(text) * 4


def source_directories(wsgi: str) -> list[str]:
    """The directory of the app's source, and, of an app that is a package, where that is installed."""
    package = wsgi.partition(":")[0].partition(".")[0]
    file = os.path.realpath(getattr(sys.modules.get(package), "__file__", None) or "")
    directory = os.getcwd()
    installed = file.endswith("/__init__.py") and not file.startswith(directory + os.sep)
    return [directory, os.path.dirname(file)] if installed else [directory]


def file_with_key(places: list[str], key: str | bytes) -> str:
    """The file of the source that holds the key as it is, or as Python writes it; empty if there is none."""
    written = {repr(key), ascii(key)} if isinstance(key, str) else {repr(key)[1:]}
    forms = {text[1:-1].encode() for text in written}
    forms.add(key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key)
    files = read = 0
    for root in places:
        for top, directories, names in os.walk(root):
            directories[:] = [name for name in directories if name not in SKIPPED]
            for name in names:
                files += 1
                if files > MAX_FILES or read > MAX_BYTES:
                    return ""
                path = os.path.join(top, name)
                with contextlib.suppress(OSError):
                    if os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > MAX_FILE_SIZE:
                        continue
                    with open(path, "rb") as stream:
                        content = stream.read()
                    read += len(content)
                    if any(form in content for form in forms):
                        return os.path.relpath(path, root)
    return ""

# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pre-flight: what an app says of itself when it is imported, and whether it may go live like that.

This module util is private to the collection. The program that imports the app is :mod:`_probe`.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._host.command import both_ends
from ansible_collections.flask_ops.production.plugins.module_utils._host.files import State
from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App

SHORTEST_LIMIT = 120
"""Seconds that an app may take to be imported, however short its health check's deadline is."""

FINDINGS = (
    "debug_mode", "werkzeug_debugger", "no_secret_key", "weak_secret_key", "secret_key_in_source", "short_secret_key",
    "unused_secret_key", "unread_settings", "insecure_cookie", "cookie_without_httponly", "cookie_without_samesite",
    "no_proxy_fix", "static_url",
)  # fmt: skip
"""What ``accept_insecure`` may name."""


class Finding(t.NamedTuple):
    """Something that is not as it should be in production."""

    name: str
    text: str
    stops: bool = False
    """Whether it stops a release, unless the user accepts it."""

    def __str__(self) -> str:
        return f"{self.text} [{self.name}]"


def limit(app: App) -> int:
    return max(SHORTEST_LIMIT, app.deadline)


def request(app: App) -> dict[str, t.Any]:
    """What the probe is asked, as its argument: no value of a setting."""
    return {"wsgi": app.wsgi, "limit": limit(app), "given": sorted(app.given)}


# --- an app that cannot be imported ----------------------------------------------------------------------------------


def explain(app: App, told: dict[str, t.Any]) -> str:
    """Why the app cannot be served; empty if it can."""
    failed = told.get("failure")
    reason = _explained(app, failed) if failed else _wrong_interface(app, told)
    if not reason:
        return ""
    printed = both_ends(told.get("output", ""), 5, 15) if failed else ""
    return masked(f"{reason}\nIt printed:\n{printed}" if printed else reason, secret_values(app))


def _explained(app: App, failed: dict[str, t.Any]) -> str:
    place = f'wsgi: "{app.wsgi}"'
    module = app.wsgi.partition(":")[0]
    lines = "\n".join(failed.get("lines", []))
    quoted = f":\n{lines}" if lines else "."
    where = _where(failed.get("where", ""))
    kind = failed["kind"]
    if kind == "name":
        return f"{place} names '{failed['name']}', which the module {module} does not have.{_meant(module, failed)}"
    if kind == "type":
        return f"{place} is of type {failed['type']}, and no application.{_meant(module, failed)}"
    if kind == "server":
        return (
            f"{place} starts a server of its own while it is imported{quoted}\n"
            "=> put that call below 'if __name__ == \"__main__\":', or take it out."
        )
    if kind == "exit":
        return f"{place} ended the process with status {failed['status']} while it was imported (sys.exit or os._exit){quoted}"
    if kind == "signal":
        return f"{place} died by signal {failed['signal']} while it was imported.{where}"
    if kind == "timeout":
        return (
            f"{place} was not imported within {failed['limit']} seconds.{where}\n"
            f"=> for an app that needs longer, raise health.deadline (now {app.deadline})."
        )
    return f"{place} cannot be imported{quoted}{_other_module(app.wsgi, failed)}"


def _meant(module: str, failed: dict[str, t.Any]) -> str:
    found = [f'"{module}:{name}"' for name in failed["candidates"]]
    return f"\n=> set wsgi: {' or '.join(found)}." if found else ""


def _other_module(wsgi: str, failed: dict[str, t.Any]) -> str:
    """Advice where the module that ``wsgi`` names is not there."""
    name, _colon, rest = wsgi.partition(":")
    missing = failed.get("module")
    if not missing or not (name == missing or name.startswith(f"{missing}.")):
        return ""
    top = name.partition(".")[0]
    there = failed.get("modules", [])
    if f"src/{top}" in there:
        return f"\n=> the source has src/{top}: its pyproject.toml must make it a package, and be what is installed."
    close = difflib.get_close_matches(top, there, 3)
    if close and top not in there:
        return f'\n=> the source has {", ".join(close)}: set wsgi: "{close[0]}:{rest}".'
    return f"\n=> the source has {', '.join(there) or 'no module'} at its top." if top not in there else ""


def _where(dump: str) -> str:
    """The app's frames in what faulthandler wrote: of the main thread, which comes last."""
    threads = re.split(r"^(?=(?:Current t|T)hread )", dump, flags=re.MULTILINE)
    current = next((text for text in threads if text.startswith("Current thread")), threads[-1])
    frames = [line for line in current.splitlines() if line.startswith("  File ") and '"<' not in line]
    frames = [line for line in frames if "/importlib/__init__.py" not in line][:8]
    return "\nIt was here, the innermost call first:\n" + "\n".join(frames) if frames else ""


def _wrong_interface(app: App, told: dict[str, t.Any]) -> str:
    spoken, place = told.get("interface"), f'wsgi: "{app.wsgi}"'
    if spoken == "factory":
        made = f'"{app.wsgi}()"'
        return f"{place} is a function that makes the app, and no application.\n=> put parentheses behind it: wsgi: {made}."
    kind = {"fastapi": "FastAPI", "flask": "Flask"}.get(told.get("framework", ""), told.get("framework", "").title())
    described = f"{kind}, " if kind else ""
    serves_asgi = app.server == "gunicorn" and app.worker_class == "asgi"
    if spoken == "asgi" and not serves_asgi:
        chosen = "server: waitress" if app.server == "waitress" else f"worker_class: {app.worker_class}"
        return f"{place} is an ASGI app ({described}which {chosen} cannot serve).\n=> set worker_class: asgi."
    if spoken == "wsgi" and serves_asgi:
        return (
            f"{place} is a WSGI app ({described}which worker_class: asgi cannot serve).\n"
            "=> leave worker_class out, or wrap the app in asgiref.wsgi.WsgiToAsgi."
        )
    return ""


# --- an app that is not safe to serve -----------------------------------------------------------------------------------


def judge(app: App, told: dict[str, t.Any]) -> list[Finding]:
    """What is unsafe, and what is unwise, each with its remedy."""
    found: list[Finding] = []
    if "DebuggedApplication" in told.get("middleware", ()):
        found.append(
            Finding(
                "werkzeug_debugger",
                "Werkzeug's debugger is mounted, which runs code for every visitor; take it out.",
                stops=True,
            )
        )
    if "key" in told:
        found += [*_debug(told), *_keys(told), *_cookies(told), *_proxy(told), *_unread(told), *_static(app, told)]
    return [finding for finding in found if finding.name not in app.accept_insecure]


def _name(told: dict[str, t.Any]) -> str:
    return {"flask": "Flask", "quart": "Quart", "django": "Django"}[told["framework"]]


def _prefix(told: dict[str, t.Any]) -> str:
    return told["framework"].upper()


def _debug(told: dict[str, t.Any]) -> t.Iterator[Finding]:
    if told["debug"]:
        yield Finding(
            "debug_mode",
            f"{_name(told)}'s debug mode is on, which shows the app's insides to every visitor; take it out of the app's settings.",
            stops=True,
        )


def _keys(told: dict[str, t.Any]) -> t.Iterator[Finding]:
    key, unused = told["key"], told["unused_keys"]
    if _prefix(told) == "DJANGO":
        remedy = "Give it a random one in 'secrets', which settings.py reads from os.environ."
    else:
        remedy = (
            f"Give it {_prefix(told)}_SECRET_KEY in 'secrets' (secrets.token_urlsafe() makes a good one), which the app "
            "reads by app.config.from_prefixed_env()."
        )
    if unused:
        reads = "call app.config.from_prefixed_env() after the app's own settings"
        if _prefix(told) == "QUART" and "QUART_SECRET_KEY" not in unused:
            reads = "Quart reads QUART_SECRET_KEY, by app.config.from_prefixed_env()"
        if _prefix(told) == "DJANGO":
            reads = "have settings.py read it from os.environ"
        remedy = f"{' and '.join(unused)} is given, but the app uses another SECRET_KEY: {reads}."
    if not key["length"]:
        yield Finding(
            "no_secret_key",
            f"It has no SECRET_KEY, and sessions will fail. {remedy} An app without sessions can be released as it is.",
            stops=True,
        )
        return
    bad = _bad_key("its SECRET_KEY", key, remedy)
    yield from bad
    for fallback in told["fallback_keys"]:
        yield from _bad_key(
            "a key in its SECRET_KEY_FALLBACKS", fallback, "Sessions signed by it are still accepted: take it out."
        )
    if unused and not bad:
        yield Finding("unused_secret_key", remedy)


def _bad_key(which: str, key: dict[str, t.Any], remedy: str) -> list[Finding]:
    forged = f"Who knows it can forge any session. {remedy}"
    if key["weak"] == "known":
        return [
            Finding(
                "weak_secret_key",
                f"{which} is a placeholder that documentation, tutorials or templates show. {forged}",
                stops=True,
            )
        ]
    if key["weak"] == "short":
        return [
            Finding(
                "weak_secret_key", f"{which} has {key['length']} characters, and can be guessed. {forged}", stops=True
            )
        ]
    if key["weak"] == "monotonous":
        return [
            Finding("weak_secret_key", f"{which} repeats a few characters, and can be guessed. {forged}", stops=True)
        ]
    if key["source"]:
        return [Finding("secret_key_in_source", f"{which} is in the source, in {key['source']}. {forged}", stops=True)]
    if 0 < key["length"] < 22:
        return [Finding("short_secret_key", f"{which} has {key['length']} characters; 22 random ones are the least.")]
    return []


def _cookies(told: dict[str, t.Any]) -> t.Iterator[Finding]:
    settings = told["settings"]

    def how(setting: str) -> str:
        # Flask's settings are in every app's environment; another framework needs its own.
        return f"; set env: {{QUART_{setting}}}" if told["framework"] == "quart" else ""

    if settings["SESSION_COOKIE_SECURE"] is not True:
        yield Finding(
            "insecure_cookie",
            "SESSION_COOKIE_SECURE is not on: a session would also be sent without encryption"
            f"{how('SESSION_COOKIE_SECURE: true')}.",
        )
    if settings["SESSION_COOKIE_HTTPONLY"] is not True:
        yield Finding(
            "cookie_without_httponly",
            "SESSION_COOKIE_HTTPONLY is not on: scripts in a page can read the session"
            f"{how('SESSION_COOKIE_HTTPONLY: true')}.",
        )
    if settings["SESSION_COOKIE_SAMESITE"] not in ("Lax", "Strict"):
        yield Finding(
            "cookie_without_samesite",
            "SESSION_COOKIE_SAMESITE is neither Lax nor Strict: other sites can use a visitor's session"
            f"{how('SESSION_COOKIE_SAMESITE: Lax')}.",
        )
    if settings.get("CSRF_COOKIE_SECURE") is False:
        yield Finding(
            "insecure_cookie", "CSRF_COOKIE_SECURE is not on: the cookie would also be sent without encryption."
        )


def _proxy(told: dict[str, t.Any]) -> t.Iterator[Finding]:
    if told["framework"] == "flask" and "ProxyFix" not in told["middleware"]:
        yield Finding(
            "no_proxy_fix",
            "it does not use werkzeug's ProxyFix (x_for=1, x_proto=1, x_host=1), and takes every visitor for nginx.",
        )
    if told["framework"] == "django" and not told["settings"].get("SECURE_PROXY_SSL_HEADER"):
        yield Finding(
            "no_proxy_fix",
            'SECURE_PROXY_SSL_HEADER is not ("HTTP_X_FORWARDED_PROTO", "https"): Django takes every request for an unencrypted one.',
        )


def _unread(told: dict[str, t.Any]) -> t.Iterator[Finding]:
    names = told.get("unread")
    if names:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        yield Finding(
            "unread_settings",
            f"{shown} {'is' if len(names) == 1 else 'are'} given, but the app does not read "
            f"{'it' if len(names) == 1 else 'them'}: call app.config.from_prefixed_env().",
        )


def _static(app: App, told: dict[str, t.Any]) -> t.Iterator[Finding]:
    """A path of static files under which the app does not look for them."""
    served = [(folder, url) for folder, url in told.get("static", ()) if folder]
    if not app.static_path or not served:
        return
    # A folder within the source is relative to its top; one of an installed package is the same by its end.
    end = "/" + "/".join(app.static_path.split("/")[-2:])
    of_ours = [
        url for folder, url in served if folder == app.static_path or (folder[0] == "/" and folder.endswith(end))
    ]
    if of_ours and app.static_url not in of_ours:
        yield Finding(
            "static_url",
            f"static.url is {app.static_url}, but the app's pages refer to {app.static_path} as {' and '.join(of_ours)}: "
            f"nginx serves none of those files. Set static.url: {of_ours[0]}",
        )
    elif not of_ours and app.static_url in [url for _folder, url in served]:
        folder = {url: folder for folder, url in reversed(served)}[app.static_url]
        yield Finding(
            "static_url",
            f"nginx serves {app.static_url} from static.path, {app.static_path}, but the app's files for it are in {folder}.",
        )


def secret_values(app: App) -> list[str]:
    """The values that must not be shown, from the files that the app gets them from."""
    environment = State.read(app.environment_file).content.decode() if app.environment_file else ""
    found = re.findall(r'^(\w+)="((?:[^"\\]|\\.)*)"$', environment, re.MULTILINE | re.DOTALL)
    values = [re.sub(r"\\(.)", r"\1", quoted) for name, quoted in found if name in app.secret_names]
    for name, text in app.credentials().items():
        values.append(text.strip())
        # Of a file in JSON, the app prints one of its values rather than a line. Short ones of others are no secrets.
        with contextlib.suppress(ValueError):
            values += [value for value in leaves(json.loads(text)) if name == "secrets.json" or len(value) > 16]
    # Of a value of several lines, each by itself.
    return values + [line for value in values for line in value.splitlines() if len(line) > 16]


def leaves(value: t.Any) -> list[str]:
    """The values in what JSON describes, as texts.

    >>> leaves({"a": ["b", 1], "c": {"d": "e"}})
    ['b', '1', 'e']
    """
    if isinstance(value, (dict, list)):
        inner = value.values() if isinstance(value, dict) else value
        return [leaf for part in inner for leaf in leaves(part)]
    return [str(value)]


def masked(text: str, values: t.Iterable[str]) -> str:
    """A text without the values of secrets.

    >>> masked("cannot connect to db://me:geheimnis@db/", ["geheimnis"])
    'cannot connect to db://me:***@db/'
    """
    for value in sorted(filter(lambda value: len(value) >= 6, values), key=len, reverse=True):
        text = text.replace(value, "***")
    return text

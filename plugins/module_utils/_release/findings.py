# Copyright: the flask_ops.production authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is unsafe or unwise in the settings of an app, each with its remedy."""

from __future__ import annotations

import typing as t

from ansible_collections.flask_ops.production.plugins.module_utils._release.app import App

FINDINGS = (
    "debug_mode", "werkzeug_debugger", "no_secret_key", "weak_secret_key", "secret_key_in_source", "short_secret_key",
    "unused_secret_key", "unread_settings", "insecure_cookie", "cookie_without_httponly", "cookie_without_samesite",
    "no_proxy_fix", "static_url",
)  # fmt: skip
"""What ``accept_insecure`` may name."""


MIN_KEY_LENGTH = 22

WEAK_KEYS = {
    "known": "is a placeholder that documentation, tutorials or templates show",
    "short": "has {length} characters, and can be guessed",
    "monotonous": "repeats a few characters, and can be guessed",
}
"""By the weakness that the probe reports."""

COOKIES = (
    # The setting, the name of the finding, the problem, and a good value.
    ("SESSION_COOKIE_SECURE", "insecure_cookie", "is not on: a session would also be sent without encryption", "true"),
    ("SESSION_COOKIE_HTTPONLY", "cookie_without_httponly", "is not on: scripts in a page can read the session", "true"),
    (
        "SESSION_COOKIE_SAMESITE",
        "cookie_without_samesite",
        "is neither Lax nor Strict: other sites can use a visitor's session",
        "Lax",
    ),
)


class Finding(t.NamedTuple):
    """Something that is not as it should be in production."""

    name: str
    text: str
    stops: bool = False
    """Whether it stops a release, unless the user accepts it."""

    def __str__(self) -> str:
        return f"{self.text} [{self.name}]"


def evaluate(app: App, report: dict[str, t.Any]) -> list[Finding]:
    """What is unsafe, and what is unwise, each with its remedy."""
    found: list[Finding] = []
    if "DebuggedApplication" in report.get("middleware", ()):
        found.append(
            Finding(
                "werkzeug_debugger",
                "Werkzeug's debugger is mounted, which runs code for every visitor; take it out.",
                stops=True,
            )
        )
    if "key" in report:
        found += [
            *_debug(report),
            *_keys(report),
            *_cookies(report),
            *_proxy(report),
            *_unread(report),
            *_static(app, report),
        ]
    return [finding for finding in found if finding.name not in app.accept_insecure]


def _name(report: dict[str, t.Any]) -> str:
    return {"flask": "Flask", "quart": "Quart", "django": "Django"}[report["framework"]]


def _prefix(report: dict[str, t.Any]) -> str:
    return report["framework"].upper()


def _debug(report: dict[str, t.Any]) -> t.Iterator[Finding]:
    if report["debug"]:
        yield Finding(
            "debug_mode",
            f"{_name(report)}'s debug mode is on, which shows the app's internals to every visitor; remove it from the app's settings.",
            stops=True,
        )


def _keys(report: dict[str, t.Any]) -> t.Iterator[Finding]:
    key, unused = report["key"], report["unused_keys"]
    if _prefix(report) == "DJANGO":
        remedy = "Give it a random one in 'secrets', which settings.py reads from os.environ."
    else:
        remedy = (
            f"Give it {_prefix(report)}_SECRET_KEY in 'secrets' (secrets.token_urlsafe() makes a good one), which the app "
            "reads by app.config.from_prefixed_env()."
        )
    if unused:
        reads = "call app.config.from_prefixed_env() after the app's own settings"
        if _prefix(report) == "QUART" and "QUART_SECRET_KEY" not in unused:
            reads = "Quart reads QUART_SECRET_KEY, by app.config.from_prefixed_env()"
        if _prefix(report) == "DJANGO":
            reads = "have settings.py read it from os.environ"
        remedy = f"{' and '.join(unused)} is given, but the app uses another SECRET_KEY: {reads}."
    if not key["length"]:
        yield Finding(
            "no_secret_key",
            f"It has no SECRET_KEY, and sessions will fail. {remedy} An app without sessions can be released as it is.",
            stops=True,
        )
        return
    problems = _key_problems("its SECRET_KEY", key, remedy)
    yield from problems
    for fallback in report["fallback_keys"]:
        yield from _key_problems(
            "a key in its SECRET_KEY_FALLBACKS", fallback, "Sessions signed by it are still accepted: take it out."
        )
    if unused and not problems:
        yield Finding("unused_secret_key", remedy)


def _key_problems(which: str, key: dict[str, t.Any], remedy: str) -> list[Finding]:
    forged = f"Who knows it can forge any session. {remedy}"
    if key["weak"]:
        reason = WEAK_KEYS[key["weak"]].format(**key)
        return [Finding("weak_secret_key", f"{which} {reason}. {forged}", stops=True)]
    if key["source"]:
        return [Finding("secret_key_in_source", f"{which} is in the source, in {key['source']}. {forged}", stops=True)]
    if 0 < key["length"] < MIN_KEY_LENGTH:
        advice = f"use at least {MIN_KEY_LENGTH} random characters"
        return [Finding("short_secret_key", f"{which} has {key['length']} characters; {advice}.")]
    return []


def _cookies(report: dict[str, t.Any]) -> t.Iterator[Finding]:
    settings = report["settings"]
    for setting, name, problem, good in COOKIES:
        value = settings[setting]
        if not (value is True if good == "true" else value in ("Lax", "Strict")):
            # Flask's settings are in every app's environment; another framework needs its own.
            remedy = f"; set env: {{QUART_{setting}: {good}}}" if report["framework"] == "quart" else ""
            yield Finding(name, f"{setting} {problem}{remedy}.")
    if settings.get("CSRF_COOKIE_SECURE") is False:
        yield Finding(
            "insecure_cookie", "CSRF_COOKIE_SECURE is not on: the cookie would also be sent without encryption."
        )


def _proxy(report: dict[str, t.Any]) -> t.Iterator[Finding]:
    if report["framework"] == "flask" and "ProxyFix" not in report["middleware"]:
        yield Finding(
            "no_proxy_fix",
            "it does not use werkzeug's ProxyFix (x_for=1, x_proto=1, x_host=1), and sees nginx's address as the client address.",
        )
    if report["framework"] == "django" and not report["settings"].get("SECURE_PROXY_SSL_HEADER"):
        yield Finding(
            "no_proxy_fix",
            'SECURE_PROXY_SSL_HEADER is not ("HTTP_X_FORWARDED_PROTO", "https"): Django treats every request as unencrypted.',
        )


def _unread(report: dict[str, t.Any]) -> t.Iterator[Finding]:
    names = report.get("unread")
    if names:
        shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        yield Finding(
            "unread_settings",
            f"{shown} {'is' if len(names) == 1 else 'are'} given, but the app does not read "
            f"{'it' if len(names) == 1 else 'them'}: call app.config.from_prefixed_env().",
        )


def _static(app: App, report: dict[str, t.Any]) -> t.Iterator[Finding]:
    """A path of static files under which the app does not look for them."""
    served = [(folder, url) for folder, url in report.get("static", ()) if folder]
    if not app.static or not served:
        return
    path, url = app.static["path"], app.static["url"]
    # A folder within the source is relative to its top; one of an installed package is the same by its end.
    end = "/" + "/".join(path.split("/")[-2:])
    of_ours = [
        served_at for folder, served_at in served if folder == path or (folder[0] == "/" and folder.endswith(end))
    ]
    if of_ours and url not in of_ours:
        yield Finding(
            "static_url",
            f"static.url is {url}, but the app's pages refer to {path} as {' and '.join(of_ours)}: "
            f"nginx serves none of those files. Set static.url: {of_ours[0]}",
        )
    elif not of_ours and url in [served_at for _folder, served_at in served]:
        folder = {served_at: folder for folder, served_at in reversed(served)}[url]
        yield Finding(
            "static_url",
            f"nginx serves {url} from static.path, {path}, but the app's files for it are in {folder}.",
        )

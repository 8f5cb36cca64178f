"""What nginx would do, but not as it was meant: within one site, and between the apps that share it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.apps import prepare, variable_errors

from tests.unit.plugins.apps import app, errors_of

BOTH = ["shop.example.com", "www.example.com"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"domains": []}, "domains: must have at least one name; a good value is shop.example.com"),
        ({"domains": ["a.com", "a.com"]}, "domains[1]: 'a.com' is already flask_apps[0].domains[0]; "),
        ({"hsts": {"preload": True}}, "hsts.include_subdomains: browsers preload a name with all below it"),
        (
            {"hsts": {"preload": True, "include_subdomains": True, "max_age": 86400}},
            "hsts.max_age: browsers preload from 31536000 seconds on; a good value is 63072000",
        ),
        ({"csp_report_only": True}, "csp_report_only: needs csp; a good value is default-src"),
    ],
)
def test_what_does_not_go_together_is_refused(changes: dict[str, Any], expected: str):
    (error,) = errors_of(app(**changes))
    assert error.startswith(f"flask_apps[0].{expected}")


@pytest.mark.parametrize(
    ("locations", "changes", "expected"),
    [
        ([{"path": "/a"}, {"path": "/a"}], {}, "[1].path: '/a' has a location already"),
        ([{"path": "/static/"}], {"static": {"path": "s"}}, "[0].path: '/static/' has a location already"),
        ([{"path": "/s/"}], {"static": {"path": "s", "url": "/s/"}}, "[0].path: '/s/' has a location already"),
        ([{"path": "/a", "timeout": 20}], {}, "[0].timeout: nginx would give up after 20 seconds and gunicorn after 30; must"),
        ([{"path": "/a", "timeout": 59}], {"timeout": 60}, "[0].timeout: nginx would give up after 59 seconds and gunicorn after 60"),
        ([{"path": "/a", "redirect": "/b", "timeout": 60}], {}, "[0].redirect: goes with path alone"),
        ([{"path": "/a", "redirect": "/a"}], {}, "[0].redirect: /a to /a is a loop"),
        ([{"path": "/a", "redirect": "/a?b=c#d"}], {}, "[0].redirect: /a to /a is a loop"),
        ([{"path": "/a/", "redirect": "/a/b/"}], {}, "[0].redirect: /a/ to /a/ is a loop"),
        ([{"path": "/a/", "redirect": "/a/b"}], {}, "[0].redirect: /a/ to /a/ is a loop"),
        (
            [{"path": "/a", "redirect": "/b"}, {"path": "/b", "redirect": "/a"}], {},
            "[0].redirect: /a to /b to /a is a loop",
        ),
        (
            [{"path": "/a", "redirect": "http://www.example.com/a"}], {"domains": BOTH, "canonical_domain": True},
            "[0].redirect: /a to /a is a loop",
        ),
    ],
)  # fmt: skip
def test_locations_that_do_not_go_together_are_refused(locations: list[Any], changes: dict[str, Any], expected: str):
    (error,) = errors_of(app(locations=locations, **changes))
    assert error.startswith(f"flask_apps[0].locations{expected}")


@pytest.mark.parametrize(
    "changes",
    [
        {"acme": {"enabled": False}},
        {"hsts": {"preload": True, "include_subdomains": True}},
        {"hsts": {"max_age": 0}, "headers": {"X-Frame-Options": ""}},
        {"csp": "default-src 'self'", "csp_report_only": True, "canonical_domain": True},
        {"request_limits": {"rate": "10r/s", "connections": 5}, "basic_auth": {"alice": "correct horse battery"}},
        {"locations": [{"path": "/ws", "websocket": True}, {"path": "/old", "redirect": "https://a.example/b?c=d"}]},
        {
            "locations": [
                {"path": "/a", "redirect": "/a/"},
                {"path": "/b/", "redirect": "/a"},
                {"path": "/c", "redirect": "/c/d"},
            ]
        },
        {"locations": [{"path": "/a", "redirect": "https://other.example/a"}, {"path": "/d/", "redirect": "/d"}]},
        {"locations": [{"path": "/e/", "redirect": "/e/f/"}, {"path": "/e/f/", "timeout": 60}]},
    ],
)
def test_what_goes_together_is_not_refused(changes: dict[str, Any]):
    assert errors_of(app(**changes)) == []


# --- two apps on one domain -------------------------------------------------------------------------------------------


def admin(**changes: Any) -> dict[str, Any]:
    return app(name="admin-ui", path="/admin") | changes


@pytest.mark.parametrize("path", ["/admin", "/a/b"])
def test_apps_share_their_domains_by_path(path: str):
    assert errors_of(app(domains=BOTH), admin(path=path, domains=BOTH[::-1])) == []
    assert errors_of(admin(path=path), app(path="/")) == []
    assert errors_of(app(), admin(path=path), admin(name="deep", path=f"{path}/deep")) == []


@pytest.mark.parametrize("path", [None, "/"])
def test_two_apps_at_one_path_are_refused(path: str | None):
    (error,) = errors_of(app(), app(name="blog", path=path) if path else app(name="blog"))
    assert (
        "'shop.example.com' is already flask_apps[0].domains[0]; each app needs a domain or a path of its own" in error
    )
    (error,) = errors_of(app(), admin(), admin(name="blog"))
    assert error.startswith("flask_apps[2].domains[0]: 'shop.example.com/admin' is already flask_apps[1].domains[0]")


@pytest.mark.parametrize("root", [[], [app(state="absent")], [app(domains=["other.example.com"])]])
def test_a_path_needs_an_app_at_the_root_of_its_domains(root: list[dict[str, Any]]):
    (error,) = errors_of(admin(), *root)
    assert error.startswith("flask_apps[0].path: needs an app with the same domains and the path '/'")


def test_an_app_that_is_prepared_alone_needs_none_at_the_root():
    assert prepare([admin()], "flask_apps", ["nginx_proxy", "gunicorn_systemd", "python_app"], only="admin-ui")[2] == []
    alone = [{"name": "a1", "wsgi": "a:b", "domains": ["a.com"], "path": "/a"}]
    assert prepare(alone, "gunicorn_systemd_apps", ["gunicorn_systemd"])[2] == []


@pytest.mark.parametrize("domains", [["a.com"], ["a.com", "b.com", "c.com"], ["b.com", "c.com"]])
def test_apps_of_one_site_have_the_same_domains(domains: list[str]):
    (error,) = errors_of(app(domains=["a.com", "b.com"]), admin(domains=domains))
    assert error == "flask_apps[1].domains: must be those of flask_apps[0], since both are one site: a.com, b.com"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("certificate", {"fullchain": "/a.pem", "privkey": "/b.pem"}), ("acme", {"challenge": "dns-01"}),
        ("canonical_domain", True), ("default_site", True), ("hsts", {"max_age": 1}), ("snippet", "merge_slashes on;"),
    ],
)  # fmt: skip
def test_what_belongs_to_the_site_is_refused_for_an_app_at_a_path(option: str, value: Any):
    (error,) = errors_of(app(), admin(**{option: value}))
    assert error.startswith(
        f"flask_apps[1].{option}: has no effect with the path '/admin'; set it for the app that has"
    )
    assert errors_of(app(**{option: value}), admin()) == []


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"locations": [{"path": "/admin", "timeout": 60}]}, "locations[0].path: '/admin'"),
        (
            {"locations": [{"path": "/a", "timeout": 60}, {"path": "/admin/x/", "timeout": 60}]},
            "locations[1].path: '/admin/x/'",
        ),
        ({"static": {"path": "static", "url": "/admin/static/"}}, "static.url: '/admin/static/'"),
    ],
)
def test_a_path_within_that_of_another_app_is_refused(changes: dict[str, Any], place: str):
    (error,) = errors_of(app(**changes), admin())
    assert error.startswith(f"flask_apps[0].{place} belongs to flask_apps[1], whose path is '/admin'")


def test_a_path_within_an_app_begins_with_that_of_the_app():
    relative = [{"path": "/deep/x", "timeout": 60}]
    (error,) = errors_of(app(), admin(locations=relative), admin(name="deep", path="/admin/deep"))
    assert error.startswith("flask_apps[1].locations[0].path: '/admin/deep/x' belongs to flask_apps[2]")
    assert errors_of(app(locations=[{"path": "/administrator/", "timeout": 60}]), admin(static={"path": "s"})) == []
    assert (
        errors_of(app(static={"path": "s", "url": "/ad/"}), admin(locations=[{"path": "/admin/", "timeout": 60}])) == []
    )


def test_redirects_of_an_app_at_a_path_are_relative_to_it():
    for redirect in ("/a", "https://shop.example.com/admin/a"):
        (error,) = errors_of(app(), admin(locations=[{"path": "/a", "redirect": redirect}]))
        assert "redirect: /a to /a is a loop" in error
    assert errors_of(app(), admin(locations=[{"path": "/a", "redirect": "https://shop.example.com/a"}])) == []


def test_one_site_at_most_answers_clients_without_a_name():
    blog = {"name": "blog", "domains": ["blog.example.com"], "default_site": True}
    assert errors_of(app(default_site=True), app(**blog, state="absent")) == []
    (error,) = errors_of(app(default_site=True), app(**blog))
    assert error == "flask_apps[1].default_site: is already true in flask_apps[0].default_site; one site can have it"


@pytest.mark.parametrize(
    "ports", [{"http": 443}, {"https": 80}, {"http": 8080, "https": 8080}], ids=["http", "https", "both"]
)
def test_the_ports_must_differ_also_from_a_default(ports: dict[str, int]):
    variables = {f"nginx_proxy_{scheme}_port": port for scheme, port in ports.items()}
    (error,) = variable_errors(variables, ["nginx_proxy"])
    assert re.fullmatch(
        r"nginx_proxy_https_port: \d+ is also nginx_proxy_http_port; good values are 80, 443 and 9112", error
    )
    assert len(variable_errors({"nginx_proxy_status_port": 443}, ["nginx_proxy"])) == 1

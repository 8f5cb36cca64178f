"""What programs of other people say about nginx's configuration. See docs/nginx.md for what stays, and why."""

import pytest

from tests import graders

REASONED = {
    # What our `return` answers, for maintenance or for a path that is refused, holds nothing to protect.
    "return_bypasses_allow_deny",
    # `streaming: true` is this.
    "proxy_buffering_off",
}
"""Findings that stay, by plugin."""


@pytest.mark.parametrize("grader", ["gixy-ng", "gixy-next"])
def test_gixy_finds_nothing_in_the_configuration(host, tmp_path, grader):
    with host.sudo():
        # gixy takes the parameters of a grader for names of files, and knows no other way to get a dump.
        (tmp_path / "nginx.conf").write_text(host.check_output("nginx -T 2>/dev/null"))
    findings = graders.gixy(grader, tmp_path / "nginx.conf")
    assert [finding for finding in findings if finding["plugin"] not in REASONED] == []

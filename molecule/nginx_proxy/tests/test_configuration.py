"""What gixy finds in nginx's configuration. docs/nginx.md has the reason for the finding that is accepted."""

from tests import graders


def test_gixy_finds_nothing_in_the_configuration(host, tmp_path):
    with host.sudo():
        # gixy takes the parameters of a grader for names of files, and knows no other way to get a dump.
        (tmp_path / "nginx.conf").write_text(host.check_output("nginx -T 2>/dev/null"))
    findings = graders.gixy(tmp_path / "nginx.conf")
    assert [finding for finding in findings if finding["plugin"] != "return_bypasses_allow_deny"] == []

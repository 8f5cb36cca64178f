"""What holds on every host after every scenario, whatever the role."""

MARKER = "Managed by Ansible (flask_ops.production)"


def lines(host, command):
    """The lines a command prints; an exit code says nothing here (grep: 1 for no match)."""
    return host.run(command).stdout.splitlines()


def test_systemd_is_running_and_no_unit_failed(host):
    assert lines(host, "systemctl list-units --failed --plain --no-legend") == []
    assert host.check_output("systemctl is-system-running --wait") == "running"


def test_managed_files_belong_to_root(host):
    wrong = r"\( ! -user root -o -perm /022 \)"
    assert lines(host, f"grep -rlZIF '{MARKER}' /etc | xargs -0r -I@ find @ -maxdepth 0 {wrong}") == []


def test_secrets_are_for_root_only(host):
    wrong = r"\( ! -user root -o -perm /077 \)"
    secrets = r"\( -path '/etc/*/environment' -o -path '/etc/*/credentials/*' \)"
    assert lines(host, f"find /etc -mindepth 2 -type f {secrets} {wrong}") == []
    private_keys = "grep -rlZIE -e '^-----BEGIN ([A-Z]+ )*PRIVATE KEY' /etc"
    debians_samples = "! -path /etc/ssl/private/ssl-cert-snakeoil.key ! -path /etc/testssl/tls_data.txt"
    assert lines(host, f"{private_keys} | xargs -0r -I@ find @ -maxdepth 0 {wrong} {debians_samples}") == []


def test_nothing_is_writable_for_everybody(host):
    with host.sudo("nobody"):
        assert lines(host, "find /etc /srv -xdev ! -type l -writable 2>/dev/null") == []


def test_nothing_is_left_in_tmp(host):
    # namespace-dev-*: systemd 252 leaves it when a unit is stopped while its PrivateDevices= is being set up.
    systemds_own = r"! -name 'systemd-private-*' ! -name 'namespace-dev-*' ! -name '.*-unix'"
    assert lines(host, f"find /tmp -mindepth 1 -maxdepth 1 {systemds_own}") == []

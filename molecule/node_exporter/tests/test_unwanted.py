"""An upstream release in place of Debian's package, and exporters that are not wanted any more: after all else."""

import hashlib

testinfra_hosts = ["ansible://debian12"]


def test_an_archive_on_the_controller_is_unpacked_and_exporters_that_nobody_wants_stop(host, apply, metrics, tmp_path):
    packed = tmp_path / "node_exporter-1.99.0.tar.gz"
    with host.sudo():
        pack = "tar czf /root/packed --transform 's,.*,node_exporter-1/node_exporter,' -C /usr/bin prometheus-node-exporter"
        host.check_output(pack)
        packed.write_bytes(host.file("/root/packed").content)
    checksum = hashlib.sha256(packed.read_bytes()).hexdigest()
    changed = apply(
        node_exporter_version="1.99.0",
        node_exporter_archive=f"{tmp_path}/node_exporter-{{version}}.tar.gz",
        node_exporter_checksums={"amd64": checksum, "arm64": checksum},
        node_exporter_nginx=False,
        node_exporter_statsd="",
    )
    assert changed.status == 0, changed.output
    program = f"/opt/flask-ops/node_exporter-1.99.0-{checksum[:12]}/node_exporter"
    assert host.process.get(comm="node_exporter").args.startswith(program)
    found = metrics()
    assert found['flask_ops_app_healthy{app="shop"}'] == 1
    # Their last values do not stay for ever.
    assert not [name for name in found if name.startswith(("nginx_", "flask_ops_responses", "gunicorn_"))]
    for name in ("nginx-exporter.service", "access-log-exporter.service", "gunicorn-exporter.service"):
        assert not host.service(name).is_running
        assert not host.service(name).is_enabled
        assert host.service(name).systemd_properties["ActiveState"] == "inactive"
    assert not host.file("/etc/node-exporter/collectd.conf").exists

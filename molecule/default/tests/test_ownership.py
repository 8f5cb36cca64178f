"""What others have on the host under an app's name is neither changed nor removed."""

import pytest

SITE = "flask_ops.production.site"
UNIT = "/etc/systemd/system/sally-blue.service"
MADE = f"""
useradd --system --comment 'Sally,,,' --home-dir /home/sally sally
mkdir -p /srv/sally && echo hers > /srv/sally/diary
printf '[Service]\\nExecStart=/bin/true\\n' > {UNIT}
echo '# hers' > /etc/nginx/sites-enabled/sally.conf
"""
UNMADE = f"userdel sally; rm -r /srv/sally {UNIT} /etc/nginx/sites-enabled/sally.conf"


@pytest.fixture
def sally(host):
    with host.sudo():
        host.check_output(MADE)
        yield
        host.check_output(UNMADE)


@pytest.mark.usefixtures("sally")
@pytest.mark.parametrize("changes", [{}, {"state": "absent", "purge": True}], ids=["present", "absent"])
def test_names_that_others_have_are_refused_and_left_alone(host, play, apps, changes):
    entry = {**apps()[0], "name": "sally", "domains": ["sally.test.example"], **changes}
    refused = play(SITE, flask_apps=[*apps(), entry])
    assert refused.status != 0
    assert not refused.changed
    for thing in ("user or group 'sally'", "directory '/srv/sally'", "unit 'sally-blue.service'", "sally.conf'"):
        assert f"the host has the {thing}" in refused.output or f"{thing} already" in refused.output
    assert host.user("sally").home == "/home/sally"
    assert host.file("/srv/sally/diary").content_string == "hers\n"
    assert host.file(UNIT).contains("ExecStart=/bin/true")

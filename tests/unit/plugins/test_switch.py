"""The switch against a host in memory: what is in traffic at every moment, and what the next run makes of it."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.health import Health, check_app
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.outcome import DeployError, Outcome
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.slots import SLOTS, SlotApp, other_slot
from ansible_collections.flask_ops.production.plugins.module_utils._deploy.switch import Switch
from ansible_collections.flask_ops.production.plugins.module_utils._host.command import CommandError
from ansible_collections.flask_ops.production.plugins.module_utils._host.systemd import UNITS
from ansible_collections.flask_ops.production.plugins.module_utils._host.transaction import Entry, State
from ansible_collections.flask_ops.production.plugins.module_utils._metrics.deploys import deploys_by_app
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.unit.plugins.memory_host import InterruptedRun, MemoryHost

LINK = "/run/flask-ops/shop/current"
BOOT = "/etc/tmpfiles.d/flask-ops-shop.conf"


class FakeHost(MemoryHost):
    """A host with sockets, nginx and the links to slots and releases."""

    def __init__(self) -> None:
        super().__init__()
        self.active: set[str] = set()
        self.links: dict[str, str] = {}
        self.watch: Callable[[], None] = lambda: None
        # What goes wrong, by release; a release that is not mentioned answers 200.
        self.answers: dict[str, int | Exception] = {}
        self.ready_after: dict[str, float] = {}
        self.started: dict[str, float] = {}
        self.runs: dict[str, str] = {}  # by slot: the release that it was started with
        self.restarts_per_second = 0.0
        self.broken: dict[str, Exception] = {}  # by the first word of a change
        self.nginx: int | Exception | None = 200
        self.queue: list[int] = []
        self.versions = {"gunicorn": "27.0.1"}
        self.deploys: list[dict[str, Any]] = []
        self.cut = 0
        self.grace = 0.0
        self.asked: list[str] = []
        self.hung: set[str] = set()

    def change(self, words: str) -> None:
        super().change(words)
        for part, error in self.broken.items():
            if part in words:
                raise error

    def running(self, unit: str) -> bool:
        return unit in self.active

    def read(self, path: str) -> State:
        return State("link", target=self.links[path]) if path in self.links else super().read(path)

    def transaction(self, entries: list[Entry]) -> Any:
        return types.SimpleNamespace(clean=lambda: self.clean(entries))

    def write(self, entries: list[Entry]) -> None:
        for entry in entries:
            if not self.read(entry.dest).satisfies(entry):
                self.change(f"write {entry.dest}")
                self.write_in_memory(entry)
                self.watch()

    def remove(self, path: str) -> None:
        self.change(f"remove {path}")
        self.delete(path)
        for found in [known for known in self.links if f"{known}/".startswith(f"{path}/")]:
            del self.links[found]

    # --- asking ----------------------------------------------------------------------------------------------------

    def restarts(self, unit: str) -> int:
        return int(self.restarts_per_second * self.seconds)

    def stop_timeout(self, unit: str) -> float:
        found = re.search(rb"TimeoutStopSec=(\d+)", self.read(f"{UNITS}/{unit}").content)
        return float(found[1]) if found else 35

    def link_target(self, path: str) -> str | None:
        return self.links.get(path)

    def ask_socket(self, path: str, request: str, host: str, timeout: float) -> int:
        slot = Path(path).parent.name
        self.asked.append(path)
        if not self.serves(slot) or path in self.hung:
            raise ConnectionRefusedError("Connection refused")
        release = self.runs[slot]
        answer = self.answers.get(release, 200)
        if self.seconds - self.started[slot] < self.ready_after.get(release, 0):
            raise TimeoutError("timed out")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask_nginx(self, path: str, request: str, host: str, timeout: float) -> int | None:
        assert path == "/run/flask-ops/nginx/shop.sock"
        self.log.append("ask nginx")
        if isinstance(self.nginx, Exception):
            raise self.nginx
        return self.nginx

    def server_version(self, server: str, venv: str) -> str:
        return self.versions.get(server, "")

    def log_deploy(self, deploy: dict[str, Any]) -> None:
        if "log_deploy" in self.broken:
            raise self.broken["log_deploy"]
        self.deploys.append(deploy)

    def login(self) -> str:
        return "ops"

    def make_private(self, path: str) -> None:
        self.change(f"close {path}")

    def waiting(self, directory: str) -> int:
        self.log.append(f"drain {directory}")
        return self.queue.pop() if self.queue else 0

    # --- changing: one thing at a time, as the kernel and systemd do --------------------------------------------------

    def _each(self, verb: str, units: tuple[str, ...], act: Callable[[str], Any]) -> None:
        for unit in units:
            self.change(f"{verb} {unit}")
            act(unit)
            self.watch()

    def enable(self, *units: str) -> None:
        self._each("enable", units, self.enabled_units.add)
        self.load()

    def disable(self, *units: str) -> None:
        self._each("disable", units, self.enabled_units.discard)

    def start(self, *units: str) -> None:
        self._each("start", units, self._start)

    def _start(self, unit: str) -> None:
        path = f"{UNITS}/{unit}"
        assert self.loaded[path] == self.files[path], f"{unit} was started before systemd read its file"
        if unit not in self.active:
            self.active.add(unit)
            self._ran(slot_of(unit))

    def _ran(self, slot: str) -> None:
        self.started[slot] = self.seconds
        self.runs[slot] = self.loaded[f"{UNITS}/shop-{slot}.service"].content.decode().split()[-1]

    def start_by_hand(self, slot: str) -> None:
        self.active |= {f"shop-{slot}.socket", f"shop-{slot}.service"}
        self._ran(slot)

    def stop_after_requests(self, *units: str, sockets: str, grace: float) -> int:
        assert Path(sockets).name == slot_of(units[0])
        self._each("stop", units, self._stop)
        self.grace = grace
        return self.cut

    def _stop(self, unit: str) -> None:
        self.active.discard(unit)
        self.failed.discard(unit)

    def link(self, path: str, target: str) -> None:
        self.change(f"link {path} -> {target}")
        self.links[path] = target
        self.watch()

    # --- what the tests ask ------------------------------------------------------------------------------------------

    def serves(self, slot: str) -> bool:
        return {f"shop-{slot}.socket", f"shop-{slot}.service"} <= self.active

    def in_traffic(self) -> str | None:
        return self.links.get(LINK)

    def serving(self) -> str | None:
        """The release that answers, if any."""
        slot = self.in_traffic()
        return self.runs[slot] if slot and self.serves(slot) else None

    def reboot(self) -> None:
        """Every unit that is enabled runs, and /run holds what tmpfiles.d says."""
        self.links.pop(LINK, None)
        self.files.pop("/run/flask-ops/shop", None)
        self.load()
        self.active = set(self.enabled_units)
        self.started, self.runs = {}, {}
        for unit in self.active:
            self._ran(slot_of(unit))
        if BOOT in self.files:
            self.files["/run/flask-ops/shop"] = DIRECTORY
            self.links[LINK] = self.files[BOOT].content.decode().split()[-1]


def slot_of(unit: str) -> str:
    return unit.removesuffix(".socket").removesuffix(".service").removeprefix("shop-")


DIRECTORY = State("directory", mode=0o750, owner="root", group="www-data")


def shop(release: str = "r1", **overrides: Any) -> SlotApp:
    """An app with the files that the role gives it, as far as the switch cares."""

    def files(slot: str) -> list[Entry]:
        return [
            Entry("/run/flask-ops/shop", "directory", mode=0o750, group="www-data"),
            Entry(
                f"/etc/flask-ops/shop/{slot}/environment", content=f"TOKEN={release}".encode(), mode=0o600, secret=True
            ),
            Entry(f"{UNITS}/shop-{slot}.socket", content=f"the {slot} slot".encode()),
            Entry(f"{UNITS}/shop-{slot}.service", content=f"the {slot} slot serves {release}".encode()),
        ]

    described: dict[str, Any] = {
        "name": "shop",
        "host": "shop.example.com",
        "health": Health("/healthz", 200, interval=1, deadline=30),
        "release": f"/srv/shop/releases/{release}",
        "venv": f"/srv/shop/releases/{release}/venv",
        "release_link": "/srv/shop/current",
        "files": {slot: files(slot) for slot in SLOTS},
        "boot": {slot: Entry(BOOT, content=f"L+ {LINK} - - - - {slot}".encode()) for slot in SLOTS},
        "by": "me@laptop",
        "probe_socket": "/run/flask-ops/nginx/shop.sock",
    }
    return SlotApp(**(described | overrides))


def deploy(host: FakeHost, release: str = "r1", check_mode: bool = False, **overrides: Any) -> Outcome:
    host.log.clear()
    return Switch(shop(release, **overrides), host).run(check_mode)


def position(log: list[str], words: str) -> int:
    """Where a change happened; words that match none, or several, are a mistake in the test."""
    found = [number for number, line in enumerate(log) if words in line]
    assert len(found) == 1, f"{words!r} is {len(found)} times in {log}"
    return found[0]


def assert_one_slot(host: FakeHost, slot: str) -> None:
    units = {f"shop-{slot}.socket", f"shop-{slot}.service"}
    assert (host.in_traffic(), host.active, host.enabled_units) == (slot, units, units)


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def serving(host: FakeHost) -> FakeHost:
    """A host on which r1 is in traffic, in the blue slot."""
    deploy(host, "r1")
    assert_one_slot(host, "blue")
    return host


# --- what a run does ---------------------------------------------------------------------------------------------------


def test_the_first_deployment_goes_to_blue(host: FakeHost):
    result = deploy(host, "r1")
    assert_one_slot(host, "blue")
    assert host.serving() == "r1"
    assert (result.changed, result.slot) == (True, "blue")
    assert result.summary.startswith("shop: traffic went from nowhere to blue, which serves r1")


def test_the_first_deployment_does_not_need_nginx_which_may_come_later(host: FakeHost):
    host.nginx = None
    assert "; not checked through nginx, which does not run or does not serve this app yet" in deploy(host).summary
    assert host.serving() == "r1"


def test_without_a_change_nothing_is_done(serving: FakeHost):
    result = deploy(serving, "r1")
    assert (result.changed, result.steps, result.diff, serving.log) == (False, [], [], [])
    assert result.summary == "shop: blue serves r1"


@pytest.mark.parametrize("slot", ["blue", "green"])
def test_what_a_killed_run_left_goes_in_every_run_and_stays_in_check_mode(serving: FakeHost, slot: str):
    serving.leftovers = {f"/etc/flask-ops/shop/{slot}/environment", "/etc/flask-ops/blog/blue/environment"}
    deploy(serving, "r1", check_mode=True)
    assert len(serving.leftovers) == 2
    assert not deploy(serving, "r1").changed
    assert serving.leftovers == {"/etc/flask-ops/blog/blue/environment"}


def test_each_change_goes_to_the_idle_slot(serving: FakeHost):
    for release, slot in [("r2", "green"), ("r3", "blue"), ("r2", "green")]:
        result = deploy(serving, release)
        assert_one_slot(serving, slot)
        assert (serving.serving(), result.slot) == (release, slot)
        assert not deploy(serving, release).changed


def test_a_failed_unit_of_the_idle_slot_is_cleared(serving: FakeHost):
    serving.failed = {"shop-green.service"}
    assert "stop green" in deploy(serving, "r1").steps
    assert serving.failed == set()
    assert not deploy(serving, "r1").changed


def test_a_changed_file_of_the_slot_in_traffic_is_a_change(serving: FakeHost):
    path = f"{UNITS}/shop-blue.service"
    serving.files[path] = State("file", b"edited by hand", "", 0o644, "root", "root")
    assert deploy(serving, "r1").slot == "green"
    assert_one_slot(serving, "green")


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("23.0.0", "gunicorn 23.0.0, and 27.0.1 or newer"),
        ("27.0.0", "gunicorn 27.0.0"),
        ("", "no gunicorn"),
    ],
)
def test_a_gunicorn_that_drops_requests_is_refused_before_anything_changes(serving: FakeHost, version: str, said: str):
    serving.versions["gunicorn"] = version
    with pytest.raises(DeployError, match=f"its environment has {said}.*\n.*blue still serves"):
        deploy(serving, "r2")
    assert serving.log == []


@pytest.mark.parametrize("version", ["27.0.1", "27.1", "28.0.0", "100.0"])
def test_a_newer_gunicorn_is_taken(serving: FakeHost, version: str):
    serving.versions["gunicorn"] = version
    assert deploy(serving, "r2").slot == "green"


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("write /etc/systemd/system/shop-green.service", "enable shop-green.socket"),
        ("enable shop-green.service", "start shop-green.socket"),
        ("enable shop-green.socket", f"link {LINK}"),
        ("enable shop-green.service", f"link {LINK}"),
        ("start shop-green.service", f"write {BOOT}"),
        (f"write {BOOT}", f"link {LINK}"),
        (f"link {LINK}", "ask nginx"),
        (f"link {LINK}", "link /srv/shop/current"),
        ("link /srv/shop/current", "ask nginx"),
        (f"link {LINK}", "drain /run/flask-ops/shop/blue"),
        ("ask nginx", "disable shop-blue.service"),
        ("drain /run/flask-ops/shop/blue", "stop shop-blue.service"),
        ("disable shop-blue.service", "stop shop-blue.service"),
        ("stop shop-blue.service", "stop shop-blue.socket"),
    ],
)
def test_the_order_of_the_steps(serving: FakeHost, first: str, then: str):
    deploy(serving, "r2")
    assert position(serving.log, first) < position(serving.log, then)


def test_the_old_slot_is_stopped_only_when_nobody_waits_at_its_socket(serving: FakeHost):
    serving.queue = [0, 1, 3]
    deploy(serving, "r2")
    drained = [number for number, words in enumerate(serving.log) if words.startswith("drain")]
    assert len(drained) == 3
    assert drained[-1] < position(serving.log, "stop shop-blue.service")


def test_connections_that_nobody_accepts_do_not_hold_the_switch_for_ever(serving: FakeHost):
    serving.queue = [1] * 10_000
    serving.files[f"{UNITS}/shop-blue.service"] = State("file", b"TimeoutStopSec=15\n")
    result = deploy(serving, "r2")
    assert_one_slot(serving, "green")
    assert serving.seconds == pytest.approx(10, abs=1)
    assert "blue still had connections waiting after 10 s" in result.steps


def test_the_release_in_traffic_and_the_one_before_have_links(serving: FakeHost):
    assert serving.links["/srv/shop/current"] == "releases/r1"
    assert "/srv/shop/previous" not in serving.links
    deploy(serving, "r2")
    assert serving.links["/srv/shop/current"] == "releases/r2"
    assert serving.links["/srv/shop/previous"] == "releases/r1"


def test_a_change_of_settings_keeps_the_previous_release(serving: FakeHost):
    deploy(serving, "r2")
    files = {slot: [*shop("r2").files[slot], Entry(f"/etc/flask-ops/shop/{slot}/new")] for slot in SLOTS}
    assert deploy(serving, "r2", files=files).slot == "blue"
    assert serving.links["/srv/shop/previous"] == "releases/r1"


def test_no_release_link_is_kept_when_none_is_wanted(host: FakeHost):
    deploy(host, "r1", release_link="")
    assert list(host.links) == [LINK]
    assert not deploy(host, "r1", release_link="").changed


def test_requests_that_had_to_be_cut_are_counted(serving: FakeHost):
    assert "cut" not in deploy(serving, "r2").summary
    serving.cut = 2
    assert deploy(serving, "r3").summary.endswith("; 2 requests of green did not end within 30 s and had to be aborted")
    serving.cut = 1
    assert "; 1 request of blue did not end" in deploy(serving, "r4").summary


def test_a_slot_has_the_time_that_its_own_unit_gives_it(serving: FakeHost):
    def files(seconds: int) -> dict[str, list[Entry]]:
        unit = f"TimeoutStopSec={seconds}\nserves r{seconds}".encode()
        return {slot: [*shop().files[slot][:3], Entry(f"{UNITS}/shop-{slot}.service", content=unit)] for slot in SLOTS}

    deploy(serving, "r2", files=files(15))
    assert serving.grace == 30
    deploy(serving, "r3", files=files(65))
    assert serving.grace == 10
    deploy(serving, "r4", files=files(15))
    assert serving.grace == 60


def test_every_instance_of_a_slot_must_be_healthy(serving: FakeHost):
    deploy(serving, "r2", instances=3)
    assert serving.asked[-3:] == [f"/run/flask-ops/shop/green/{instance}.sock" for instance in (1, 2, 3)]
    serving.hung.add("/run/flask-ops/shop/blue/2.sock")
    with pytest.raises(DeployError, match="blue's own socket gave 'Connection refused' instead of 200"):
        deploy(serving, "r3", instances=3)
    assert serving.serving() == "r2"


def test_when_no_path_is_given_the_result_says_what_was_asked_instead(host: FakeHost):
    host.answers["r1"] = 302
    result = deploy(host, "r1", health=Health("/", None))
    assert result.summary.endswith("; no health.path is given, GET / gave 302 and a status below 500 will do")
    assert "health.path" not in deploy(host, "r2").summary


def test_a_server_that_is_not_in_the_environment_is_refused_before_anything_changes(serving: FakeHost):
    with pytest.raises(DeployError, match=r"shop: its environment has no waitress\.\nblue still serves"):
        deploy(serving, "r2", server="waitress")
    assert serving.log == []
    serving.versions["waitress"] = "3.0.2"
    assert deploy(serving, "r2", server="waitress").slot == "green"


# --- the log of the deploys ----------------------------------------------------------------------------------------------


def test_each_switch_is_logged_with_who_made_it(serving: FakeHost):
    first, *none = serving.deploys
    assert (first["from"], first["to"], first["slot"], none) == (None, "r1", "blue", [])
    deploy(serving, "r2")
    last = serving.deploys[-1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", last.pop("time"))
    assert last == {
        "app": "shop", "by": "me@laptop as ops", "from": "r1", "to": "r2", "slot": "green", "result": "ok",
        "seconds": 0.0, "reason": None,
    }  # fmt: skip


def test_a_failed_switch_is_logged_with_the_first_line_of_its_reason(serving: FakeHost):
    serving.answers["r2"] = 500
    with pytest.raises(DeployError) as error:
        deploy(serving, "r2")
    last = serving.deploys[-1]
    assert (last["result"], last["from"], last["to"], last["seconds"]) == ("failed", "r1", "r2", 30.0)
    assert last["reason"] == str(error.value).splitlines()[0]


def test_what_is_no_switch_is_not_logged(serving: FakeHost):
    deploy(serving, "r2", check_mode=True)
    deploy(serving, "r1")
    crashed(serving)
    deploy(serving, "r1")
    assert len(serving.deploys) == 1


def test_what_is_logged_is_what_the_metrics_are_made_of(serving: FakeHost, tmp_path: Path):
    def told() -> tuple[bool, float]:
        log = tmp_path / "deploys.jsonl"
        log.write_text("".join(f"{json.dumps(line)}\n" for line in serving.deploys))
        last = deploys_by_app(str(log))["shop"][-1]
        return last["result"] == "ok", last["seconds"]

    deploy(serving, "r2")
    assert told() == (True, 0.0)
    serving.answers["r3"] = 500
    with pytest.raises(DeployError):
        deploy(serving, "r3")
    assert told() == (False, 30.0)


def test_a_log_that_cannot_be_written_does_not_undo_a_switch(serving: FakeHost):
    serving.broken["log_deploy"] = OSError(28, "No space left on device")
    result = deploy(serving, "r2")
    assert_one_slot(serving, "green")
    assert "; not written to /var/log/flask-ops/deploys.jsonl: [Errno 28]" in result.summary


# --- two runs at once ------------------------------------------------------------------------------------------------------


def test_a_switch_is_locked_from_its_first_look_to_its_last_change(serving: FakeHost):
    serving.watch = lambda: assert_locked(serving)
    deploy(serving, "r2")
    Switch(shop(), serving).remove()
    assert serving.locked == set()


def test_a_removal_looks_only_when_it_has_the_lock(serving: FakeHost):
    looked: list[set[str]] = []
    read = serving.read
    serving.read = lambda path: looked.append(set(serving.locked)) or read(path)  # type: ignore[method-assign,func-returns-value]
    Switch(shop(), serving).remove()
    assert looked
    assert all(locked == {"shop"} for locked in looked)


def assert_locked(host: FakeHost) -> None:
    assert host.locked == {"shop"}


# --- what can go wrong before the flip -----------------------------------------------------------------------------------


def unhealthy(host: FakeHost) -> None:
    host.answers["r2"] = 500


def refusing(host: FakeHost) -> None:
    host.answers["r2"] = ConnectionResetError("Connection reset by peer")


def restarting(host: FakeHost) -> None:
    host.answers["r2"] = ConnectionRefusedError()
    host.restarts_per_second = 1


def not_starting(host: FakeHost) -> None:
    host.broken["start shop-green.service"] = CommandError("'systemctl start' exited with status 1")


def not_enabling(host: FakeHost) -> None:
    host.broken["enable shop-green.service"] = CommandError("'systemctl enable' exited with status 1")


def full_disk(host: FakeHost) -> None:
    host.broken["write /etc/systemd/system/shop-green"] = OSError(28, "No space left on device")


@pytest.mark.parametrize("fault", [unhealthy, refusing, restarting, not_starting, not_enabling, full_disk])
def test_whatever_fails_before_the_flip_the_old_slot_still_serves(serving: FakeHost, fault: Callable[[FakeHost], None]):
    fault(serving)
    with pytest.raises(DeployError) as error:
        deploy(serving, "r2")
    assert_one_slot(serving, "blue")
    assert serving.serving() == "r1"
    assert not [words for words in serving.log if "blue" in words or LINK in words]
    assert serving.links["/srv/shop/current"] == "releases/r1"
    assert str(error.value).endswith("\nblue still serves, as before.")


@pytest.mark.parametrize(
    ("fault", "reason", "seconds"),
    [
        (unhealthy, "shop: GET /healthz on green's own socket gave 500 instead of 200 for 30 s.", 30),
        (refusing, "green's own socket gave 'Connection reset by peer' instead of 200 for 30 s.", 30),
        (restarting, "shop: shop-green.service keeps crashing.", 3),
        (not_starting, "shop: shop-green.service did not start: 'systemctl start' exited with status 1.", 0),
    ],
)
def test_the_message_says_why_in_the_words_of_the_journal(serving: FakeHost, fault, reason: str, seconds: float):
    fault(serving)
    with pytest.raises(DeployError) as error:
        deploy(serving, "r2")
    assert f"{reason} The last lines of shop-green.service:\nlast words of shop-green.service\n" in str(error.value)
    assert serving.seconds == seconds


def test_a_failed_first_deployment_says_that_nothing_serves(host: FakeHost):
    host.answers["r1"] = 500
    with pytest.raises(DeployError, match=r"Nothing was serving before, and nothing is now\.$"):
        deploy(host, "r1")
    assert (host.in_traffic(), host.active, host.enabled_units) == (None, set(), set())


def test_after_a_failure_the_next_good_release_goes_out(serving: FakeHost):
    serving.answers["r2"] = 500
    with pytest.raises(DeployError):
        deploy(serving, "r2")
    assert not deploy(serving, "r1").changed
    deploy(serving, "r3")
    assert_one_slot(serving, "green")
    assert serving.serving() == "r3"


def test_a_slow_start_within_the_deadline_is_fine(serving: FakeHost):
    serving.ready_after["r2"] = 29
    deploy(serving, "r2")
    assert serving.serving() == "r2"


# --- what can go wrong after it --------------------------------------------------------------------------------------------


def nginx_fails(host: FakeHost) -> None:
    host.nginx = 502


def nginx_is_silent(host: FakeHost) -> None:
    host.nginx = TimeoutError("timed out")


def full_disk_at_the_flip(host: FakeHost) -> None:
    host.broken[f"write {BOOT}"] = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (nginx_fails, "shop: GET /healthz gave 502 through nginx, 200 is expected. "),
        (nginx_is_silent, "shop: GET /healthz through nginx gave no answer: timed out"),
        (full_disk_at_the_flip, "No space left on device"),
    ],
)
def test_a_failure_after_the_flip_flips_back(serving: FakeHost, fault, reason: str):
    fault(serving)
    with pytest.raises(DeployError, match=re.escape(reason)) as error:
        deploy(serving, "r2")
    assert_one_slot(serving, "blue")
    assert serving.serving() == "r1"
    assert serving.links["/srv/shop/current"] == "releases/r1"
    assert str(error.value).endswith("\nblue still serves, as before.")
    serving.reboot()
    assert serving.serving() == "r1"


def test_requests_that_reached_the_new_slot_are_served_before_it_is_stopped_again(serving: FakeHost):
    serving.nginx, serving.queue = 502, [0, 2]
    with pytest.raises(DeployError):
        deploy(serving, "r2")
    assert "drain /run/flask-ops/shop/green" in serving.log[: position(serving.log, "stop shop-green.service")]
    assert not serving.queue


def test_a_way_back_that_fails_hides_neither_the_reason_nor_what_serves(serving: FakeHost):
    nginx_fails(serving)
    serving.broken["stop shop-green"] = CommandError("shop-green.service did not stop within 65 s")
    with pytest.raises(DeployError) as error:
        deploy(serving, "r2")
    reason, back, serves = str(error.value).splitlines()
    assert reason.startswith("shop: GET /healthz gave 502 through nginx")
    assert back == "Rollback: shop-green.service did not stop within 65 s"
    assert serves == "blue still serves, as before."


def test_a_slot_that_cannot_be_stopped_before_the_flip_does_not_hide_the_reason(serving: FakeHost):
    unhealthy(serving)
    serving.broken["stop shop-green"] = CommandError("no")
    with pytest.raises(DeployError, match=r"(?s)^shop: GET /healthz .*Rollback: no\nblue still serves"):
        deploy(serving, "r2")


def test_traffic_that_cannot_be_led_back_keeps_the_slot_that_it_goes_to(serving: FakeHost):
    nginx_fails(serving)
    serving.broken[f"link {LINK} -> blue"] = OSError("No space left on device")
    with pytest.raises(DeployError) as error:
        deploy(serving, "r2")
    assert "Rollback: No space left on device" in str(error.value)
    assert "Traffic goes to green: " in str(error.value)
    assert "still serves, as before" not in str(error.value)
    assert serving.serves("green")


def test_a_dead_slot_is_not_said_to_serve(serving: FakeHost):
    unhealthy(serving)
    crashed(serving)
    with pytest.raises(DeployError, match=r"Traffic goes to blue: .*shop-blue.service is (inactive|failed)"):
        deploy(serving, "r2")


def test_an_old_slot_that_cannot_be_stopped_is_named_with_what_serves(serving: FakeHost):
    serving.broken["stop shop-blue"] = CommandError("did not stop")
    with pytest.raises(DeployError, match=r"^shop: green serves r2, but blue could not be stopped: did not stop"):
        deploy(serving, "r2")
    assert serving.serving() == "r2"
    assert serving.deploys[-1]["result"] == "failed"


def test_a_host_that_the_app_itself_refuses_is_named(host: FakeHost):
    host.answers["r1"] = 400
    with pytest.raises(
        DeployError, match=r"gave 400 .*; if the app sets TRUSTED_HOSTS itself, add shop\.example\.com to it"
    ):
        deploy(host, "r1")
    host.answers["r1"] = 500
    with pytest.raises(DeployError) as error:
        deploy(host, "r1")
    assert "TRUSTED_HOSTS" not in str(error.value)


def check(host: FakeHost) -> None:
    check_app("shop", "shop.example.com", Health("/healthz", 200), "/run/flask-ops/nginx/shop.sock", host)


def test_what_nginx_did_not_serve_stays_unchecked_until_it_is_checked(serving: FakeHost):
    serving.nginx = None
    assert not deploy(serving, "r2").checked
    assert not deploy(serving, "r2").checked
    serving.nginx = 500
    with pytest.raises(DeployError, match=r"^shop: GET /healthz gave 500 through nginx, 200 is expected"):
        check(serving)
    assert not deploy(serving, "r2").checked
    serving.nginx = 200
    check(serving)
    assert deploy(serving, "r2").checked
    assert serving.serving() == "r2"


def test_a_switch_that_nginx_answers_checks_what_was_unchecked(serving: FakeHost):
    serving.nginx = None
    deploy(serving, "r2")
    serving.nginx = 200
    assert deploy(serving, "r3").checked


def test_an_app_that_fails_through_nginx_is_unchecked_from_then_on(serving: FakeHost):
    serving.nginx = TimeoutError("timed out")
    with pytest.raises(DeployError, match="gave no answer: timed out"):
        check(serving)
    assert not deploy(serving, "r1").checked


def test_nginx_may_take_a_moment_to_read_its_files_but_not_for_ever(serving: FakeHost):
    answers = iter([None, 502, None, 200])
    serving.ask_nginx = lambda *_: next(answers)  # type: ignore[method-assign]
    check(serving)
    serving.ask_nginx = lambda *_: None  # type: ignore[method-assign]
    began = serving.now()
    with pytest.raises(
        DeployError, match=r"nginx does not listen on .*; restart it on the host: systemctl restart nginx"
    ):
        check(serving)
    assert serving.now() - began <= 11


def test_nginx_is_not_asked_when_no_socket_is_given(serving: FakeHost):
    serving.nginx = 502
    deploy(serving, "r2", probe_socket="")
    assert serving.serving() == "r2"


# --- repairs: the right files are in traffic, but something else is wrong ------------------------------------------------------


def crashed(host: FakeHost) -> None:
    host.active.discard("shop-blue.service")


def disabled(host: FakeHost) -> None:
    host.enabled_units.clear()


def forgotten_boot_file(host: FakeHost) -> None:
    del host.files[BOOT]


def wrong_release_link(host: FakeHost) -> None:
    host.links["/srv/shop/current"] = "releases/r0"


def stray_slot(host: FakeHost) -> None:
    host.active |= {"shop-green.socket", "shop-green.service"}


def stray_after_reboot(host: FakeHost) -> None:
    host.enabled_units.add("shop-green.socket")


@pytest.mark.parametrize(
    ("damage", "steps"),
    [
        (crashed, ["start blue", "GET /healthz on blue: 200"]),
        (disabled, ["enable blue"]),
        (forgotten_boot_file, ["remember the slot"]),
        (wrong_release_link, ["point to the release"]),
        (stray_slot, ["stop green"]),
        (stray_after_reboot, ["stop green"]),
    ],
)
def test_damage_is_repaired_in_place_and_only_once(serving: FakeHost, damage, steps: list[str]):
    damage(serving)
    result = deploy(serving, "r1")
    assert (result.changed, result.slot, result.steps) == (True, "blue", steps)
    assert_one_slot(serving, "blue")
    assert f"link {LINK} -> blue" not in serving.log
    assert not deploy(serving, "r1").changed
    serving.reboot()
    assert serving.serving() == "r1"


def test_a_slot_in_traffic_that_cannot_be_repaired_is_a_failure(serving: FakeHost):
    crashed(serving)
    serving.answers["r1"] = 500
    with pytest.raises(DeployError, match="last words of shop-blue"):
        deploy(serving, "r1")


def test_new_settings_of_the_health_check_are_judged_by_the_run_that_brings_them(serving: FakeHost):
    serving.answers["r1"] = 404
    with pytest.raises(DeployError) as error:
        deploy(serving, "r1")
    assert str(error.value).startswith("shop: GET /healthz on blue's own socket gave 404 instead of 200 for ")
    assert str(error.value).endswith("Nothing was stopped: blue is live, as before.")
    assert serving.serving() == "r1"
    assert_one_slot(serving, "blue")


def test_a_lost_link_is_made_again_and_no_other_slot_stays(serving: FakeHost):
    deploy(serving, "r2")
    del serving.links[LINK]
    deploy(serving, "r2")
    assert serving.serving() == "r2"
    assert len(serving.active) == 2
    assert not deploy(serving, "r2").changed


# --- check mode and what is shown ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [crashed, disabled, forgotten_boot_file, wrong_release_link, stray_slot])
def test_check_mode_announces_a_repair_and_makes_none(serving: FakeHost, damage):
    damage(serving)
    assert deploy(serving, "r1", check_mode=True).changed
    assert serving.log == []


def test_check_mode_announces_a_switch_and_makes_none(serving: FakeHost):
    result = deploy(serving, "r2", check_mode=True)
    assert (result.changed, result.slot, serving.log) == (True, "green", [])
    assert not deploy(serving, "r1", check_mode=True).changed


def test_the_diff_shows_what_changes_for_the_app_and_not_that_the_slot_does(serving: FakeHost):
    shown = {diff["after_header"]: diff for diff in deploy(serving, "r2").diff}
    service = shown.pop("shop green slot: /etc/systemd/system/shop-green.service")
    assert (service["before"], service["after"]) == ("the blue slot serves r1", "the green slot serves r2")
    secret = shown.pop("shop green slot: /etc/flask-ops/shop/green/environment")
    assert "TOKEN" not in str(secret)
    assert secret["before"] != secret["after"]
    assert shown == {}, "a file that differs only by the slot's name is no change"


def test_secret_files_that_change_switch_the_slot_and_are_not_shown(serving: FakeHost):
    def files(text: str) -> dict[str, list[Entry]]:
        content = json.dumps({"client.pem": text}).encode()
        return {
            slot: [*shop().files[slot], Entry(f"/etc/flask-ops/shop/{slot}/credentials", "files", content, secret=True)]
            for slot in SLOTS
        }

    for text, slot in (("canary1", "green"), ("canary1", "green"), ("canary2", "blue")):
        result = deploy(serving, "r1", files=files(text))
        assert_one_slot(serving, slot)
        assert "canary" not in str(result.diff)
    # The slot that went still has what it was started with.
    kept = serving.files["/etc/flask-ops/shop/green/credentials"]
    assert b"canary1" in kept.content
    assert [diff["after_header"] for diff in result.diff] == ["shop blue slot: /etc/flask-ops/shop/blue/credentials"]


# --- interrupted at every moment ---------------------------------------------------------------------------------------------------


def interruptions(prepare: Callable[[FakeHost], None], act: Callable[[FakeHost], object]) -> Iterator[FakeHost]:
    """A host for every moment at which the act can be interrupted: before its first change, its second ..."""
    for moment in range(1000):
        host = FakeHost()
        prepare(host)
        watch_traffic(host)
        host.changes_left = moment
        try:
            act(host)
        except InterruptedRun:
            host.changes_left = float("inf")
            yield host
        except DeployError:
            return
        else:
            assert moment, "the act changes nothing"
            return


def watch_traffic(host: FakeHost) -> None:
    """From now on, after every single change: what is in traffic runs, is enabled and has complete files."""

    def watch() -> None:
        slot = host.in_traffic()
        if slot is None:
            return
        assert host.serves(slot), f"{slot} is in traffic and does not run: {host.log}"
        assert host.enabled_units >= {f"shop-{slot}.socket", f"shop-{slot}.service"}, host.log
        contents = [host.read(entry.dest).content for entry in shop("").files[slot][1:]]
        releases = {re.split(rb"[ =]", contents[0])[-1], contents[2].split()[-1]}
        assert len(releases) == 1, f"{slot} is in traffic with files of {releases}: {host.log}"
        assert host.read(BOOT).kind == "file", host.log
        twin = copy.copy(host)
        twin.links, twin.files = dict(host.links), dict(host.files)
        twin.reboot()
        assert twin.serving(), f"nothing would serve after a reboot now: {host.log}"

    host.watch = watch


def nothing(host: FakeHost) -> None:
    """A host that has never seen the app."""


def r1_in_traffic(host: FakeHost) -> None:
    deploy(host, "r1")


def r2_after_r1(host: FakeHost) -> None:
    deploy(host, "r1")
    deploy(host, "r2")


def nginx_will_fail(host: FakeHost) -> None:
    deploy(host, "r1")
    host.nginx = 502


@pytest.mark.parametrize("prepare", [nothing, r1_in_traffic, r2_after_r1, nginx_will_fail])
@pytest.mark.parametrize("reboots", [False, True])
@pytest.mark.parametrize("wanted", ["r1", "r2", "r3", "r4"])
def test_an_interrupted_switch_is_completed_by_the_next_run(prepare, reboots: bool, wanted: str):
    """Towards the same release (r3), back to an older one, or on to another."""
    moments = 0
    for host in interruptions(prepare, lambda host: deploy(host, "r3")):
        moments += 1
        before = host.serving()
        assert (before is None) == (prepare is nothing and host.in_traffic() is None)
        if reboots:
            host.reboot()
            assert (host.serving() is None) <= (before is None)
        host.nginx = 200
        deploy(host, wanted)
        assert host.serving() == wanted
        assert len(host.active) == len(host.enabled_units) == 2
        again = deploy(host, wanted)
        assert (again.changed, again.steps, host.log) == (False, [], [])
    assert moments >= 10


@pytest.mark.parametrize("damage", [crashed, disabled, stray_slot])
def test_an_interrupted_repair_is_completed_by_the_next_run(damage):
    def prepare(host: FakeHost) -> None:
        deploy(host, "r1")
        damage(host)

    def repair(host: FakeHost) -> None:
        host.watch = lambda: None  # what is in traffic is damaged, so it may well not run
        deploy(host, "r1")

    for host in interruptions(prepare, repair):
        deploy(host, "r1")
        assert_one_slot(host, "blue")
        assert not deploy(host, "r1").changed


# --- an app that is not wanted any more ----------------------------------------------------------------------------------------------


def test_absent_leaves_nothing_and_the_second_time_is_no_change(serving: FakeHost):
    result = Switch(shop(), serving).remove()
    assert (result.changed, result.summary) == (True, "shop: removed")
    assert (serving.active, serving.enabled_units, serving.loaded) == (set(), set(), {})
    assert (serving.files, serving.links) == ({}, {})
    result = Switch(shop(), serving).remove()
    assert (result.changed, result.summary) == (False, "shop: not there")


def test_absent_in_check_mode_only_says_so(serving: FakeHost):
    serving.log.clear()
    assert Switch(shop(), serving).remove(check_mode=True).changed
    assert serving.log == []


def test_an_interrupted_removal_is_completed_by_the_next_run():
    for host in interruptions(r1_in_traffic, remove_unwatched):
        Switch(shop(), host).remove()
        assert (host.active, host.enabled_units, host.files, host.links.get(LINK)) == (set(), set(), {}, None)
        assert not Switch(shop(), host).remove().changed


def remove_unwatched(host: FakeHost) -> None:
    host.watch = lambda: None
    Switch(shop(), host).remove()


# --- any history ------------------------------------------------------------------------------------------------------------------------


class AnyHistory(RuleBasedStateMachine):
    """Deployments, good, bad and interrupted ones, reboots and crashes, in any order."""

    releases = st.sampled_from(["r1", "r2", "r3"])

    @initialize()
    def first_deployment(self) -> None:
        self.host = FakeHost()
        deploy(self.host, "r1")
        watch_traffic(self.host)

    @rule(release=releases)
    def a_good_deployment(self, release: str) -> None:
        deploy(self.host, release)
        assert self.host.serving() == release
        assert len(self.host.active) == len(self.host.enabled_units) == 2
        assert not deploy(self.host, release).changed

    @rule(release=releases, moment=st.integers(0, 25))
    def an_interrupted_deployment(self, release: str, moment: int) -> None:
        self.host.changes_left = moment
        with contextlib.suppress(InterruptedRun):
            deploy(self.host, release)
        self.host.changes_left = float("inf")

    @rule(answer=st.sampled_from([500, TimeoutError()]), moment=st.just(float("inf")) | st.integers(0, 25))
    def a_bad_deployment(self, answer: int | Exception, moment: float) -> None:
        before = self.host.serving()
        self.host.answers["bad"], self.host.changes_left = answer, moment
        with pytest.raises((DeployError, InterruptedRun)):
            deploy(self.host, "bad")
        self.host.changes_left = float("inf")
        assert self.host.serving() == before

    @rule(nginx=st.sampled_from([502, TimeoutError()]), release=releases)
    def a_deployment_that_nginx_does_not_like(self, nginx: int | Exception, release: str) -> None:
        before = self.host.serving()
        self.host.nginx = nginx
        try:
            deploy(self.host, release)
        except DeployError:
            assert self.host.serving() == before
        finally:
            self.host.nginx = 200

    @rule()
    def a_reboot(self) -> None:
        self.host.reboot()

    @rule()
    def the_idle_slot_is_started_by_hand(self) -> None:
        idle = other_slot(self.host.in_traffic())
        if f"{UNITS}/shop-{idle}.service" in self.host.loaded:
            self.host.start_by_hand(idle)

    @invariant()
    def something_good_serves(self) -> None:
        assert self.host.serving() in ("r1", "r2", "r3")


AnyHistory.TestCase.settings = settings(max_examples=40, stateful_step_count=12)
test_any_history = AnyHistory.TestCase

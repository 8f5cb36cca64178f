"""The measurements, each a part that can be asked for by its name."""

from __future__ import annotations

import re
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from benchmarks import controller, hosts, traffic
from benchmarks.controller import DOMAIN, KINDS, STATE, WORK, Repository
from benchmarks.hosts import Host
from benchmarks.state import APP, State, bare, broken, capture, checks, told
from benchmarks.timing import Figure, Run, interleaved, ratios, seconds, watched


@dataclass
class Bench:
    """What the parts share, and what they have found so far."""

    repository: Repository
    ours: Host
    quick: bool
    rounds: int
    state: State
    provisioned: dict[str, list[Run]]
    peers: dict[str, Host] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    traffic: dict[str, Any] = field(default_factory=dict)

    @property
    def apps(self) -> list[dict[str, Any]]:
        return controller.one_app(self.repository.url)

    def compare(self, work: str, mine: str, theirs: str, target: float | None = None) -> None:
        """A figure from two contenders' runs."""
        a, b = seconds(self.runs[mine]), seconds(self.runs[theirs])
        self.figures.append(Figure(work, theirs, ratios(a, b), target, True, shown(a), shown(b)))


def shown(values: list[float], unit: str = "s") -> str:
    median = statistics.median(values)
    return f"{median:.3g} {unit}" if median < 1000 else f"{float(f'{median:.3g}'):,.0f} {unit}"


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def ours_first(host: Host, repository: Repository) -> tuple[State, Run]:
    """Our first run on a bare host, and the end state that it leaves, which is what the peers have to reach."""
    before = bare(host)
    run = controller.ours("site", [host], controller.one_app(repository.url))
    shutil.rmtree(STATE, ignore_errors=True)
    STATE.mkdir(parents=True)
    state = capture(host, before, DOMAIN, repository.url, STATE / "files")
    state.write(STATE, host)
    must_hold(host, state)
    return state, run


def must_hold(host: Host, state: State) -> None:
    """No time is worth anything for a job that was not done."""
    if failed := broken(host, checks(state)):
        raise RuntimeError(f"{host.name} is not in the end state: {'; '.join(failed)}")


def start_peers(bench: Bench, parts: list[str]) -> None:
    """The first runs of the other tools that these parts need, each on a host of its own."""
    all_first: dict[str, Callable[[Host], Run]] = {"pyinfra": controller.pyinfra, "usual play": controller.usual}
    all_first["shell"] = lambda host: controller.provision_by_hand(host, bench.state)
    needed = {name for part in parts for name in PEERS_OF.get(part, ())}
    first = {name: run for name, run in all_first.items() if name in needed}

    def one(name: str) -> Run:
        say(f"{name}: first run")
        bench.peers[name] = hosts.fresh(name.split()[0])
        run = first[name](bench.peers[name])
        must_hold(bench.peers[name], bench.state)
        return run

    # Timed one after the other; the quick subset does not use these times.
    with ThreadPoolExecutor(2 if bench.quick else 1) as pool:
        for name, run in zip(first, pool.map(one, first), strict=True):
            bench.provisioned[name] = [run]


def provisioning(bench: Bench) -> None:
    """First provisioning, ours and by hand, on hosts that are new each time. The first round has been."""
    for number in range(1, bench.rounds if not bench.quick else 1):
        say(f"first provisioning, round {number + 1}")
        again = hosts.fresh("again")
        bench.provisioned["site.yml"].append(controller.ours("site", [again], bench.apps))
        again = hosts.fresh("again")
        bench.provisioned["shell"].append(controller.provision_by_hand(again, bench.state))
    hosts.down("again")
    bench.runs |= {f"first: {name}": runs for name, runs in bench.provisioned.items() if not bench.quick}
    if not bench.quick:
        bench.compare("first provisioning, one app", "first: site.yml", "first: shell", 1.5)


def unchanged(bench: Bench) -> None:
    """Runs that find everything as it should be."""
    rounds = 2 if bench.quick else bench.rounds
    say(f"no-change runs, {rounds} rounds")
    ours = partial(controller.ours, "site", [bench.ours], bench.apps)
    contenders: dict[str, Callable[[], Run]] = {
        "no change: site.yml": ours,
        "no change: pyinfra": partial(controller.pyinfra, bench.peers["pyinfra"]),
        "no change: usual play": partial(controller.usual, bench.peers["usual play"]),
    }
    bench.runs |= interleaved(contenders, rounds)
    bench.compare("no-change run, one app", "no change: site.yml", "no change: pyinfra", 1.5)
    bench.compare("no-change run, one app", "no change: site.yml", "no change: usual play", 0.33)


def apps(bench: Bench) -> None:
    """A host with five apps beside one with one."""
    say("five apps")
    (host,) = hosts.clone(bench.ours, ["five"])
    host = hosts.up("five", *(f"{kind}.bench.test" for kind in KINDS))
    bench.peers["five"] = host
    five = controller.five_apps(bench.repository.url)
    controller.ours("site", [host], five)
    found = interleaved(
        {
            "no change: site.yml, before five apps": partial(controller.ours, "site", [bench.ours], bench.apps),
            "no change: site.yml, five apps": partial(controller.ours, "site", [host], five),
        },
        bench.rounds,
    )
    bench.runs |= found
    one, all_five = (seconds(runs) for runs in found.values())
    each = [(b - a) / 4 for a, b in zip(one, all_five, strict=True)]
    bench.figures.append(
        Figure(
            "each further app on the host, no-change (mean of four)",
            "the run with one app",
            ratios(each, one),
            0.4,
            True,
            shown(each),
            shown(one),
        )
    )
    by_class(bench, host)


def deploys(bench: Bench) -> None:
    """A release of which only code differs, until traffic is on it; the way back; how it is."""
    say("deploys")
    shell = bench.peers["shell"]
    one_app = ("-e", f"app={APP}")

    def ours_new() -> Run:
        bench.repository.commit()
        return switched(bench, "deploy", *one_app)

    def shell_new() -> Run:
        bench.repository.commit()
        return controller.by_hand(shell, "deploy", bench.state)

    # The script is done when the new release answers; a playbook then looks after the old one.
    pairs: dict[str, tuple[str, Callable[[], Run], Callable[[], Run], float]] = {
        "deploy": ("code-only deploy", ours_new, shell_new, 10),
        "rollback": (
            "rollback",
            partial(switched, bench, "rollback", *one_app),
            partial(controller.by_hand, shell, "deploy", bench.state, revision="HEAD~1"),
            5,
        ),
    }
    for name, (work, mine, theirs, limit) in pairs.items():
        found = interleaved({f"{name}: {name}.yml": mine, f"{name}: shell": theirs}, bench.rounds)
        bench.runs |= found
        mine_whole, by_hand = map(seconds, found.values())
        until = [run.until or run.seconds for run in found[f"{name}: {name}.yml"]]
        against = ratios(until, by_hand), 5 if name == "deploy" else None
        what = f"{work}, until traffic is on it"
        bench.figures += [
            Figure(what, "shell", *against, True, shown(until), shown(by_hand)),
            Figure(what, f"{limit} s", [one / limit for one in until], 1, True, shown(until)),
            Figure(
                f"{work}, until the command ends", "shell", ratios(mine_whole, by_hand), None, True, shown(mine_whole)
            ),
        ]
    ask = partial(controller.ours, "status", [bench.ours], bench.apps)
    by_hand_too = partial(controller.by_hand, shell, "status", bench.state)
    bench.runs |= interleaved({"status: status.yml": ask, "status: shell": by_hand_too}, bench.rounds)
    bench.compare("status", "status: status.yml", "status: shell")


def switched(bench: Bench, playbook: str, *words: str) -> Run:
    """A playbook that changes what answers, and when it did."""
    return watched(
        partial(controller.ours, playbook, [bench.ours], bench.apps, *words),
        partial(traffic.release, bench.ours, DOMAIN),
    )


def many(bench: Bench) -> None:
    """One, five, ten and twenty hosts at once: copies of ours, with which they share the machine."""
    say("many hosts")
    copies = hosts.clone(bench.ours, [f"copy{number:02}" for number in range(1, 20)])
    everyone = [bench.ours, *copies]
    # A copy has another name, which some certificate may carry: let that settle.
    controller.ours("site", everyone, bench.apps)
    counts = (1, 5, 10, 20)
    bench.runs |= interleaved(
        {f"no change: {n} hosts": partial(controller.ours, "site", everyone[:n], bench.apps) for n in counts},
        min(2, bench.rounds),
    )
    hosts.down(*(f"copy{number:02}" for number in range(1, 20)))
    for number in counts[1:]:
        name, target = f"no change: {number} hosts", 12 if number == 20 else None
        bench.compare(f"no-change run, {number} hosts", name, "no change: 1 hosts", target)
    one, twenty = ([run.cpu for run in bench.runs[f"no change: {n} hosts"]] for n in (1, 20))
    each = [cpu / 20 for cpu in twenty]
    bench.figures.append(
        Figure(
            "controller's CPU for each of 20 hosts",
            "for one host alone",
            ratios(each, one),
            1,
            True,
            shown(each),
            shown(one),
        )
    )


def requests(bench: Bench) -> None:
    """What the host carries, beside other set-ups of the same programs on the same host."""
    say("traffic")
    long, rounds = (3, 2) if bench.quick else (5, bench.rounds)
    host, unit = bench.ours, bench.state.slots[0]
    workers, threads = size(host, unit)
    traffic.start_peers(host, bench.state, workers, threads)
    for port in (8080, 8443, 8444, 8445, 8000):
        controller.wait_for(host.address, port)
    for path in ("/", "/static/style.css"):
        sent, by_hand = (traffic.header_names(host, DOMAIN, path, port) for port in (443, 8443))
        if sent != by_hand:
            raise RuntimeError(f"{path}: ours and the tuned nginx differ in the headers {sorted(sent ^ by_hand)}")
    ours, tuned, tutorial = f"https://{DOMAIN}", f"https://{DOMAIN}:8443", f"https://{DOMAIN}:8444"
    static, gunicorn = f"https://{DOMAIN}:8445/static/style.css", f"http://{DOMAIN}:8000"
    pages: dict[str, tuple[dict[str, str], str, dict[str, float | None]]] = {
        "dynamic page": (
            {
                "ours": f"{ours}/",
                "tuned nginx": f"{tuned}/",
                "tutorial": f"{tutorial}/",
                "bare gunicorn": f"{gunicorn}/",
            },
            "json.lua",
            {"tuned nginx": 0.95, "tutorial": 1.3, "bare gunicorn": None},
        ),
        "static file": (
            {"ours": f"{ours}/static/style.css", "bare nginx": static, "tuned nginx": f"{tuned}/static/style.css"},
            "",
            {"bare nginx": 0.95, "tuned nginx": 0.95},
        ),
        "1 MB upload": (
            {"ours": f"{ours}/echo", "tuned nginx": f"{tuned}/echo", "tutorial": f"{tutorial}/echo"},
            "upload.lua",
            {"tuned nginx": None, "tutorial": None},
        ),
        # 5 ms: a few questions to a database in the same network. 50 ms: another service far away.
        **{
            f"page that waits {milliseconds} ms": (
                {
                    name: f"{url}/slow?seconds={milliseconds / 1000}"
                    for name, url in (("ours", ours), ("tuned nginx", tuned), ("tutorial", tutorial))
                },
                "",
                {"tuned nginx": 0.95, "tutorial": 1.3},
            )
            for milliseconds in (5, 50)
        },
    }
    if bench.quick:
        pages = {name: pages[name] for name in ("dynamic page", "static file")}
    for page, (contenders, script, targets) in pages.items():
        before = traffic.workers_of(host, unit)
        loads = interleaved(
            {name: partial(traffic.wrk, url, long, 16, script) for name, url in contenders.items()}, rounds
        )
        after = traffic.workers_of(host, unit)
        bench.traffic[page] = {name: traffic.summary(found) for name, found in loads.items()}
        bench.traffic[page]["ours"]["workers"] = [
            {"mib": b["mib"], "cpu_seconds": round(b["cpu"] - a["cpu"], 2)} for a, b in zip(before, after, strict=False)
        ]
        for name, target in targets.items():
            mine, theirs = ([load.per_second for load in loads[one]] for one in ("ours", name))
            what = f"{page} through HTTPS" if name != "bare gunicorn" else f"{page}, ours through HTTPS"
            units = (shown(mine, "/s"), shown(theirs, "/s"))
            bench.figures.append(Figure(what, name, ratios(mine, theirs), target, False, *units))
    bench.traffic["HTTP, redirected to HTTPS"] = {"ours": asdict(traffic.wrk(f"http://{DOMAIN}/", long))}
    if not bench.quick:
        overloaded(bench, ours)
    traffic.stop_peers(host)


def overloaded(bench: Bench, url: str) -> None:
    """Twice as many requests as it can answer."""
    path = "/slow?seconds=0.05"
    capacity = statistics.median([traffic.wrk(url + path, 5, 64).per_second for _ in range(3)])
    say(f"twice the capacity of {capacity:.0f}/s")
    found = traffic.overload(bench.ours, DOMAIN, path, 2 * capacity, 10)
    settled = traffic.wrk(url + path, 3, 16)
    bench.traffic["twice the capacity"] = {
        "capacity_per_second": round(capacity, 1),
        **asdict(found),
        "afterwards": asdict(settled),
    }


def by_class(bench: Bench, host: Host) -> None:
    """Each kind of worker: two workers each, and of waitress its one process, on the host with five apps."""
    say("worker classes")
    for page, path, script in (("dynamic page", "/", "json.lua"), ("page that waits 50 ms", "/slow?seconds=0.05", "")):
        loads = interleaved(
            {kind: partial(traffic.wrk, f"https://{kind}.bench.test{path}", 4, 32, script) for kind in KINDS}, 2
        )
        bench.traffic[f"worker classes, {page}"] = {kind: traffic.summary(found) for kind, found in loads.items()}
    for kind in KINDS:
        unit = host.root(f"echo app-{kind}-$(readlink /run/app-{kind}/current).service").strip()
        kinds = bench.traffic["worker classes, dynamic page"]
        kinds[kind]["workers_mib"] = [worker["mib"] for worker in traffic.workers_of(host, unit)]


def size(host: Host, unit: str) -> tuple[int, int]:
    """Workers and threads that the collection chose; bare gunicorn gets the same."""
    slot = unit.removeprefix(f"{APP}-").removesuffix(".service")
    text = host.root(f"cat /etc/flask-ops/{APP}/{slot}/gunicorn.conf.py")
    workers, threads = (re.search(rf"^{name} = (\d+)", text, re.MULTILINE) for name in ("workers", "threads"))
    assert workers
    assert threads
    return int(workers[1]), int(threads[1])


PARTS: dict[str, Callable[[Bench], None]] = {
    "first": provisioning,
    "unchanged": unchanged,
    "traffic": requests,
    "apps": apps,
    "many": many,
    "deploys": deploys,
}
PEERS_OF = {"first": ["shell"], "unchanged": ["pyinfra", "usual play"], "deploys": ["shell"]}
"""Whom a part is compared with, if with anybody on a host of its own."""

QUICK = ("unchanged", "traffic")


def run(parts: list[str], quick: bool, rounds: int, keep: Callable[[Bench], None]) -> Bench:
    """Have hosts, and measure.

    :param keep: called after each part with what has been found so far.
    """
    WORK.mkdir(parents=True, exist_ok=True)
    traffic.install()
    controller.install_pyinfra()
    say("site.yml: first run")
    ours = hosts.fresh("ours", DOMAIN)
    with controller.repository(ours) as repository:
        state, first = ours_first(ours, repository)
        bench = Bench(repository, ours, quick, rounds, state, {"site.yml": [first]})
        say(f"the end state: {told(state)}")
        start_peers(bench, parts)
        for part in parts:
            PARTS[part](bench)
            keep(bench)
    return bench


def clean_up() -> None:
    hosts.down(
        "base", "ours", "pyinfra", "usual", "shell", "again", "five", *(f"copy{number:02}" for number in range(1, 20))
    )

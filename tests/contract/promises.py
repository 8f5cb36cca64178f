"""What holds for the whole repository, one function each.

A promise reads a tree and yields a complaint for every place that breaks it. Its decorator carries the
proof that it notices: samples that break it, as changes to the sound small collection in sample.py.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from tests.contract.tree import Tree, pairs

MARKER = "Managed by Ansible (flask_ops.production)"
LONGEST_MAIN = 40
Complaints = Iterator[str]


@dataclass
class Broken:
    """A sample that breaks a promise: files to write (None: to remove), and a part of the complaint."""

    files: dict[str, str | None]
    complaint: str


@dataclass
class Promise:
    check: Callable[[Tree], Complaints]
    broken: tuple[Broken, ...]

    @property
    def name(self) -> str:
        return self.check.__name__


PROMISES: list[Promise] = []


def promise(*broken: tuple[dict[str, str | None], str]) -> Callable[[Callable[[Tree], Complaints]], None]:
    def register(check: Callable[[Tree], Complaints]) -> None:
        PROMISES.append(Promise(check, tuple(Broken(*sample) for sample in broken)))

    return register


# --- Roles ---------------------------------------------------------------------------------------


@promise(
    ({"roles/web/README.md": None}, "roles/web/README.md"),
    ({"molecule/web/molecule.yml": None}, "molecule/web/molecule.yml"),
    ({"roles/web/meta/argument_specs.yml": None, "roles/web/defaults/main.yml": "{}"}, "argument_specs.yml"),
)
def every_role_is_complete(tree: Tree) -> Complaints:
    """A role has its documentation, its specification, its defaults, and a scenario of the same name."""
    for role in tree.roles():
        for path in (
            f"roles/{role}/README.md",
            f"roles/{role}/defaults/main.yml",
            f"roles/{role}/meta/argument_specs.yml",
            f"roles/{role}/meta/main.yml",
            f"roles/{role}/tasks/main.yml",
            f"molecule/{role}/molecule.yml",
        ):
            if not tree.has(path):
                yield f"{path} is missing"


@promise(
    ({"roles/web/defaults/main.yml": "web_sites: []\nweb_port: 81\n"}, "web_port is 81 in defaults and 80 in"),
    ({"roles/web/defaults/main.yml": "web_sites: []\nweb_port: '80'\n"}, 'web_port is "80" in defaults and 80 in'),
    ({"roles/web/defaults/main.yml": "web_sites: []\n"}, "web_port has a default in"),
    ({"roles/web/defaults/main.yml": "web_sites: []\nweb_port: 80\nweb_x: 1\n"}, "web_x is not in"),
    ({"roles/web/defaults/main.yml": "web_sites: []\nweb_port: 80\nweb_name: a\n"}, "web_name has no default in"),
)
def defaults_are_what_the_specs_say(tree: Tree) -> Complaints:
    """defaults/main.yml and the argument specs know the same options with the same values. An option
    that has no default in the spec (a required one) has none in defaults either."""
    for role in tree.roles():
        options, defaults = tree.options(role), tree.yaml(f"roles/{role}/defaults/main.yml") or {}
        spec, place = "meta/argument_specs.yml", f"roles/{role}/defaults/main.yml"
        for name in sorted(options.keys() | defaults.keys()):
            if name not in options:
                yield f"{place}: {name} is not in {spec}"
            elif "default" in options[name] and name not in defaults:
                yield f"{place}: {name} has a default in {spec} and none here"
            elif name in defaults and "default" not in options[name]:
                yield f"{place}: {name} has no default in {spec} and one here"
            elif name in defaults and json.dumps(defaults[name]) != json.dumps(options[name]["default"]):
                here, there = json.dumps(defaults[name]), json.dumps(options[name]["default"])
                yield f"{place}: {name} is {here} in defaults and {there} in {spec}"


@promise(
    (
        {
            "roles/app/meta/argument_specs.yml": """
                argument_specs:
                  main:
                    options:
                      app_apps:
                        type: list
                        elements: dict
                        default: []
                        options:
                          name: {type: str, required: true}
                          port: {type: str}
                """,
            "roles/app/defaults/main.yml": "app_apps: []\n",
        },
        "'port' differs between the entries of app and web: type",
    ),
)
def entries_of_two_roles_agree(tree: Tree) -> Complaints:
    """All roles read the same list of apps: an option that two of them know means the same to both."""
    for first, second in combinations(tree.roles(), 2):
        for name, difference in _differences(tree.entries(first), tree.entries(second)):
            yield f"entry option {name!r} differs between the entries of {first} and {second}: {difference}"


def _differences(first: dict[str, Any], second: dict[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    for name in sorted(first.keys() & second.keys()):
        for trait in ("type", "elements", "default", "choices"):
            if first[name].get(trait) != second[name].get(trait):
                yield f"{above}{name}", f"{trait} {first[name].get(trait)!r} and {second[name].get(trait)!r}"
        yield from _differences(first[name].get("options", {}), second[name].get("options", {}), f"{above}{name}.")


@promise(({"roles/web/templates/web.conf.j2": "listen {{ web_port }};\n"}, "roles/web/templates/web.conf.j2"))
def templates_say_who_manages_the_file(tree: Tree) -> Complaints:
    """A person who opens the file on a server must see that changes are lost. JSON has no comments."""
    for path in tree.files("roles/*/templates/*.j2"):
        if not path.endswith(".json.j2") and MARKER not in "".join(tree.text(path).splitlines()[:5]):
            yield f"{path} does not begin with a comment that says '{MARKER}: changes made here are lost.'"


@promise(
    ({"roles/web/tasks/main.yml": "- {name: X, ansible.builtin.meta: noop, tags: [x]}\n"}, "tags"),
    ({"roles/web/tasks/x.yml": "- {name: X, ansible.builtin.meta: noop, notify: Reload web}\n"}, "'X' has notify"),
    ({"roles/web/handlers/main.yml": "- {name: Reload web, ansible.builtin.meta: noop}\n"}, "web has handlers"),
    (
        {"roles/web/tasks/x.yml": "- name: X\n  block:\n    - {name: Y, ansible.builtin.meta: noop, tags: y}\n"},
        "roles/web/tasks/x.yml: 'Y' has tags",
    ),
    ({"roles/web/tasks/x.yml": "- {name: X, ansible.builtin.shell: ls | wc}\n"}, "ansible.builtin.shell"),
    ({"roles/web/tasks/x.yml": "- {name: X, ansible.builtin.meta: noop, ignore_errors: true}\n"}, "ignore_errors"),
)
def tasks_keep_to_the_rules(tree: Tree) -> Complaints:
    """Tags are the playbooks' (a tag inside a role tears it in two); a shell hides quoting faults; a run that ends
    between a task and its handler never runs the handler; `failed_when` names the expected error where `ignore_errors`
    swallows all of them."""
    unwanted = {"tags", "ignore_errors", "notify", "ansible.builtin.shell", "shell"}
    for role in tree.roles():
        if tree.files(f"roles/{role}/handlers/*"):
            yield f"roles/{role} has handlers"
        for path, task in tree.tasks(role):
            for word in sorted(unwanted & task.keys()):
                yield f"{path}: {task.get('name')!r} has {word}"


@promise(({"roles/web/tasks/main.yml": "- {name: X, ansible.builtin.meta: noop}\n" * 41}, "41"))
def main_is_a_table_of_contents(tree: Tree) -> Complaints:
    for path in tree.files("roles/*/tasks/main.yml"):
        lines = len(tree.text(path).splitlines())
        if lines > LONGEST_MAIN:
            yield f"{path} has {lines} lines, more than {LONGEST_MAIN}: move work into files of its own"


@promise(
    ({"playbooks/site.yml": "- hosts: all\n  tasks: []\n"}, "playbooks/site.yml: a play has no strategy of its own"),
    (
        {"playbooks/site.yml": "- {hosts: all, strategy: free}\n"},
        "playbooks/site.yml: a play has no strategy of its own",
    ),
)
def plays_go_step_by_step(tree: Tree) -> Complaints:
    """By another strategy of the user's, such as free, a migration for the first host would run on several at once."""
    for path in tree.files("playbooks/*.yml"):
        for play in tree.yaml(path) or []:
            if "hosts" in play and play.get("strategy") != "linear":
                yield f"{path}: a play has no strategy of its own"


# --- Variables -----------------------------------------------------------------------------------


@promise(
    ({"inventories/x/group_vars/all.yml": "web_prot: 81\n"}, "web_prot"),
    ({"molecule/web/molecule.yml": "provisioner: {inventory: {group_vars: {all: {web_prot: 1}}}}\n"}, "web_prot"),
    ({"playbooks/site.yml": "- hosts: all\n  roles: [{role: flask_ops.production.web, web_prot: 1}]\n"}, "web_prot"),
    ({"README.md": "Like this:\n\n```yaml\nweb_prot: 81\n```\n"}, "README.md: web_prot"),
    ({"README.md": "```yaml\nweb_sites:\n  - {name: a, prot: 1}\n```\n"}, "web_sites[0].prot"),
    ({"examples/x/vars.yml": "flask_apps:\n  - {name: a, tls: {enabeld: true}}\n"}, "flask_apps[0].tls.enabeld"),
)
def variables_are_declared(tree: Tree) -> Complaints:
    """Ansible accepts any name, so a misspelt one does nothing, in silence: whatever we show or set
    with a role's prefix is in that role's argument specs, down to the options of an entry."""
    declared = tree.declared()
    ours = re.compile("|".join(f"{role}_" for role in tree.roles()) or "(?!)")
    for path, document in tree.documents():
        for name, value in pairs(document):
            if name in declared:
                yield from (f"{path}: {place} is in no argument spec" for place in _strays(name, value, declared[name]))
            elif ours.match(name):
                yield f"{path}: {name} is in no argument spec"


def _strays(place: str, value: Any, option: dict[str, Any]) -> Iterator[str]:
    """Places inside a variable that its spec does not know."""
    if isinstance(value, list):
        for number, entry in enumerate(value):
            yield from _strays(f"{place}[{number}]", entry, option)
    elif isinstance(value, dict) and option.get("options"):
        for key, below in value.items():
            if key in option["options"]:
                yield from _strays(f"{place}.{key}", below, option["options"][key])
            else:
                yield f"{place}.{key}"


MOST_FILES = {
    "canonical_domain": 3,
    "csp_report_only": 3,
    "migrate_on": 3,
    "migrate_timeout": 3,
}
"""By option that reaches the host, the most files that name it. With its test and its fragment, two more."""


@promise(
    (
        {
            "plugins/a.py": "migrate_on",
            "plugins/b.py": "migrate_on",
            "roles/c.yml": "migrate_on",
            "roles/d.j2": "migrate_on",
        },
        "migrate_on is named in 4 files, more than 3: plugins/a.py, plugins/b.py, roles/c.yml, roles/d.j2",
    ),
)
def an_option_is_in_few_files(tree: Tree) -> Complaints:
    """Its description, its rule, and what uses it: CONTRIBUTING.md, "Where a new option goes"."""
    for option, most in MOST_FILES.items():
        found = [path for path in _code(tree) if re.search(rf"\b{option}\b", tree.text(path))]
        if len(found) > most:
            yield f"{option} is named in {len(found)} files, more than {most}: {', '.join(found)}"


@promise(
    ({"plugins/plugin_utils/_private/private.py": 'ROLES = ["web"]\n'}, "_private/private.py names the role web"),
    ({"plugins/modules/x.py": "if role == 'web': pass\n"}, "plugins/modules/x.py names the role web"),
    ({"plugins/filter/x.py": 'variables["web_port"]\n'}, "plugins/filter/x.py names the role web"),
    ({"roles/app/tasks/main.yml": "- {name: X, debug: {msg: '{{ web_port }}'}}\n"}, "roles/app/tasks/main.yml"),
    ({"roles/app/templates/x.j2": "listen {{ __web_port }};\n"}, "roles/app/templates/x.j2 names the role web"),
)
def a_role_is_named_at_home_alone(tree: Tree) -> Complaints:
    """A new role is its folder, its checks, its scenario, its pages, the playbooks and their wiring; no list has to be
    continued elsewhere. Nor does one role read a variable of another one."""
    for role in tree.roles():
        home = (f"roles/{role}/", "playbooks/", f"plugins/plugin_utils/_schema/checks/{role}.py")
        text, variable = rf"""["']{role}(_\w+)?["']""", rf"\{{[{{%][^}}]*\b(__)?{role}_\w"
        for path in _code(tree):
            pattern = text if path.startswith("plugins/") else variable
            if not path.startswith(home) and re.search(pattern, tree.text(path)):
                yield f"{path} names the role {role}"


def _code(tree: Tree) -> list[str]:
    return [path for path in tree.files("playbooks/*", "plugins/*", "roles/*") if not path.endswith(".md")]


@promise(
    (
        {"plugins/plugin_utils/_private/other.py": "class App: ...\n", "plugins/modules/x.py": "class App: ...\n"},
        "the class App is in plugins/modules/x.py, plugins/plugin_utils/_private/other.py",
    ),
)
def a_class_name_means_one_thing(tree: Tree) -> Complaints:
    """ActionModule, FilterModule and LookupModule are names that Ansible asks for."""
    places: dict[str, list[str]] = {}
    for path in tree.files("plugins/*.py", "plugins/*/*.py", "plugins/*/*/*.py", "plugins/*/*/*/*.py"):
        for name in re.findall(r"^class (\w+)", tree.text(path), re.MULTILINE):
            places.setdefault(name, []).append(path)
    for name, found in places.items():
        if len(found) > 1 and name not in ("ActionModule", "FilterModule", "LookupModule"):
            yield f"the class {name} is in {', '.join(found)}"


# --- What is downloaded ----------------------------------------------------------------------------


@promise(
    (
        {"roles/web/tasks/x.yml": "- {name: X, ansible.builtin.get_url: {url: 'https://a.example/x', dest: /x}}\n"},
        "'X' has get_url without a checksum",
    ),
    (
        {"playbooks/x.yml": "- hosts: all\n  tasks:\n    - {name: X, ansible.builtin.git: {repo: x, dest: /x}}\n"},
        "'X' has git",
    ),
    ({"roles/web/tasks/x.yml": "- {name: X, ansible.builtin.pip: {name: flask}}\n"}, "'X' has pip"),
    (
        {"roles/web/tasks/x.yml": "- {name: X, ansible.builtin.unarchive: {src: 'https://a.example/x', dest: /x}}\n"},
        "'X' has unarchive",
    ),
    (
        {"roles/web/tasks/x.yml": "- {name: X, ansible.builtin.apt: {name: x, allow_unauthenticated: true}}\n"},
        "roles/web/tasks/x.yml: 'X' has allow_unauthenticated",
    ),
    ({"roles/web/tasks/x.yml": "- {name: X, ansible.builtin.command: {argv: [curl, x]}}\n"}, "'X' runs curl"),
    ({"roles/web/tasks/x.yml": "- {name: X, ansible.builtin.command: wget https://a.example/x}\n"}, "'X' runs wget"),
    ({"plugins/modules/x.py": 'run(["pip", "install", "--trusted-host", host])\n'}, "x.py:1 has --trusted-host"),
    ({"roles/web/files/x.in": "flask\n", "roles/web/files/x.txt": "flask==3.1.0\n"}, "flask==3.1.0 has no hash"),
    ({"roles/web/files/x.in": "flask\n"}, "roles/web/files/x.in has no pins"),
    (
        {"tests/x/package-lock.json": '{"packages": {"": {}, "node_modules/a": {"version": "1.0.0"}}}'},
        "node_modules/a has no hash",
    ),
    ({".github/workflows/x.yml": "jobs: {a: {steps: [{uses: actions/checkout@v4}]}}\n"}, "actions/checkout@v4"),
)
def downloads_are_checked(tree: Tree) -> Complaints:
    """Nothing is fetched without a signature, a hash or a checksum. A git repository of a user's is fetched by the module
    python_release, at a commit; its git checks what it gets against that."""
    for path in tree.files("roles/*/tasks/*.yml", "roles/*/handlers/*.yml", "playbooks/*.yml"):
        for task in _tasks(tree.yaml(path)):
            name, modules = task.get("name"), {str(key).rpartition(".")[2]: value for key, value in task.items()}
            if "get_url" in modules and "checksum" not in modules["get_url"]:
                yield f"{path}: {name!r} has get_url without a checksum"
            yield from (f"{path}: {name!r} has {module}" for module in FETCHING & modules.keys())
            if "://" in str((modules.get("unarchive") or {}).get("src", "")):
                yield f"{path}: {name!r} has unarchive with a URL"
            yield from (f"{path}: {name!r} has {word}" for word, _ in pairs(task) if word in UNCHECKED)
            words = re.findall(r"[\w-]+", str(modules.get("command", "")))
            yield from (f"{path}: {name!r} runs {word}" for word in words if word in ("curl", "wget"))
    for path in tree.files("roles/*", "plugins/*.py", "Makefile", ".github/*"):
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            yield from (f"{path}:{number} has {word}" for word in UNCHECKED_OPTIONS if word in line)
    yield from _without_hashes(tree)


FETCHING = {"git", "pip", "apt_key", "deb822_repository", "apt_repository", "subversion"}
UNCHECKED = {"allow_unauthenticated", "trusted", "force_apt_get"}
# Put together, so that this file does not hold them.
UNCHECKED_OPTIONS = tuple("--" + option for option in ("trusted-host", "no-check-certificate", "allow-unauthenticated"))


def _tasks(document: Any) -> Iterator[dict[str, Any]]:
    """Every dictionary of a playbook or a file of tasks that may be a task."""
    if isinstance(document, dict):
        yield document
        document = list(document.values())
    if isinstance(document, list):
        for item in document:
            yield from _tasks(item)


def _without_hashes(tree: Tree) -> Complaints:
    for path in tree.files("*.in"):
        pins = path.removesuffix(".in") + ".txt"
        if not tree.has(pins):
            yield f"{path} has no pins"
            continue
        for requirement in re.split(
            r"\n(?=[A-Za-z0-9])", "\n" + re.sub(r"^ *#.*\n", "", tree.text(pins), flags=re.MULTILINE)
        ):
            if requirement.strip() and "--hash=sha256:" not in requirement:
                yield f"{pins}: {requirement.split()[0]} has no hash"
    for path in tree.files("*/package-lock.json"):
        for name, package in json.loads(tree.text(path))["packages"].items():
            if name and not package.get("integrity"):
                yield f"{path}: {name} has no hash"
    for path in tree.files(".github/workflows/*.yml"):
        for action in re.findall(r"uses: *([^\s,}\]]+)", tree.text(path)):
            if not re.search(r"@[0-9a-f]{40}$", action):
                yield f"{path}: {action} is not a commit"


# --- Scenarios -----------------------------------------------------------------------------------


@promise(
    ({"molecule/web/tests/test_web.py": None}, "molecule/web has no tests"),
    ({"molecule/web/tests/test_web.py": "# later\n"}, "molecule/web has no tests"),
    ({"molecule/web-tls/tests/test_tls.py": "def test_tls(): ...\n"}, "molecule/web-tls has no molecule.yml"),
    (
        {"molecule/wbe/molecule.yml": "a: 1\n", "molecule/wbe/tests/test_x.py": "def test_x(): ..."},
        "molecule/wbe is named after no role",
    ),
)
def scenarios_are_complete(tree: Tree) -> Complaints:
    """Molecule is green when it finds no tests, and passes over a folder without molecule.yml."""
    for scenario in tree.scenarios():
        folder = f"molecule/{scenario}"
        if not tree.has(f"{folder}/molecule.yml"):
            yield f"{folder} has no molecule.yml"
        if not any("def test_" in tree.text(path) for path in tree.files(f"{folder}/tests/test_*.py")):
            yield f"{folder} has no tests"
        if scenario.split("-")[0] not in [*tree.roles(), "default"]:
            yield f"{folder} is named after no role"


@promise(
    ({"molecule/shared/tests/test_invariants.py": None}, "molecule/shared/tests holds no tests"),
    ({"molecule/web/molecule.yml": "verifier: {name: testinfra}\n"}, "molecule/web/molecule.yml sets verifier"),
    (
        {"molecule/web/molecule.yml": "scenario: {test_sequence: [converge]}\n"},
        "molecule/web/molecule.yml sets scenario",
    ),
)
def scenarios_cannot_weaken_the_test(tree: Tree) -> Complaints:
    """How a role is tested is said once. A folder of tests that is not there is passed over in silence,
    so is a scenario's own list in place of the shared one; and no sequence leaves out idempotence."""
    verifier = (tree.yaml(".config/molecule/config.yml") or {}).get("verifier", {})
    for folder in [path.partition("}/")[2] for path in verifier.get("additional_files_or_dirs", [])] or [None]:
        if not tree.files(f"{folder}/test_*.py"):
            yield f".config/molecule/config.yml: {folder} holds no tests"
    for path in tree.files("molecule/*/molecule.yml"):
        for word in sorted({"driver", "prerun", "scenario", "verifier"} & (tree.yaml(path) or {}).keys()):
            yield f"{path} sets {word}, which .config/molecule/config.yml says for all"


@promise(
    (
        {"molecule/web-tls/a.yml": "- hosts: all\n  tasks: []\n", "molecule/web/b.yml": "- hosts: all\n  tasks: []\n"},
        "molecule/web-tls/a.yml and molecule/web/b.yml",
    ),
)
def nothing_is_copied_between_scenarios(tree: Tree) -> Complaints:
    """A scenario holds differences only; what is equal belongs into molecule/shared."""
    places = defaultdict(list)
    for path in tree.files("molecule/*"):
        if len(tree.text(path).split()) > 1:  # an empty molecule.yml is a fine scenario
            places[tree.text(path)].append(path)
    for paths in places.values():
        if len(paths) > 1:
            yield f"{' and '.join(paths)} are equal: move them into molecule/shared"


# --- Plugins -------------------------------------------------------------------------------------


@promise(
    ({"plugins/filter/plain.py": "EXAMPLES = 'plain'\nRETURN = '{a: {}}'\n"}, "no example uses flask_ops"),
    ({"plugins/filter/plain.py": "EXAMPLES = 'flask_ops.production.plain'\n"}, "has no RETURN"),
    ({"plugins/action/lonely.py": ""}, "plugins/modules/lonely.py, which documents it, is missing"),
)
def plugins_are_documented(tree: Tree) -> Complaints:
    """What neither antsibull-docs nor the sanity tests ask of a plugin: what it returns, examples under its full name, and a
    module that documents each action plugin."""
    for path in tree.files("plugins/action/*.py"):
        if not tree.has(module := path.replace("/action/", "/modules/")):
            yield f"{path}: {module}, which documents it, is missing"
    for path in tree.files("plugins/filter/*.py", "plugins/lookup/*.py", "plugins/modules/*.py"):
        texts = dict(
            re.findall(r'^(EXAMPLES|RETURN) = (?:r?"""|\')(.*?)(?:"""|\'$)', tree.text(path), re.DOTALL | re.MULTILINE)
        )
        if not texts.get("RETURN", "").strip():
            yield f"{path} has no RETURN"
        if (name := f"flask_ops.production.{path.split('/')[-1][:-3]}") not in texts.get("EXAMPLES", ""):
            yield f"{path}: no example uses {name}"


@promise(
    (
        {"plugins/modules/web.py": "import os\ndef main():\n    set_umask()\n    os.makedirs('/x')\n"},
        "ensure_directory",
    ),
    ({"plugins/module_utils/_web/web.py": "import os\nos.mkdir('/x')\n"}, "ensure_directory"),
    ({"plugins/modules/web.py": "def main():\n    write()\n"}, "does not begin with set_umask()"),
)
def modes_do_not_depend_on_the_umask(tree: Tree) -> Complaints:
    """A hardened host has a umask for root that hides new directories from nginx and the apps."""
    for path in tree.files("plugins/modules/*.py", "plugins/module_utils/*/*.py"):
        text = tree.text(path)
        # The build's own program runs under a umask that it is given.
        if not path.endswith(("/_host/files.py", "/_host/transaction.py", "/_release/unpack.py")) and re.search(
            r"\bos\.(mkdir|makedirs)\(", text
        ):
            yield f"{path}: use ensure_directory() or make_directories() of _host/files.py"
        main = re.search(r"^def main\(.*\n((?:    #.*\n)*)(.*)", text, re.MULTILINE)
        reads_only = path.endswith(("_info.py", "_facts.py"))
        if path.startswith("plugins/modules/") and main and not reads_only and "set_umask()" not in main[2]:
            yield f"{path}: main() does not begin with set_umask()"


# --- Documentation -------------------------------------------------------------------------------

FENCED = re.compile(r"^(```+|~~~+).*?^\1", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]*)`")
LINKS = re.compile(
    r"\]\(<?([^)\s>]+)[^)]*\)|^ {0,3}\[[^\]]+\]:\s+(\S+)|\b(?:src|srcset|href)=\"([^\"\s]+)", re.MULTILINE
)


@promise(
    ({"README.md": "See [the design](docs/design.md).\n"}, "README.md: docs/design.md is not there"),
    ({"README.md": "![What runs where](docs/images/x.svg)\n"}, "README.md: docs/images/x.svg is not there"),
    ({"README.md": '<img src="docs/images/x.svg" alt="">\n'}, "README.md: docs/images/x.svg is not there"),
    ({"README.md": "See [the design].\n\n[the design]: docs/design.md\n"}, "README.md: docs/design.md is not there"),
    ({"docs/a.md": "See [the role](roles/web/README.md).\n"}, "docs/a.md: roles/web/README.md is not there"),
    ({"README.md": "# Sample\n\nSee [below](#use).\n"}, "README.md: #use is no heading of README.md"),
    ({"README.md": "See [web](roles/web/README.md#use).\n"}, "#use is no heading of roles/web/README.md"),
)
def links_lead_somewhere(tree: Tree) -> Complaints:
    """Every relative link and image in the documentation, and the heading that it names, exists. A link into
    the world is not asked: tests do not depend on other people's servers."""
    for path in tree.files("*.md"):
        text = INLINE.sub("", FENCED.sub("", tree.text(path)))
        for target in ("".join(found) for found in LINKS.findall(text)):
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            file, _, heading = target.partition("#")
            place = posixpath.normpath(posixpath.join(posixpath.dirname(path), file)) if file else path
            if not tree.has(place):
                yield f"{path}: {target} is not there"
            elif heading and place.endswith(".md") and heading not in _anchors(tree.text(place)):
                yield f"{path}: #{heading} is no heading of {place}"


def _anchors(text: str) -> set[str]:
    """What can be linked to: headings, by GitHub's rule, and marks of HTML."""
    headings = re.findall(r"^#+ +(.+?) *$", INLINE.sub(r"\1", FENCED.sub("", text)), re.MULTILINE)
    marks = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    return marks | {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


DEFAULTS = re.compile(r"^\| \[`([\w.]+)`\]\([^)]*\) \| `([^`]*)` \|", re.MULTILINE)


@promise(
    ({"docs/a.md": "| [`port`](x.md) | `81` | a port |\n"}, "docs/a.md: the default of port is 80, not 81"),
    (
        {"docs/a.md": "| [`tls.enabled`](x.md) | `true` | x |\n"},
        "docs/a.md: the default of tls.enabled is false, not true",
    ),
    ({"docs/a.md": "| [`prot`](x.md) | `81` | a port |\n"}, "docs/a.md: there is no option prot"),
)
def defaults_in_tables_are_those_of_the_specs(tree: Tree) -> Complaints:
    """Where a page lists options of an app with their defaults, these are what the specs say."""
    for path in tree.files("*.md"):
        for name, value in DEFAULTS.findall(tree.text(path)):
            option: dict[str, Any] = {"options": tree.declared()["flask_apps"]["options"]}
            for part in name.split("."):
                option = option.get("options", {}).get(part, {})
            default = option.get("default")
            shown = default if isinstance(default, str) else json.dumps(default)
            if not option:
                yield f"{path}: there is no option {name}"
            elif value != shown:
                yield f"{path}: the default of {name} is {shown}, not {value}"


BLOCKS = re.compile(r"^( *)(```+)(?:console|sh|bash)?\n(.*?)^\1\2", re.MULTILINE | re.DOTALL)
OTHER_BLOCKS = re.compile(r"^( *)(```+)(?!console|sh\b|bash)\w+\n.*?^\1\2", re.MULTILINE | re.DOTALL)
COMMANDS = "tests/contract/commands.yml"
A_TEST = "def test_up(): ...\n"
BY_A_TEST: dict[str, str | None] = {
    "README.md": "```\nuptime\n```\n",
    COMMANDS: "by_a_test: [{command: uptime, test: 'tests/test_up.py::test_up', words: uptime()}]\n",
}


@promise(
    ({"README.md": "```\nmake dmeo\n```\n", "Makefile": "demo: ## x\n"}, "README.md: make has no target 'dmeo'"),
    ({"README.md": "```\nmake scenario S=wbe\n```\n", "Makefile": "scenario:\n"}, "there is no scenario 'wbe'"),
    ({"README.md": "```\nansible-playbook -i x flask_ops.production.stie\n```\n"}, "playbooks/stie.yml is not there"),
)
def commands_in_the_documentation_exist(tree: Tree) -> Complaints:
    """The targets of make, the scenarios and the playbooks in the documentation exist."""
    targets = set(re.findall(r"^([a-z-]+):", tree.text("Makefile"), re.MULTILINE)) if tree.has("Makefile") else set()
    for path in tree.files("*.md"):
        commands = "\n".join(_commands(tree.text(path)))
        for line in re.findall(r"^make ([a-z][a-z -]*)", commands, re.MULTILINE):
            yield from (f"{path}: make has no target {word!r}" for word in line.split() if word not in targets)
        for scenario in sorted(set(re.findall(r"\bS=([\w-]+)", commands)) - set(tree.scenarios())):
            yield f"{path}: there is no scenario {scenario!r}"
        for playbook in sorted(set(re.findall(r"ansible-playbook .*flask_ops\.production\.(\w+)", commands))):
            if not tree.has(f"playbooks/{playbook}.yml"):
                yield f"{path}: playbooks/{playbook}.yml is not there"


@promise(
    ({"README.md": "```\nuptime\n```\n"}, "README.md: 'uptime' is not in"),
    ({"docs/a.md": "```yaml\na: 1\n```\n\n- Type:\n\n  ```\n  uptime\n  ```\n"}, "docs/a.md: 'uptime' is not in"),
    ({COMMANDS: "on_the_server: [uptime]\n"}, "no page shows 'uptime'"),
    ({COMMANDS: "not_tested: [{command: up.*, reason: x}]\n"}, "no page shows 'up.*'"),
    ({**BY_A_TEST, "tests/test_up.py": f"{A_TEST}def test_other():\n    uptime()\n"}, "does not have 'uptime()'"),
    ({**BY_A_TEST, "tests/test_up.py": "@pytest.mark.skip\ndef test_up():\n    uptime()\n"}, "::test_up is skipped"),
    ({**BY_A_TEST, "tests/test_up.py": "# def test_up():\n#    uptime()\n"}, "::test_up is no test"),
)
def commands_in_the_documentation_are_tested(tree: Tree) -> Complaints:
    """Each command that a reader is asked to type is run by a test, or there is a reason why not."""
    listed = tree.yaml(COMMANDS) or {}
    tested, not_tested = listed.get("by_a_test", []), listed.get("not_tested", [])
    known = {re.escape(command): command for command in listed.get("on_the_server", [])}
    known |= {entry["command"]: entry["command"] for entry in [*tested, *not_tested]}
    shown = {command: path for path in tree.files("*.md") for command in _commands(tree.text(path))}
    for command, path in shown.items():
        if not any(re.fullmatch(pattern, command) for pattern in known):
            yield f"{path}: {command!r} is not in {COMMANDS}"
    for pattern, name in known.items():
        if not any(re.fullmatch(pattern, command) for command in shown):
            yield f"{COMMANDS}: no page shows {name!r}"
    for entry in tested:
        if fault := _fault_of(tree, entry["test"]):
            yield f"{COMMANDS}: {entry['test']} {fault}"
        elif entry["words"] not in (tree.function(entry["test"]) or ""):
            yield f"{COMMANDS}: {entry['test']}, which is to run {entry['command']!r}, does not have {entry['words']!r}"


FINDINGS = "tests/findings.yml"


@promise(
    ({FINDINGS: "a: {1 x: ''}\n"}, "a 1 has neither a test nor a reason"),
    ({FINDINGS: "a: {1 x: by design, 1 y: by design}\n"}, "a 1 is there twice"),
    ({FINDINGS: "a: {1 x: by design, 3 y: by design}\n"}, "a 2 is missing"),
    ({FINDINGS: "a: {1 x: [tests/test_up.py]}\n"}, "a 1: tests/test_up.py is no test"),
    (
        {
            FINDINGS: "a: {1 x: ['tests/test_up.py::test_up', 'tests/test_up.py::test_down']}\n",
            "tests/test_up.py": A_TEST,
        },
        "a 1: tests/test_up.py::test_down is no test",
    ),
    (
        {
            FINDINGS: "a: {1 x: ['tests/test_up.py::test_up']}\n",
            "tests/test_up.py": f"@pytest.mark.skip\n{A_TEST}",
        },
        "a 1: tests/test_up.py::test_up is skipped",
    ),
)
def every_finding_has_a_test_or_a_reason(tree: Tree) -> Complaints:
    """Every fault that was found once is in the table, with the tests that would find it again, or with a reason."""
    for part, rows in (tree.yaml(FINDINGS) or {}).items():
        numbers = [key.split()[0] for key in rows]
        for number in sorted({number for number in numbers if numbers.count(number) > 1}):
            yield f"{FINDINGS}: {part} {number} is there twice"
        known = {int(number.split(".")[0]) for number in numbers}
        yield from (f"{FINDINGS}: {part} {number} is missing" for number in range(1, max(known)) if number not in known)
        for number, tests in zip(numbers, rows.values(), strict=True):
            if not tests:
                yield f"{FINDINGS}: {part} {number} has neither a test nor a reason"
            for test in tests if isinstance(tests, list) else []:
                if fault := _fault_of(tree, test, "test_"):
                    yield f"{FINDINGS}: {part} {number}: {test} {fault}"


def _fault_of(tree: Tree, test: str, prefix: str = "") -> str | None:
    """Why a test, given as `tests/test_x.py::test_y`, shows nothing."""
    body = tree.function(test) if f"::{prefix}" in test else None
    if body is None:
        return "is no test"
    return "is skipped" if re.search(r"^@pytest\.mark\.(skip|xfail)\b", body, re.MULTILINE) else None


def _commands(page: str) -> Iterator[str]:
    """The commands of a page, without comments, each on a line."""
    for _, _, block in BLOCKS.findall(OTHER_BLOCKS.sub("", page)):
        for line in re.sub(r"\\\n *", "", block).splitlines():
            if command := re.sub(r"(^| +)# .*", "", line).strip():
                yield command


# --- All files -----------------------------------------------------------------------------------

# In brackets, so that this file does not match itself.
REGISTRIES = re.compile(
    r"python[h]osted|pypi[.]org|(deb|security)[.]debian[.]org|registry[.](npmjs|hub)|(docker|quay|ghcr)[.]io\b"
)


@promise(({"README.md": "See https://py" + "pi.org/simple\n"}, "README.md:1"))
def no_registry_is_named(tree: Tree) -> Complaints:
    """Every client has its default, and an organisation its mirror: a host name here would win over both."""
    for path in tree.files("*"):
        for number, line in enumerate(tree.text(path).splitlines(), 1):
            if REGISTRIES.search(line):
                yield f"{path}:{number} names a package registry"

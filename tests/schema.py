"""The JSON schema of the variables, for editors and for what this repository shows:
`python3 tests/env.py python -m tests.schema` checks every inventory, scenario, example and page against it.

It comes from the roles' argument specs and rules; tests/docs.py writes it to docs/schemas/group_vars.json. It is draft 7,
the newest that yaml-language-server knows. It accepts all that `prepare_apps` accepts, and refuses less: rules that are
functions, and rules between options but `required_if`, are left out.
"""

from __future__ import annotations

import json
import re
import string
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema import predicates
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.rules import (
    all_rules,
    required_if,
    role_rules,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.specs import (
    ROLE_NAMES,
    Options,
    app_options,
    app_roles,
    list_of,
    role_options,
    wired_variables,
)
from ansible_collections.flask_ops.production.plugins.plugin_utils._schema.values import TYPES as WORDS

from tests.contract.tree import APPS_OF_ALL_ROLES, Tree, pairs

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "docs" / "schemas" / "group_vars.json"

TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array", "dict": "object"}
LATER = r"\{[{%]|^\$ANSIBLE_VAULT;"
"""A text whose value is known at run time: a Jinja expression, or what Ansible Vault has encrypted."""
RULES = {path: rule for role in ROLE_NAMES for path, rule in role_rules(role).items()}

Schema = dict[str, Any]


def schema() -> Schema:
    """The schema of a file in group_vars or host_vars. Other people's variables are accepted."""
    every = {"type": "list", "elements": "dict", "description": "The apps, one entry each."}
    apps = list_of_apps(every, app_roles())
    properties = {APPS_OF_ALL_ROLES: apps}
    for role in ROLE_NAMES:
        for name, option in role_options(role).items():
            if name == list_of(role):
                properties[name] = list_of_apps(option, [role])
                refer(properties[name]["items"]["properties"], apps["items"]["properties"])
            else:
                properties[name] = of_option(name, option)
            if name == list_of(role) or name in wired_variables():
                properties[name]["description"] += " The playbooks set it: it is for the role used alone."
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Variables of flask_ops.production",
        "type": "object",
        "properties": properties,
    }


def list_of_apps(option: dict[str, Any], roles: list[str]) -> Schema:
    entry = of_value("", {"type": "dict", "options": app_options(roles)}, roles)
    return of_value("", option) | {"description": sentences(option), "items": entry}


def refer(options: Schema, apps: Schema) -> None:
    """What is the same for an app of any role is written once."""
    for name, option in options.items():
        if option | {"description": ""} == apps[name] | {"description": ""}:
            options[name] = {"$ref": f"#/properties/{APPS_OF_ALL_ROLES}/items/properties/{name}"}


def of_option(path: str, option: dict[str, Any]) -> Schema:
    """The schema of a value, and what an editor shows about it."""
    about = {"description": sentences(option)}
    if option.get("default") is not None:
        about["default"] = option["default"]
    return about | of_value(path, option)


def of_value(path: str, option: dict[str, Any], roles: Iterable[str] = ROLE_NAMES) -> Schema:
    """The schema of a value. One of another type than a text may also be a text whose value is known at run time."""
    kind = TYPES[option["type"]]
    if "choices" in option:
        found = one_of(option["choices"])
    elif kind == "string":
        found = of_rule(path)
    else:
        error = f"must be {WORDS[option['type']][1]}, or a Jinja expression"
        found = {"type": [kind, "string"], "pattern": LATER, "patternErrorMessage": error} | of_range(path)
    if "elements" in option:
        found["items"] = of_value(f"{path}[]", {"type": option["elements"], "options": option.get("options")})
    elif option.get("options"):
        found |= of_options(path, option["options"], roles)
    elif kind == "object":
        names, found["additionalProperties"] = of_rule(f"{path}{{key}}"), of_rule(f"{path}{{value}}")
        if names:
            found["propertyNames"] = names
    if "default" in option and option["default"] is None:
        found["type"] = [*([found["type"]] if isinstance(found["type"], str) else found["type"]), "null"]
    return found


def of_options(path: str, options: Options, roles: Iterable[str]) -> Schema:
    found: Schema = {
        "properties": {name: of_option(f"{path}.{name}".lstrip("."), option) for name, option in options.items()},
        "additionalProperties": False,
    }
    if required := [name for name, option in options.items() if option.get("required")]:
        found["required"] = required
    conditions: dict[tuple[str, str], list[str]] = {}
    for option, value, names in required_if(path, roles):
        conditions.setdefault((option, value), []).extend(names)
    if conditions:
        found["allOf"] = [
            {
                "if": {"properties": {option: {"const": value}}}
                | ({} if options[option].get("default") == value else {"required": [option]}),
                "then": {"required": sorted(set(names))},
            }
            for (option, value), names in conditions.items()
        ]
    return found


def of_range(path: str) -> Schema:
    return {end: RULES[path][end] for end in ("minimum", "maximum") if end in RULES.get(path, {})}


def of_rule(path: str) -> Schema:
    """The schema of a text, or of a name or value of the user's own: what its rule refuses, unless it is a function."""
    rule = RULES.get(path, {})
    own = path.endswith("}")
    found: Schema = {} if own else {"type": "string"}
    if "one_of" in rule:
        found = one_of(sorted(predicates.SETS[rule["one_of"]]))
    elif "pattern" in rule:
        empty = "|^$(?!\\n)" if rule.get("or_empty") else ""
        pattern = f"^(?:{ecma(rule['pattern'])})$(?!\\n){empty}|{LATER}"
        found = {"type": "string", "pattern": pattern, "patternErrorMessage": all_rules()[path].error}
    example = str(rule.get("example", ""))
    if example and not own and not example.startswith(('"{{', "what ")):
        found["examples"] = [example]
    return found


def one_of(choices: Iterable[str]) -> Schema:
    """In two parts, since an editor proposes the values of `enum`."""
    return {"anyOf": [{"enum": list(choices)}, {"type": "string", "pattern": LATER}]}


def ecma(pattern: str) -> str:
    r"""A pattern of Python's as editors read it: in JavaScript, `\w` has no letters beyond ASCII."""
    wide = r"\w\u0080-\uffff"
    return re.sub(
        r"\[(?:\\.|[^\]\\])*\]|\\.",
        lambda part: (
            f"[{wide}]" if part[0] == r"\w" else part[0].replace(r"\w", wide) if part[0][0] == "[" else part[0]
        ),
        pattern,
    )


def sentences(option: dict[str, Any]) -> str:
    description = option["description"]
    return plain(" ".join([description] if isinstance(description, str) else description))


def plain(text: str) -> str:
    """Ansible's markup as Markdown; an option of an entry without the name of the list.

    >>> plain("With O(python_app_apps[].state=absent), see C(env) and V(true).")
    'With `state: absent`, see `env` and `true`.'
    """
    text = re.sub(r"\bO\((?:\w+\[\]\.)?([^)=]+)=([^)]*)\)", r"`\1: \2`", text)
    return re.sub(r"\b[COVM]\((?:\w+\[\]\.)?([^)]*)\)", r"`\1`", text)


def render() -> str:
    return json.dumps(schema(), indent=1) + "\n"


def errors(tree: Tree) -> Iterator[str]:
    """What the schema refuses, in all YAML that sets variables. A page or a scenario may have a part of an app."""
    checked = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))
    for path, document in tree.documents():
        if path.endswith("/molecule.yml"):
            text = string.Template(json.dumps(document, default=str))
            document = json.loads(text.safe_substitute(MOLECULE_PROJECT_DIRECTORY=tree.root))
        for name, value in pairs(document):
            for error in checked.iter_errors({name: value}):
                if error.validator != "required" or path.startswith("inventories/"):
                    yield f"{path}: {error.json_path.removeprefix('$.')}: {error.message}"


def main() -> int:
    found = list(errors(Tree(ROOT)))
    print(*found, sep="\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

"""A study's content around its check: read on top of its `base`, keys set, variables filled in, faults said."""

import os
import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fedmammo.disk.yaml import read_yaml_file
from fedmammo.errors import InputError, one_line
from fedmammo.hospitals.rules import RULES
from fedmammo.strategies.registry import OWN, STRATEGIES
from fedmammo.synthesis.sources import SOURCES

DESCRIPTION = (
    "Another study's file, its path relative to this one: it holds wherever this file says nothing. Sections are "
    "merged key by key; lists, values, and a rule, strategy or source of another kind are replaced."
)
LONGEST_CHAIN = 32
_KINDS = {"assignment": "by", "strategy": "name", "synthesis": "source"}  # sections whose keys depend on one of them


def read_yaml(path: Path, above: tuple[Path, ...] = ()) -> Any:
    """Read a YAML file merged onto its base, if it names one, and onto that one's.

    Raises OSError, UnicodeDecodeError, ValueError or yaml.YAMLError as reading `path` does; InputError for a base that
    cannot be read, is no mapping, or has itself as a base (`above` are the files that led here).
    """
    content = read_yaml_file(path)
    if not isinstance(content, dict) or "base" not in content:
        return content
    name, chain = content.pop("base"), (*above, path.resolve())
    if len(chain) > LONGEST_CHAIN:
        raise InputError(f"{path}: base: more than {LONGEST_CHAIN} files stand on one another; join some of them")
    if not isinstance(name, str):
        raise InputError(f"{path}: base: expected the path of a study's YAML file, not {name!r}")
    base = path.parent / name
    if base.resolve() in chain:
        raise InputError(f"{path}: base: {name} has this file as its own base; leave one of the two out")
    try:
        merged = read_yaml(base, chain)
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(
            f"{path}: base: {base} cannot be read ({reason}); give a path relative to this file"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{base}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(merged, dict):
        raise InputError(f"{base}: expected a YAML mapping of keys, found {type(merged).__name__}")
    return _merge(merged, content)


def _merge(base: dict[Any, Any], own: dict[Any, Any]) -> dict[Any, Any]:
    merged = dict(base)
    for key, value in own.items():
        before, kind = base.get(key), _KINDS.get(key)
        if isinstance(value, dict) and isinstance(before, dict) and value.get(kind) in (None, before.get(kind)):
            merged[key] = _merge(before, value)
        else:
            merged[key] = value
    return merged


def add_to_schema(schema: dict[str, Any]) -> None:
    """Describe `base` in a study's JSON schema: it is no part of a study, which is checked when all are merged."""
    schema["properties"]["base"] = {"type": "string", "title": "Base", "description": DESCRIPTION}


def set_key(content: dict[str, Any], key: str, value: Any) -> None:
    """Set the dotted `key` in nested dictionaries, making what is missing; a wrong key is found by validation.

    Raises InputError where the key leads into something that is there and is no dictionary.
    """
    *parents, last = key.split(".")
    for parent in parents:
        child = content.setdefault(parent, {})
        if not isinstance(child, dict):
            raise InputError(f"{key}: {parent} is {child!r}, which has no keys; set {parent} as a whole")
        content = child
    content[last] = value


def fill_in(value: Any, key: str) -> Any:
    """Replace ${NAME} by the environment's value, in every string.

    No key takes a truth value, YAML's yes and no: pydantic would take them for the numbers 1 and 0.
    """
    if isinstance(value, dict):
        return {name: fill_in(item, f"{key}.{name}".lstrip(".")) for name, item in value.items()}
    if isinstance(value, list):
        return [fill_in(item, key) for item in value]
    if isinstance(value, bool):
        raise InputError(
            f"{key}: expected another kind of value than yes or no, true or false; where it is a name, put it in quotes"
        )
    if not isinstance(value, str):
        return value

    def variable(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise InputError(f"{key}: the environment has no {match[1]}; set it, or give --set {key}=...")
        return os.environ[match[1]]

    return re.sub(r"\$\{(\w+)\}", variable, value)


def first_fault(error: ValidationError) -> str:
    """Say the first fault of a validation in one line."""
    faults = error.errors(include_url=False)
    fault = faults[0]
    tags = {*RULES, *STRATEGIES, *SOURCES, OWN}
    path = [str(part) for part in fault["loc"] if part != "[key]"]
    where = ".".join(part for place, part in enumerate(path) if part not in tags or place + 1 == len(path))
    if fault["type"] == "extra_forbidden":
        text = "unknown key"
    elif fault["type"] == "missing":
        text = "is missing"
    else:
        text = fault["msg"].removeprefix("Value error, ")
        if not isinstance(fault["input"], dict | list):
            text += f", not {one_line(repr(fault['input']), 200)}"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return " ".join((f"{where}: {text}" if where else text).split()) + more

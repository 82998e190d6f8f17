"""The text of a site file that is to be filled in: every key with what it means, by the schema itself."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel

from fedmammo.hospitals.site_file import SiteFile, SuperLink
from fedmammo.privacy.limits import Limits

SIMULATED = frozenset({
    "kind", "patients", "digitisers", "pools", "uplink_megabits_per_second", "images_per_second", "availability",
    "faults", "secret_seed",
})  # fmt: skip
SAID = (
    "scores",
    "local_models",
    "without_budget",
    "central_trust",
    "device",
    "threads",
)  # their defaults are spelt out
PARTS: dict[str, type[BaseModel]] = {"superlink": SuperLink, "limits": Limits}
WIDTH = 110


def site_text(values: Mapping[str, Any]) -> str:
    """Return a site file in which these keys stand; of all others the default is told, behind a comment's sign."""
    return "\n".join(_lines(SiteFile, values, "")).strip() + "\n"


def _lines(section: type[BaseModel], values: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        if name in SIMULATED:
            continue
        yield ""
        for line in textwrap.wrap(field.description or "", WIDTH - len(indent)):
            yield f"{indent}# {line}"
        if name in PARTS:
            yield f"{indent}{name}:"
            yield from _lines(PARTS[name], values.get(name, {}), indent + "  ")
        elif name in values or name in SAID:
            yield indent + _line(name, values.get(name, field.get_default()))
        else:
            yield f"{indent}# {_line(name, field.get_default(call_default_factory=True))}"


def _line(name: str, value: Any) -> str:
    return yaml.safe_dump({name: value}, default_flow_style=False, allow_unicode=True, width=1000).strip()

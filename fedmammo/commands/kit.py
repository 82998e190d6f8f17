"""`fedmammo deploy kit`: a folder for each hospital of a study, and one for its coordinator, all but the secrets."""

import hashlib
import ipaddress
import re
from importlib.metadata import requires, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

import fedmammo
from fedmammo.config.deployment import Deployment
from fedmammo.config.sections import LinkConfig
from fedmammo.config.study import StudyConfig
from fedmammo.deploy.keys import certificate_at, fingerprint, fingerprint_of
from fedmammo.deploy.site_text import site_text
from fedmammo.deploy.studies import asked_of, asked_of_site, described, write_studies
from fedmammo.disk.folders import new_folder
from fedmammo.errors import InputError
from fedmammo.federation import bundle
from fedmammo.federation.bundle import software
from fedmammo.hospitals.site_file import SuperLink

COORDINATOR = "coordinator"
PLACE = Path("/srv/fedmammo/coordinator")  # where its files lie, as its README has it
SUMS = "SHA256SUMS"
AUTHORITY = "ca.crt"  # in a hospital's folder
KEY = "node"  # there too, made by the hospital
FLEET = ("activate-node", "confirm-message-received", "deactivate-node", "get-fab", "get-run", "pull-messages",
         "pull-object", "push-messages", "push-object", "send-node-heartbeat")  # fmt: skip
"""What a node whose key is registered asks of Fleet; `register-node` there is for nodes without a key."""


def write_kit(study: StudyConfig, out: Path, address: str | None = None) -> dict[str, str]:
    """Write the kit; returns the digest of each folder's sums, by name.

    The same study, software and certificate give the same bytes. `address`: host:port at which hospitals reach the
    SuperLink's proxy; that of `engine.link` if not told. Raises InputError for a study that is not at sites, and where
    `out` holds something.
    """
    link = study.engine.link
    if not study.at_sites or link is None:
        raise InputError("hospitals.assignment: a kit is for real hospitals; set {by: site, keys: ...}")
    if COORDINATOR in study.keys:
        raise InputError(f"hospitals.assignment.keys: {COORDINATOR!r} is the name of the coordinator's own folder")
    if not re.fullmatch(r"[A-Za-z0-9.\[\]:-]+:\d+", address := address or link.address):
        raise InputError(f"--address: expected host:port, not {address!r}")
    approve = asked_of(study)
    values = _values(study, link, address, approve)
    folders = {COORDINATOR: _of_coordinator(study, values)}
    folders |= {name: _of_hospital(study, name, values, approve) for name in study.keys}
    with new_folder(out) as folder:
        for name, content in folders.items():
            content[SUMS] = "".join(f"{_sha256(text)}  {path}\n" for path, text in sorted(content.items()))
            for path, text in content.items():
                (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / name / path).write_text(text)
    return {name: _sha256(content[SUMS]) for name, content in folders.items()}


def has_authority(study: StudyConfig) -> bool:
    """Whether hospitals' folders get the authority's certificate; where it is not made yet, they do not."""
    return study.engine.link is not None and Path(study.engine.link.certificate).exists()


def _values(study: StudyConfig, link: LinkConfig, address: str, approve: list[Deployment]) -> dict[str, str]:
    """Return what all folders' templates say alike."""
    public_host, public_port = address.rsplit(":", 1)
    return {
        "study": study.name,
        "version": fedmammo.__version__,
        "software": software(),
        "address": address,
        "public_host": public_host,
        "public_port": public_port,
        "link_address": link.address,
        "link_port": link.address.rsplit(":", 1)[1],
        "certificate": link.certificate,
        "certificate_at": str(PLACE / link.certificate),
        "secret": link.secret,
        "names_of_server": _names_of_server(public_host),
        "hospitals": str(len(study.keys)),
        "names": ", ".join(study.keys),
        "approvals": _approvals(approve),
    }


def _of_coordinator(study: StudyConfig, values: dict[str, str]) -> dict[str, str]:
    register = [f"flwr supernode register keys/{name}.pub coordinator --name {name}" for name in study.keys]
    there = "it is in their folders of this kit." if has_authority(study) else (
        "it was not there when this kit was written. Once it is, write the kit again, into another folder."
    )  # fmt: skip
    more = {"registrations": "\n".join(register), "fleet_paths": "|".join(FLEET), "has_authority": there}
    return {
        "study.yaml": yaml.safe_dump(study.model_dump(mode="json"), sort_keys=False, allow_unicode=True),
        "studies.json": write_studies(study),
        "constraints.txt": _constraints(),
        **{f"app/{name}": content.decode() for name, content in bundle.files().items()},
        "flower/config.toml": _filled("coordinator/config.toml", values),
        **{f"keys/{name}.pub": key + "\n" for name, key in study.keys.items()},
        **{
            name: _filled(f"coordinator/{name}", values | more)
            for name in ("README.md", "Containerfile", "fedmammo-superlink.service", "fleet.nginx.conf")
        },
    }


def _of_hospital(study: StudyConfig, name: str, values: dict[str, str], approve: list[Deployment]) -> dict[str, str]:
    key = study.keys[name]
    found = {"studies.json": write_studies(study), "constraints.txt": _constraints()}
    row, authority = "", f"Have `{AUTHORITY}`, the certificate of the coordinator's authority, from the coordinator."
    if has_authority(study) and study.engine.link is not None:
        path = Path(study.engine.link.certificate)
        row = f"| `{AUTHORITY}` | the certificate of the authority that signed the SuperLink's own |\n"
        found[AUTHORITY] = path.read_text()
        authority = (
            f"`{AUTHORITY}` has the SHA-256 fingerprint below; have the coordinator read it to you:\n\n"
            f"    {fingerprint_of(certificate_at(path))}"
        )
    asked = asked_of_site(approve)
    link = {"address": values["address"], "certificate": AUTHORITY, "key": KEY}
    port = str(SuperLink.model_fields["port"].default)
    keys = {"name": name, "cohort": "cohort", "state": "state", "features": "features", "superlink": link}
    more = {
        "hospital": name,
        "port": port,
        "key": key,
        "fingerprint": fingerprint(key),
        "authority_row": row,
        "authority": authority,
        "asked": "\n".join(["| key of `site.yaml` | why |", "|---|---|", *(f"| `{a}` | {why} |" for a, why in asked)]),
        "masks": _MASKS if "peers" in dict(asked) else "",
    }
    return found | {
        "site.yaml": _HEAD.format(name=name, study=study.name)
        + site_text(keys | {"superlink": link | {"port": int(port)}}),
        **{
            file: _filled(f"hospital/{file}", values | more)
            for file in ("README.md", "Containerfile", "fedmammo-site.service")
        },
    }


_HEAD = """# What {name} tells its own software alone, for the study {study}. README.md says what the study asks for.
# Lines behind a # are what holds if nothing is said. Paths are relative to this file.

"""
_MASKS = """
Hospitals add their sums up under masks. `fedmammo site key site.yaml` prints your key: tell it the other hospitals'
people, have theirs from them, never from the coordinator, and write them under `peers`.
"""


def _approvals(approve: list[Deployment]) -> str:
    """Say in Markdown what hospitals' people approve."""
    lines = []
    for one in approve:
        said = described(one)
        lines += [f"**{said['arm']}, {said['setting']}**: {said['what is done']}.", "", "| | |", "|---|---|"]
        shown = ("rounds", "strategy", "network", "budget", "must be trusted", "digest")
        lines += [f"| {name} | {said[name]} |" for name in shown if said[name]] + [""]
    return "\n".join(lines).strip()


def _names_of_server(public_host: str) -> str:
    """Return the names for which the server's certificate is to hold: the outside's, and this machine's for itself."""
    host = public_host.strip("[]")
    try:
        ipaddress.ip_address(host)
        outside = f"IP:{host}"
    except ValueError:
        outside = f"DNS:{host}"
    return ",".join(dict.fromkeys([outside, "DNS:localhost", "IP:127.0.0.1"]))


def _constraints() -> str:
    """Pin the libraries that the software names to the versions that are installed here."""
    asked = [one for one in requires("fedmammo") or [] if "extra ==" not in one]
    names = sorted({re.split(r"[^A-Za-z0-9_.-]", one, maxsplit=1)[0].lower() for one in asked})
    return "".join(f"{name}=={version(name).split('+')[0]}\n" for name in names)


def _filled(template: str, values: dict[str, Any]) -> str:
    """Fill a template's {{places}} in."""
    text = files("fedmammo.deploy").joinpath("templates", *template.split("/")).read_text()
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], text)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""The kit of a study at real hospitals: everything that they and the coordinator need, and no secret."""

import configparser
import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedmammo.commands.kit import FLEET, write_kit
from fedmammo.config.study import StudyConfig, parse
from fedmammo.errors import InputError
from fedmammo.hospitals.site_file import read_site_file

UNITS = ("north/fedmammo-site.service", "coordinator/fedmammo-superlink.service")
DIRECTIVES = {
    "Unit": {"Description", "Documentation", "Wants", "After", "StartLimitIntervalSec"},
    "Service": {
        "User", "Group", "WorkingDirectory", "ExecStart", "Environment", "Restart", "RestartSec", "KillMode",
        "TimeoutStopSec", "UMask", "ProtectSystem", "ProtectHome", "ReadOnlyPaths", "ReadWritePaths", "PrivateTmp",
        "NoNewPrivileges", "CapabilityBoundingSet", "AmbientCapabilities", "RestrictSUIDSGID", "LockPersonality",
        "RestrictNamespaces", "RestrictRealtime", "SystemCallArchitectures", "SystemCallFilter",
        "SystemCallErrorNumber", "PrivateDevices", "ProtectClock", "ProtectControlGroups", "ProtectHostname",
        "ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "ProtectProc", "ProcSubset",
        "RemoveIPC", "RestrictAddressFamilies",
    },
    "Install": {"WantedBy"},
}  # fmt: skip
SECRET = re.compile(r"PRIVATE KEY|BEGIN OPENSSH|BEGIN ENCRYPTED|secret_seed: \d")


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Make two hospitals' keys; returns the public ones."""
    folder = tmp_path_factory.mktemp("keys")
    for name in ("north", "south"):
        command = ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-C", name, "-f", str(folder / name)]
        subprocess.run(command, check=True)
    return {path.stem: path.read_text().strip() for path in sorted(folder.glob("*.pub"))}


@pytest.fixture
def at_sites(new_study: Callable[[], dict[str, Any]], keys: dict[str, str], tmp_path: Path) -> dict[str, Any]:
    """Make a study at two hospitals as YAML would give it; its authority's certificate is there, its secret too."""
    made = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=a -keyout ca.key -out ca.crt"
    subprocess.run(["openssl", "req", *made.split()], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "secret").write_bytes(b"of the superlink")
    link = {"address": "127.0.0.1:8000", "certificate": str(tmp_path / "ca.crt"), "secret": str(tmp_path / "secret")}
    optimizer = {"name": "sgd", "learning_rate": 0.1}
    content = new_study() | {"cohort": {}, "arms": ["local", "federated"], "settings": ["real-epsilon-6"]}
    content["diagnosis"] |= {"optimizer": optimizer}
    content["hospitals"] = {"assignment": {"by": "site", "keys": keys}}
    content["engine"] = {"name": "superlink", "device": "cpu", "link": link}
    return content


@pytest.fixture
def study(at_sites: dict[str, Any]) -> StudyConfig:
    return parse(at_sites, "small")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_study_gives_the_same_bytes_and_nothing_is_overwritten(study: StudyConfig, tmp_path: Path) -> None:
    sums = write_kit(study, tmp_path / "one")
    assert write_kit(study, tmp_path / "two") == sums
    assert list(sums) == ["coordinator", "north", "south"]
    first = files_of(tmp_path / "one")
    assert first == files_of(tmp_path / "two")
    with pytest.raises(InputError, match="exists and is not an empty folder"):
        write_kit(study, tmp_path / "one")
    assert files_of(tmp_path / "one") == first


def test_sums_are_those_of_all_files(study: StudyConfig, tmp_path: Path) -> None:
    write_kit(study, tmp_path / "kit")
    for folder in (tmp_path / "kit").iterdir():
        checked = subprocess.run(
            ["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=True
        )
        assert checked.stdout.count(": OK\n") == len(files_of(folder)) - 1


def test_a_kit_has_no_secret(study: StudyConfig, tmp_path: Path) -> None:
    write_kit(study, tmp_path / "kit")
    secrets = [(tmp_path / name).read_bytes() for name in ("ca.key", "secret")]
    for name, content in files_of(tmp_path / "kit").items():
        assert not SECRET.search(content.decode()), name
        assert not any(secret in content for secret in secrets), name
    assert SECRET.search(secrets[0].decode()), "what is looked for is what keys say"


def test_no_place_of_a_template_is_left(study: StudyConfig, tmp_path: Path) -> None:
    write_kit(study, tmp_path / "kit", "fl.example.org:443")
    for name, content in files_of(tmp_path / "kit").items():
        assert not re.search(rb"\{\{\w", content), name
    assert "IP:127.0.0.1" in (tmp_path / "kit/coordinator/README.md").read_text()


def test_a_site_file_refuses_until_it_is_filled_in(study: StudyConfig, tmp_path: Path) -> None:
    write_kit(study, tmp_path / "kit", "fl.example.org:443")
    path = tmp_path / "kit/north/site.yaml"
    file = read_site_file(path)
    assert (file.name, file.kind, file.scores, file.local_models) == ("north", "real", "not", "home")
    assert (file.limits.without_budget, file.limits.central_trust) == ("refused", "refused")
    assert file.superlink is not None and file.superlink.address == "fl.example.org:443"
    assert file.superlink.certificate == path.parent / "ca.crt" and file.superlink.certificate.exists()
    commented = path.read_text().replace("  # maximum_epsilon: 100.0", "  maximum_epsilon: 6.0").replace(
        "# columns: []", "columns: [density]"
    )  # fmt: skip
    path.write_text(commented)
    assert (read_site_file(path).limits.maximum_epsilon, read_site_file(path).columns) == (6.0, ["density"])


def test_a_hospital_reads_what_it_is_asked_to_approve(study: StudyConfig, tmp_path: Path) -> None:
    write_kit(study, tmp_path / "kit")
    text = (tmp_path / "kit/north/README.md").read_text()
    for arm in ("local", "federated"):
        digest = study.deployment(arm, "real-epsilon-6").study
        assert f"| digest | {digest} |" in text
    assert "| `scores: rows, or summaries` |" in text and "| `limits.maximum_epsilon: 6 or more` |" in text
    assert "without_budget: accepted" not in text and "SHA256:" in text
    told = json.loads((tmp_path / "kit/north/studies.json").read_text())
    assert [one["digest"] for one in told["approve"]] == [one.study for one in study.deployments]
    assert yaml.safe_load((tmp_path / "kit/coordinator/study.yaml").read_text())["name"] == "small"


def test_the_coordinators_study_is_the_study(study: StudyConfig, tmp_path: Path) -> None:
    write_kit(study, tmp_path / "kit")
    again = parse(yaml.safe_load((tmp_path / "kit/coordinator/study.yaml").read_text()), "again")
    assert again == study
    connection = tomllib.loads((tmp_path / "kit/coordinator/flower/config.toml").read_text())["superlink"]
    assert connection["coordinator"]["address"] == "127.0.0.1:8000"


@pytest.mark.parametrize(
    ("change", "address", "said"),
    [
        ({}, "fl.example.org", "--address: expected host:port, not 'fl.example.org'"),
        ({}, "a b:1", "--address: expected host:port"),
        ({"by": "uniform", "count": 2}, None, "hospitals.assignment: a kit is for real hospitals"),
    ],
)
def test_what_gets_no_kit(
    at_sites: dict[str, Any], tmp_path: Path, change: dict[str, Any], address: str | None, said: str
) -> None:
    if change:
        at_sites |= {"hospitals": {"assignment": change}, "engine": {"name": "inline"}, "cohort": {"path": "nowhere"}}
    with pytest.raises(InputError, match=re.escape(said)):
        write_kit(parse(at_sites, "small"), tmp_path / "kit", address)
    assert not (tmp_path / "kit").exists()


# Units, containers, the proxy


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_says_nothing_that_systemd_does_not_know(study: StudyConfig, tmp_path: Path, unit: str) -> None:
    write_kit(study, tmp_path / "kit")
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#",), delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(tmp_path / "kit" / unit)
    assert set(parser.sections()) == set(DIRECTIVES)
    for section, known in DIRECTIVES.items():
        assert set(parser[section]) <= known
    service = parser["Service"]
    assert (service["Restart"], service["User"], service["UMask"]) == ("always", "fedmammo", "0077")
    assert (service["ProtectSystem"], service["NoNewPrivileges"], service["CapabilityBoundingSet"]) == (
        "strict",
        "yes",
        "",
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_a_unit(study: StudyConfig, tmp_path: Path, unit: str) -> None:
    write_kit(study, tmp_path / "kit")
    path = tmp_path / "kit" / unit
    path.write_text(path.read_text().replace("/opt/fedmammo/bin/", f"{tmp_path}/"))
    for name in ("fedmammo", "flower-superlink"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    checked = subprocess.run(["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True)
    assert path.name not in checked.stderr, checked.stderr
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(path)], capture_output=True, text=True
    )
    assert rated.returncode == 0, rated.stdout + rated.stderr


@pytest.mark.parametrize("folder", ["north", "coordinator"])
def test_a_container_is_nobodys_root_and_loads_nothing_when_it_runs(
    study: StudyConfig, tmp_path: Path, folder: str
) -> None:
    write_kit(study, tmp_path / "kit")
    text = (tmp_path / f"kit/{folder}/Containerfile").read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert {word for word, _ in lines} <= {
        "FROM",
        "COPY",
        "RUN",
        "ENV",
        "USER",
        "WORKDIR",
        "VOLUME",
        "ENTRYPOINT",
        "CMD",
    }
    said: dict[str, str] = {one[0]: one[1] for one in lines}
    assert lines[0][0] == "FROM" and ":" in said["FROM"] and not said["FROM"].endswith(":latest")
    assert int(said["USER"].split(":")[0]) > 0
    after = [word for word, _ in lines][[word for word, _ in lines].index("USER") :]
    assert "RUN" not in after and "COPY" not in after
    for words in (said["CMD"], said.get("ENTRYPOINT", "[]")):
        assert all(isinstance(word, str) for word in json.loads(words))
    wheel = "fedmammo-0.1.0-py3-none-any.whl"
    assert wheel in said["COPY"] and f"--constraint /tmp/constraints.txt /tmp/{wheel}" in said["RUN"]
    pins = (tmp_path / f"kit/{folder}/constraints.txt").read_text().splitlines()
    assert any(pin.startswith("flwr==1.41") for pin in pins) and all(
        re.fullmatch(r"[a-z0-9_.-]+==[^+]+", pin) for pin in pins
    )


def test_the_proxy_lets_paths_of_fleet_through_and_no_others(study: StudyConfig, tmp_path: Path) -> None:
    from flwr.superlink.routers.control.router import router as control
    from flwr.superlink.routers.fleet.router import router as fleet

    write_kit(study, tmp_path / "kit", "fl.example.org:443")
    text = (tmp_path / "kit/coordinator/fleet.nginx.conf").read_text()
    (pattern,) = re.findall(r"location ~ (\S+) \{", text)
    let = {route.path for route in fleet.routes if re.search(pattern, route.path)}
    assert let == {f"/v1/fleet/{name}" for name in FLEET}
    assert {route.path for route in fleet.routes} - let == {"/v1/fleet/register-node", "/v1/fleet/unregister-node"}
    others = [route.path for route in control.routes] + [
        "/v1/runtime/acquire-task",
        "/health",
        "/docs",
        "/v1/fleet/../control/x",
    ]
    assert not [path for path in others if re.search(pattern, path)]
    assert "location / {\n        return 403;" in text and text.count("{") == text.count("}")

"""What a hospital's machine is found to have, and to lack, before it takes part."""

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from fedmammo.cohort.store import Cohort
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig
from fedmammo.deploy import preflight as looks
from fedmammo.deploy.preflight import Finding, preflight
from fedmammo.hospitals.site import Site
from fedmammo.hospitals.stopping import serving, stop
from tests.deploy.loopback import free_port

CURVE = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"


def openssl(folder: Path, *commands: str) -> None:
    for command in commands:
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the certificates of an authority, of another, and of a server that the first signed."""
    folder = tmp_path_factory.mktemp("authority")
    openssl(
        folder,
        f"req -x509 {CURVE} -days 2 -subj /CN=authority -keyout ca.key -out ca.crt",
        f"req -x509 {CURVE} -days 2 -subj /CN=other -keyout other.key -out other.crt",
        f"req {CURVE} -subj /CN=server -addext subjectAltName=IP:127.0.0.1 -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy "
        "-out server.crt",
    )
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", folder / "node"], check=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "ed25519"], check=True)
    return folder


@contextmanager
def superlink(authority: Path, ahead: float = 0.0, plain: bool = False) -> Iterator[str]:
    """Answer as a SuperLink, or a proxy before it, does to who only looks. `ahead`: seconds of its clock."""

    class Forbidden(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(403)
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(time.time() + ahead, usegmt=True)

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Forbidden)
    if not plain:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(authority / "server.crt", authority / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who only knocks
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def site_with(authority: Path, own_cohort: Cohort, tmp_path: Path) -> Callable[..., Path]:
    """Write the site file of a real hospital with what `link` says of its SuperLink."""

    def written(**link: Any) -> Path:
        path = tmp_path / "site.yaml"
        files = {"certificate": str(authority / "ca.crt"), "key": str(authority / "node"), "port": free_port()}
        content = {"name": "north", "cohort": str(own_cohort.folder), "state": "state"}
        path.write_text(yaml.safe_dump(content | {"superlink": {"address": "127.0.0.1:9", **files, **link}}))
        return path

    return written


def found(path: Path, approved: list[Deployment] | None = None) -> dict[str, Finding]:
    return {one.what: one for one in preflight(Site.open(path), path, approved or [])}


def problems(path: Path) -> dict[str, str]:
    return {what: one.problem for what, one in found(path).items() if one.problem}


def test_a_machine_that_lacks_nothing(authority: Path, site_with: Callable[..., Path]) -> None:
    with superlink(authority) as address:
        seen = found(site_with(address=address))
    assert not [one.problem for one in seen.values() if one.problem]
    assert "flwr 1.41" in seen["software"].found and "torch" in seen["software"].found
    printed = subprocess.run(["ssh-keygen", "-lf", authority / "node.pub"], capture_output=True, text=True, check=True)
    assert printed.stdout.split()[1] in seen["key"].found
    assert (authority / "node.pub").read_text().rsplit(maxsplit=1)[0] in seen["key"].found
    of = ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", authority / "ca.crt"]
    assert subprocess.run(of, capture_output=True, text=True, check=True).stdout.strip().split("=")[1] in (
        seen["authority"].found
    )
    assert "runs out in" in seen["authority"].found and "runs out in" in seen["SuperLink"].found
    assert seen["clock"].found == "agrees with the SuperLink's, to 2 s"
    assert "GiB free" in seen["disk"].found and "is free" in seen["port"].found


@pytest.mark.parametrize(
    ("ahead", "said"),
    [
        (-30, "s ahead of the SuperLink's; at most 5 s ahead and 300 s behind are let in; have it set by a time"),
        (400, "s behind the SuperLink's; at most 5 s ahead"),
        (200, ""),
    ],
)
def test_clocks_that_are_too_far_apart(
    authority: Path, site_with: Callable[..., Path], ahead: float, said: str
) -> None:
    with superlink(authority, ahead) as address:
        line = problems(site_with(address=address)).get("clock", "")
    assert said in line if said else not line


def test_the_bounds_of_clocks_are_flowers(authority: Path) -> None:
    from flwr.common.constant import SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE

    assert (looks.AHEAD_SECONDS, looks.BEHIND_SECONDS) == (SYSTEM_TIME_TOLERANCE, TIMESTAMP_TOLERANCE)


def test_a_superlink_that_is_not_there_or_not_the_one(authority: Path, site_with: Callable[..., Path]) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    line = f"superlink.address: {nowhere} is not reached (Connection refused); have the coordinator start it, or the "
    assert problems(site_with(address=nowhere)) == {"SuperLink": line + "firewall let you out"}
    with superlink(authority) as address:
        said = problems(site_with(address=address, certificate=str(authority / "other.crt")))
        named = problems(site_with(address=address.replace("127.0.0.1", "localhost")))
    assert "its certificate is not accepted" in said["SuperLink"] and list(said) == ["SuperLink"]
    assert "Hostname mismatch" in named["SuperLink"] and "the address be one of its names" in named["SuperLink"]
    with superlink(authority, plain=True) as address:
        assert "does not answer over TLS" in problems(site_with(address=address))["SuperLink"]


@pytest.mark.parametrize(
    ("link", "what", "said"),
    [
        ({"key": "nowhere"}, "key", "nowhere cannot be read (No such file or directory); make it with ssh-keygen"),
        ({"key": "ca.crt"}, "key", "ca.crt is no private key without a passphrase"),
        ({"key": "ed25519"}, "key", "ed25519 is of another kind; make one with ssh-keygen -t ecdsa -b 384"),
        ({"certificate": "nowhere"}, "authority", "nowhere cannot be read (No such file or directory); have it from"),
        ({"certificate": "node"}, "authority", "node is no certificate in PEM"),
    ],
)
def test_keys_and_certificates_that_are_none(
    authority: Path, site_with: Callable[..., Path], link: dict[str, str], what: str, said: str
) -> None:
    path = site_with(**{name: str(authority / value) for name, value in link.items()})
    assert said in problems(path)[what]


def test_a_key_that_others_may_read(authority: Path, site_with: Callable[..., Path], tmp_path: Path) -> None:
    key = tmp_path / "open"
    key.write_bytes((authority / "node").read_bytes())
    key.chmod(0o640)
    assert problems(site_with(key=str(key)))["key"] == f"superlink.key: others may read {key}; chmod go= {key}"


def test_a_certificate_that_has_run_out(
    authority: Path, site_with: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(looks.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return looks.datetime(2099, 1, 1, tzinfo=tz)

    monkeypatch.setattr(looks, "datetime", Later)
    line = problems(site_with())["authority"]
    assert "this machine's clock says 2099-01-01; have a new one, or set the clock" in line


def test_a_port_that_is_taken_by_others_or_by_serving(site_with: Callable[..., Path]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        path = site_with(port=taken.getsockname()[1])
        assert "cannot be used (Address already in use); name another port" in problems(path)["port"]
        state = Site.open(path).folder
        with serving(state):
            assert "port" not in problems(path)
            assert found(path)["serve"].found == f"runs, process {os.getpid()}"
        assert found(path)["serve"].found == "does not run"


def test_a_hospital_that_has_stopped(site_with: Callable[..., Path]) -> None:
    path = site_with()
    stop(Site.open(path).folder)
    assert problems(path)["serve"] == f"stopped: by fedmammo site stop; fedmammo site start {path} goes on"


def test_a_disk_without_room_for_what_was_approved(
    site_with: Callable[..., Path], phantom_config: StudyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """24 bytes for each pixel of each view of each image, where a network is trained from a block on."""
    path = site_with()
    one = phantom_config.deployment("local", "real")
    large = one.model_copy(
        update={"diagnosis": one.diagnosis.model_copy(update={"train": "last_blocks:1", "image_size": 4096})}
    )
    images = len(Site.open(path).cohort.manifest)
    need = images * 2 * 24 * 4096**2 / (1 << 30)
    monkeypatch.setattr(looks.shutil, "disk_usage", lambda _: _Free(2 << 30))
    assert "disk" not in {what for what, seen in found(path, [one]).items() if seen.problem}
    line = found(path, [one, large])["disk"].problem
    assert line.startswith("disk: 2.0 GiB free") and f"{need:.1f} GiB may be needed; make room" in line


class _Free:
    def __init__(self, free: int) -> None:
        self.free = free

"""Real hospitals on this machine: a SuperLink, and for each hospital a user, a folder, a key and a process."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from flwr.cli.supernode.register import try_load_public_key
from flwr.cli.typing import SuperLinkConnection
from flwr.cli.utils import init_http_client_from_connection
from flwr.proto.control_pb2 import RegisterNodeRequest

import fedmammo
from fedmammo.hospitals.site import Site

FIRST_USER = 52000  # numbers that nobody else has here; no account is needed
ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONUNBUFFERED": "1",
}
LET_IN = "SuperNode ID"  # what Flower prints when the SuperLink knows a node
SUPERLINK = "from flwr.superlink.cli import flower_superlink; flower_superlink()"


@cache
def python_of_all() -> str:
    """Return a Python that other users can run, with this one's packages; skips where there is none."""
    if os.geteuid() != 0:
        pytest.skip("hospitals have users of their own, whom only root can become")
    for python in (sys.executable, f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"):
        try:
            as_user = {"user": FIRST_USER, "group": FIRST_USER, "extra_groups": []}
            check = [python, "-c", "import fedmammo, torch"]
            subprocess.run(check, env=environment(Path("/")), check=True, capture_output=True, **as_user)  # type: ignore[call-overload]
            return python
        except (OSError, subprocess.CalledProcessError):
            continue
    pytest.skip("no Python here that other users can run with these packages")


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a process of another user: this one's packages, and nothing of this one's."""
    packages = [str(Path(fedmammo.__file__).parents[1]), *(path for path in sys.path if "site-packages" in path)]
    path = {"PYTHONPATH": os.pathsep.join(packages), "PATH": os.environ["PATH"], "HOME": str(home)}
    return {**ENVIRONMENT, **path, "FLWR_HOME": str(home / "flower")}


def free_port() -> int:
    """Return a port that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def until(what: Any, seconds: float = 60.0) -> None:
    """Wait until something is true; fails where it does not become so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


class Loopback:
    """The coordinator's folder, and the hospitals'.

    Attributes:
        folder: of all.
        keys: hospitals' public keys, by name.
    """

    def __init__(self, folder: Path, hospitals: Sequence[str]) -> None:
        self.folder, self.hospitals = folder, list(hospitals)
        self.server = folder / "server"
        self.server.mkdir()
        folder.chmod(0o755)
        self.port = free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.certificates("ca", "server")
        (self.server / "secret").write_bytes(os.urandom(32))
        (self.server / "secret").chmod(0o600)
        self.keys = {name: self.make_key(folder / name / "key") for name in hospitals}

    def certificates(self, authority: str, server: str) -> None:
        """Make an authority's certificate, and a server's that it signed."""
        commands = f"""
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {authority}.key \
                -out {authority}.crt -days 2 -subj /CN={authority}
            openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {server}.key -out {server}.csr \
                -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1
            openssl x509 -req -in {server}.csr -CA {authority}.crt -CAkey {authority}.key -CAcreateserial \
                -out {server}.crt -days 2 -copy_extensions copy
        """
        subprocess.run(["bash", "-ec", commands], cwd=self.server, check=True, capture_output=True)

    def make_key(self, path: Path) -> str:
        """Make a node's pair of keys; returns the public one."""
        path.parent.mkdir(exist_ok=True, parents=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", str(path)], check=True)
        return path.with_suffix(".pub").read_text().strip()

    def link(self) -> dict[str, Any]:
        """Say to a study how its server reaches the SuperLink."""
        files = {"certificate": str(self.server / "ca.crt"), "secret": str(self.server / "secret")}
        return {"address": f"127.0.0.1:{self.port}", **files}

    def study(self, content: dict[str, Any]) -> dict[str, Any]:
        """Return a study that these hospitals do, on their own patients."""
        engine = {**content["engine"], "name": "superlink", "link": self.link(), "timeout": 120.0}
        hospitals = {**content["hospitals"], "assignment": {"by": "site", "keys": self.keys}}
        return {**content, "cohort": {}, "hospitals": hospitals, "engine": engine}

    def write_site(self, hospital: str, **more: Any) -> Path:
        """Write a hospital's site file; its cohort lies in its own folder."""
        link = {"address": f"127.0.0.1:{self.port}", "certificate": "ca.crt", "key": "key", "port": free_port()}
        content = {
            "name": hospital,
            "cohort": "cohort",
            "state": f"state/{hospital}",
            "superlink": link,
            "device": "cpu",
        }
        path = self.folder / hospital / "site.yaml"
        path.write_text(yaml.safe_dump({**content, **more}))
        shutil.copy(self.server / "ca.crt", path.with_name("ca.crt"))
        self.give_away(hospital)
        return path

    def approve(self, name: str, studies: set[str]) -> None:
        """Let a hospital's people approve of studies, by their digests."""
        site = Site.open(self.folder / name / "site.yaml")
        for study in studies:
            site.approve(study)
        self.give_away(name)

    def user_of(self, name: str) -> int:
        """Return the number of a hospital's user."""
        return FIRST_USER + (self.hospitals.index(name) if name in self.hospitals else len(self.hospitals))

    def give_away(self, name: str) -> None:
        """Give a hospital's folder to its user, and to nobody else."""
        folder, user = self.folder / name, self.user_of(name)
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, user, user)
            path.chmod(0o700 if path.is_dir() else 0o600)

    def as_hospital(self, name: str, *command: str) -> "subprocess.Popen[bytes]":
        """Start a command of fedmammo as a hospital's user, in its folder; what it prints goes to `log`."""
        folder, user = self.folder / name, self.user_of(name)
        with (folder / "log").open("ab") as log:
            os.chown(folder / "log", user, user)
            (folder / "log").chmod(0o600)
            return subprocess.Popen(
                [python_of_all(), "-P", "-m", "fedmammo", *command],
                cwd=folder, env=environment(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                user=user, group=user, extra_groups=[], umask=0o077, start_new_session=True,
            )  # fmt: skip

    def tell(self, name: str, *command: str) -> None:
        """Run a command of fedmammo as a hospital's user, to its end."""
        code = self.as_hospital(name, *command).wait(120)
        assert code == 0, self.log(name)

    def log(self, name: str) -> str:
        """Return what a hospital's processes, or the SuperLink (`server`), have printed."""
        return (self.folder / name / "log").read_text(errors="replace")

    def start_superlink(self) -> None:
        """Start the SuperLink, and wait until it listens; its database stays."""
        files = {"ssl-ca-certfile": "ca.crt", "ssl-certfile": "server.crt", "ssl-keyfile": "server.key"}
        options = {**files, "superexec-auth-secret-file": "secret", "database": "superlink.db", "isolation": "process"}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        with (self.server / "log").open("ab") as log:
            self._processes["server"] = subprocess.Popen(
                [sys.executable, "-P", "-c", SUPERLINK, *words, "--enable-supernode-auth", "--port", str(self.port)],
                cwd=self.server, env={**os.environ, **environment(self.server)}, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        until(self._listens)

    def _listens(self) -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", self.port)) == 0

    def register(self, name: str, public_key: Path | None = None) -> None:
        """Let the SuperLink know a hospital's key."""
        link = self.link()
        control = init_http_client_from_connection(
            SuperLinkConnection("loopback", address=link["address"], root_certificates=link["certificate"])
        )
        key = try_load_public_key(public_key or self.folder / name / "key.pub")
        control.RegisterNode(RegisterNodeRequest(public_key=key, name=name))
        control.close()

    def serve(self, name: str) -> None:
        """Start a hospital."""
        self._processes[name] = self.as_hospital(name, "site", "serve", "site.yaml")

    def kill(self, name: str) -> None:
        """Kill a hospital, or the SuperLink (`server`), and all that it started, at once."""
        process = self._processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def serve_again(self, name: str) -> None:
        """Start a hospital that was killed again and again, as its unit does, until the SuperLink lets it in."""
        before = self.log(name).count(LET_IN)
        end = time.monotonic() + 180
        while self.log(name).count(LET_IN) == before:
            assert time.monotonic() < end, self.log(name)
            if name not in self._processes or not self.runs(name):
                self._processes.pop(name, None)
                self.serve(name)
            time.sleep(0.5)

    def runs(self, name: str) -> bool:
        """Whether a process still runs."""
        return self._processes[name].poll() is None

    def end(self) -> None:
        """Kill everybody."""
        for name in list(self._processes):
            self.kill(name)


@contextmanager
def loopback(folder: Path, hospitals: Sequence[str]) -> Iterator[Loopback]:
    """Make a SuperLink's and hospitals' folders; whatever was started ends with the block."""
    python_of_all()
    made = Loopback(folder, hospitals)
    try:
        yield made
    finally:
        made.end()

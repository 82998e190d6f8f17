"""A hospital at its own machine: Flower's SuperNode keeps the link, this process does the work with its own software.

The SuperNode alone speaks to the outside, and only calls out. Whatever app a run brings, nothing of it is loaded: a run
whose app is not this software's own bundle is refused.
"""

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from fedmammo.disk.files import write_bytes
from fedmammo.errors import InputError, StudyError, one_line
from fedmammo.federation.bundle import hash_of_bundle
from fedmammo.federation.client_app import app_at
from fedmammo.federation.tasks import LOOK_SECONDS, Link, take
from fedmammo.hospitals.site import Site
from fedmammo.hospitals.stopping import may_be_stopped, serving
from fedmammo.privacy.reasons import ReasonName, RefusalError, code_of

SECRET = "supernode-secret"  # shared by the two processes of this machine, in the hospital's folder of state
LISTENERS, LISTENS = Path("/proc/net/tcp"), "0A"  # proc(5): a row for each socket, its state in hexadecimal
OFF = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}


def serve(path: Path) -> None:
    """Keep a hospital's link to its SuperLink, and do the jobs that come, until this process is told to end.

    `path`: of the site file. Raises InputError where the site cannot be opened or says no SuperLink, StudyError where
    the SuperNode ends: the SuperLink does not know the key, or its certificate is not the one expected.
    """
    os.environ |= OFF
    site = Site.open(path)
    with serving(site.folder), _supernode(site, path) as (node, link):
        app, client = app_at(path), link.client()
        hash_of_bundle()  # half a second, before somebody waits
        while node.poll() is None:
            try:
                task = take(client, TaskType.CLIENT_APP) if _is_ours(link) else None
                if task is not None:
                    _work(link, task.token, app, site)
            except httpx.TransportError:  # the SuperNode has not begun yet, or is about to end
                time.sleep(LOOK_SECONDS)
            except httpx.HTTPStatusError as error:  # the run was ended meanwhile
                print(f"an answer was not taken: {error.response.status_code}", flush=True)
            except (ValueError, KeyError, TypeError, RuntimeError) as error:  # whatever a server put into a message
                print(f"refused: a message that cannot be read: {type(error).__name__}", flush=True)
    raise StudyError(
        f"{site.name}: the SuperNode ended with {node.returncode}; what it printed says why: the SuperLink may not know"
        " the hospital's key, or have another certificate; mend that, and start this command again"
    )


def _is_ours(link: Link, table: Path = LISTENERS) -> bool:
    """Whether this process's own user listens at the link's port, by the kernel's table; waits a moment if nobody does.

    The SuperNode knows who takes its tasks by a secret, and nothing else says whose tasks they are: whoever had the
    port first would be obeyed as the server is. Raises StudyError where another user of this machine listens there.
    """
    port = int(link.address.rpartition(":")[2])
    lines = [line.split() for line in table.read_text().splitlines()[1:]]
    users = {int(line[7]) for line in lines if line[3] == LISTENS and int(line[1].rpartition(":")[2], 16) == port}
    if users - {os.getuid()}:
        raise StudyError(f"superlink.port: {port} is another user's on this machine; take another port")
    if not users:
        time.sleep(LOOK_SECONDS)
    return bool(users)


def _work(link: Link, token: str, app: ClientApp, site: Site) -> None:
    """Do one job: take the message, let the app answer, send the answer."""
    client = link.client(token)
    heart = HeartbeatSender(make_task_heartbeat_fn_http(client))
    heart.start()
    try:
        message, context, _, fab = pull_task_input(client)
        began = time.monotonic()
        if fab.hash_str == hash_of_bundle():
            reply = _reply_to(message, context, app, site)
        else:
            print(f"refused: the run brought app {fab.hash_str}; this software's is {hash_of_bundle()}", flush=True)
            reply = Message(Error(code=code_of("app"), reason="app"), reply_to=message)
        print(f"{message.metadata.message_type}: {time.monotonic() - began:.2f} s", flush=True)
        push_message(client, reply, context)
        push_task_output(client, context, "completed", "")
    finally:
        heart.stop()
        client.close()


def _reply_to(message: Message, context: Context, app: ClientApp, site: Site) -> Message:
    """Let the app answer; whatever a server sends, this process goes on."""
    try:
        with may_be_stopped(site.folder):
            return app(message, context)
    except Exception as error:  # Flower's, for a message of a kind that nobody asks for here
        reason: ReasonName = error.reason if isinstance(error, RefusalError) else "not_understood"
        print(one_line(f"refused: {type(error).__name__}: {error}"), flush=True)
        return Message(Error(code=code_of(reason), reason=reason), reply_to=message)


@contextmanager
def _supernode(site: Site, path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Link]]:
    """Start Flower's SuperNode; it ends with the block, or when this process is told to end."""
    at = site.file.superlink
    if at is None:
        raise InputError(f"{path}: superlink is missing; say where studies come from (fedmammo schema --site)")
    for place in (at.certificate, at.key):
        if not place.exists():
            raise InputError(f"{path}: superlink: {place} is not there; see docs/deployment.md")
    secret = site.folder / SECRET
    write_bytes(secret, secrets.token_bytes(32))
    command = [
        *(sys.executable, "-P", "-m", "fedmammo.federation.node"),
        *("--superlink", at.address, "--root-certificates", str(at.certificate)),
        *("--auth-supernode-private-key", str(at.key), "--host", "127.0.0.1", "--port", str(at.port)),
        *("--isolation", "process", "--superexec-auth-secret-file", str(secret)),
    ]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    node = subprocess.Popen(command, env={**os.environ, "FLWR_HOME": str(site.folder / "flower")})
    try:
        yield node, Link.of(f"127.0.0.1:{at.port}", None, secret)
    finally:
        node.terminate()
        try:
            node.wait(10)
        except subprocess.TimeoutExpired:
            node.kill()

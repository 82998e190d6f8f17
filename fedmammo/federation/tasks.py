"""Tasks of Flower's, taken by a process of our own: a SuperLink gives out a server's, a SuperNode a hospital's.

Flower would start a new process for each, with the code that came with the run. A process that stays keeps open what
it has read, and runs the package that is installed. Both sides are started with `--isolation process`, and know the
one who takes their tasks by a secret.
"""

import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import httpx
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PushTaskOutputRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.runtime import RuntimeHttpClient

from fedmammo.errors import InputError

ACQUIRE = frozenset({"/flwr.proto.Runtime/AcquireTask"})
LOOK_SECONDS = 0.1  # between looks for a task


class Link(NamedTuple):
    """Where tasks are taken.

    Attributes:
        address: host:port.
        certificate: of the authority that signed the other side's; none speaks plainly, on this machine alone.
        secret: shared with the other side.
    """

    address: str
    certificate: bytes | None
    secret: bytes

    @classmethod
    def of(cls, address: str, certificate: Path | None, secret: Path) -> "Link":
        """Read the files. Raises InputError where one cannot be read."""
        try:
            return cls(address, certificate.read_bytes() if certificate else None, secret.read_bytes())
        except OSError as error:
            raise InputError(f"{error.filename}: cannot be read ({error.strerror}); give the file's path") from error

    def client(self, token: str | None = None) -> RuntimeHttpClient:
        """Return a client: of one task, by its token, or one that takes tasks."""
        who = RuntimeVersionHttpInterceptor(component_name="SuperExec" if token is None else "flwr-clientapp")
        right = (
            SuperExecAuthHttpInterceptor(master_secret=self.secret, protected_methods=ACQUIRE)
            if token is None
            else RuntimeTokenHttpInterceptor(token)
        )
        return RuntimeHttpClient.from_server_address(
            self.address, self.certificate is None, self.certificate, interceptors=[who, right]
        )


class Task(NamedTuple):
    """A task that was taken: its run, and the token by which one may work at it."""

    run: int
    token: str


def take(client: RuntimeHttpClient, kind: TaskType) -> Task | None:
    """Take the oldest waiting task; none where there is none, after a short wait."""
    found = client.AcquireTask(AcquireTaskRequest(supported_task_types=[kind]))
    if found.HasField("task") and found.token:
        return Task(found.task.run_id, found.token)
    time.sleep(LOOK_SECONDS)
    return None


def finish(client: RuntimeHttpClient, why_not: str = "") -> None:
    """Say that a task is done, or why it is not; nobody may be there any more to hear it."""
    status = "failed" if why_not else "completed"
    with suppress(httpx.HTTPError):
        client.PushTaskOutput(PushTaskOutputRequest(sub_status=status, details=why_not))

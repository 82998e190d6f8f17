"""The server speaks to the hospitals of a study: sends jobs, takes answers, says who failed."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from fedmammo.config.deployment import Deployment
from fedmammo.errors import StudyError
from fedmammo.federation.bundle import software
from fedmammo.federation.client_app import HELLO, kind_of
from fedmammo.federation.keys import same_key
from fedmammo.federation.messages import pack, size, unpack
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.reasons import REASONS, RefusalError, reason_of
from fedmammo.run.folder import round_row
from fedmammo.stages.stage import Incoming, Job

Report = Callable[[dict[str, Any]], None]
K = TypeVar("K")
NODES_SECONDS = 60.0  # how long to wait for nodes of a simulation
LINK_COLUMNS = ("arm", "setting", "hospital", "stage", "round", "seconds", "bytes_down", "bytes_up", "status")
LOOK_SECONDS = 1.0  # between looks for real hospitals that are not there yet
AGAIN_SECONDS = 5.0  # until a real hospital that was not reached is asked again
UNREACHED = "failed: away"
AWAY_CODES = {ErrorCode.NODE_UNAVAILABLE, ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE}
ATTEMPTS = 3  # where every hospital must answer: a worker that died may have taken a message with it


@dataclass(frozen=True)
class Node:
    """A hospital as the server knows it: its node, its simulated speeds, the side of its patches.

    `keeps_models`: whether models that learned from it alone, without a budget, stay there.
    """

    node: int
    uplink_megabits_per_second: float
    images_per_second: float
    side: int
    keeps_models: bool


class Real(NamedTuple):
    """What a server knows of real hospitals.

    Attributes:
        keys: public keys by hospital; a node with another key is turned away.
        canary: whether they do everything with drawn patients.
        links: table to which the seconds and bytes of each message are added.
        say: called with a line for whoever waits for them.
    """

    keys: Mapping[str, str]
    canary: bool
    links: Path
    say: Callable[[str], None]


def event_of(deployment: Deployment, stage: str) -> dict[str, Any]:
    """Describe that a deployment is at a stage, for progress."""
    place = {"name": deployment.name, **deployment.place}
    return {"deployment": place, "stage": stage, "round": 0, "rounds": 0, "hospitals": {}, "rows": []}


class Server:
    """Speaks to the hospitals of one study through a grid.

    Args:
        grid: Flower's grid, or the inline one.
        hospitals: names of the holders of patients whom the study needs.
        timeout: seconds that the server waits for answers.
        report: called with what happens, for progress.
        checkpoint_seconds: how often a checkpoint is kept at most, where nothing is charged.
        real: what is known of real hospitals; nothing in a simulation.
    """

    def __init__(
        self,
        grid: Grid,
        hospitals: Sequence[str],
        timeout: float,
        report: Report,
        checkpoint_seconds: float = 0.0,
        real: Real | None = None,
    ) -> None:
        self.report = report
        self.checkpoint_seconds = checkpoint_seconds
        self._grid = grid
        self._timeout = timeout
        self._keys = real.keys if real else {}
        self._say = real.say if real else print
        self._canary = real is not None and real.canary
        self._links = real.links if real else None
        self.nodes = self._find_nodes(hospitals)

    def _find_nodes(self, hospitals: Sequence[str]) -> dict[str, Node]:
        """Ask every node which hospital it is, until all have answered; real hospitals are waited for.

        Raises StudyError where one is missing, or refuses.
        """
        end = time.monotonic() + (self._timeout if self._keys else min(self._timeout, NODES_SECONDS))
        while not self._keys and len(list(self._grid.get_node_ids())) < len(hospitals) and time.monotonic() < end:
            time.sleep(0.05)  # a grid that has just begun has no nodes yet
        found: dict[str, Node] = {}
        failed: dict[int, str] = {}
        for _ in range(ATTEMPTS):
            self._greet(found, failed)
        while self._keys and not found.keys() >= set(hospitals) and time.monotonic() < end:
            self._greet(found, failed)
            time.sleep(LOOK_SECONDS)
        missing = [name for name in hospitals if name not in found]
        if missing:
            reasons = f" ({'; '.join(dict.fromkeys(failed.values()))})" if failed else ""
            raise StudyError(
                f"no node answered as {', '.join(missing)}{reasons}; the study needs one node for each hospital"
            )
        return {name: found[name] for name in hospitals}

    def _greet(self, found: dict[str, Node], failed: dict[int, str]) -> None:
        """Ask nodes that have not said yet which hospital they are; real ones that answered otherwise only once.

        Raises StudyError where a real hospital refuses: waiting changes nothing.
        """
        keys = {one.node_id: one.public_key for one in self._grid.get_nodes()} if self._keys else {}
        silent = set(self._grid.get_node_ids()) - {node.node for node in found.values()}
        silent -= set(failed) if self._keys else set()
        asks = ConfigRecord({"software": software()})
        if self._canary:
            asks["canary"] = True
        about = RecordDict({"about": asks})
        for node, reply in self._send({one: Message(about, one, kind_of(HELLO)) for one in sorted(silent)}).items():
            if reply.has_error():
                failed[node] = _why(reply.error)
                own = [name for name, key in self._keys.items() if same_key(key, keys.get(node, b""))]
                if own and reason_of(reply.error.code) is not None:
                    raise StudyError(f"{own[0]} {failed[node]}; then the same command continues")
            else:
                speeds = reply.content.metric_records["metrics"]
                name = str(reply.content.config_records["about"]["name"])
                if self._keys and not same_key(self._keys.get(name, ""), keys.get(node, b"")):
                    failed[node] = f"a node that says it is {name} has not that hospital's key"
                else:
                    uplink, images, side = (float(speeds[key]) for key in ("uplink", "images", "side"))  # type: ignore[arg-type]
                    keeps = reply.content.config_records["about"]["local_models"] == "home"
                    found[name] = Node(node, uplink, images, int(side), keeps)
            if self._keys:
                there = ", ".join(found) or "nobody"
                self._say(f"{there} is there" + (f"; {failed[node]}" if node in failed else ""))

    def _send(self, messages: Mapping[K, Message]) -> dict[K, Message]:
        """Send messages; returns the replies that came, by the messages' keys.

        A SuperLink answers for a node that is away: which message a reply is to says whose it is, not who sent it.
        """
        replies = list(self._grid.send_and_receive(list(messages.values()), timeout=self._timeout))
        key_of = {message.metadata.message_id: key for key, message in messages.items()}
        return {key_of[to]: reply for reply in replies if (to := reply.metadata.reply_to_message_id) in key_of}

    def content(self, job: Job, tensors: Incoming | None = None, agreement: str = "") -> RecordDict:
        """Write what a message says."""
        content = RecordDict({name: pack(record) for name, record in (tensors or {}).items()})
        content["config"] = ConfigRecord({"job": replace(job, canary=self._canary).to_json()})
        if agreement:
            content.config_records["config"]["agreement"] = agreement
        return content

    def ask(self, deployment: Deployment, job: Job, contents: Mapping[str, RecordDict], of: int) -> dict[str, "Reply"]:
        """Send each hospital its message; returns its answer, or why there is none, in the hospitals' order.

        `of`: how many rounds the stage has, for progress; 0 where that is not known.
        """
        messages = {
            name: Message(content, self.nodes[name].node, kind_of(job.stage)) for name, content in contents.items()
        }
        began = time.monotonic()
        replies = self._send(messages)
        if self._links is not None:
            self._measure(self._links, deployment, job, messages, replies, began)
        answers: dict[str, Reply] = {}
        for name in self.nodes:
            if name in contents:
                answers[name] = _reply_of(replies.get(name), self._timeout)
        status = {name: reply if isinstance(reply, str) else "ok" for name, reply in answers.items()}
        self.progress(deployment, job.stage, status, job.round, of)
        return answers

    def _measure(
        self,
        links: Path,
        deployment: Deployment,
        job: Job,
        asked: Mapping[str, Message],
        replies: Mapping[str, Message],
        began: float,
    ) -> None:
        """Add what each message of a job took, from when it was sent to when its answer was here."""
        arrived: Mapping[str, float] = getattr(self._grid, "arrived", {})
        with links.open("a") as file:
            if file.tell() == 0:
                file.write(",".join(LINK_COLUMNS) + "\n")
            for name, message in asked.items():
                reply = replies.get(name)
                came = arrived.get(message.metadata.message_id, time.monotonic())
                down = sum(map(size, message.content.array_records.values()))
                told = reply is not None and reply.has_content()
                up = sum(map(size, reply.content.array_records.values())) if reply is not None and told else 0
                status = "ok" if told else "failed"
                place = f"{deployment.arm_name},{deployment.setting_name},{name}"
                file.write(f"{place},{job.stage},{job.round},{came - began:.3f},{down},{up},{status}\n")

    @contextmanager
    def reported_as(self, deployment: Deployment) -> Iterator[None]:
        """Report what happens meanwhile as a part of another deployment, without rows."""
        report, place = self.report, event_of(deployment, "")["deployment"]
        self.report = lambda event: report(event | {"deployment": place, "rows": []})
        try:
            yield
        finally:
            self.report = report

    def progress(self, deployment: Deployment, stage: str, status: dict[str, str], number: int, of: int) -> None:
        """Report how far a stage is: its round, of how many (0: not known), and each hospital's status."""
        self.report(event_of(deployment, stage) | {"round": number, "rounds": of, "hospitals": status})

    def tell(self, deployment: Deployment, stage: str, rows: list[dict[str, Any]], of: int) -> None:
        """Report rows of rounds.csv once their rounds are done, of how many."""
        number = rows[-1]["round"] if rows else 0
        self.report(event_of(deployment, stage) | {"round": number, "rounds": of, "rows": rows})

    def ask_all(
        self, deployment: Deployment, job: Job, contents: Mapping[str, RecordDict], of: int = 0
    ) -> dict[str, Answer]:
        """Ask hospitals of which every one must answer; those that fail are asked again.

        Raises StudyError where one still fails.
        """
        answers: dict[str, Reply] = {}
        lost = dict(contents)
        for _ in self.tries(answers) if contents else ():
            answers |= self.ask(deployment, job, lost, of)
            self.nobody_refuses(answers, f"stage {job.stage}")
            lost = {name: contents[name] for name, answer in answers.items() if not isinstance(answer, Answer)}
            if not lost:
                break
        self.enough(answers, len(contents), f"stage {job.stage}")
        return {name: answer for name, answer in answers.items() if isinstance(answer, Answer)}

    def tries(self, answers: Mapping[str, "Reply"]) -> Iterator[None]:
        """Yield as often as hospitals that must answer are asked; real ones that are away are waited for.

        `answers`: so far; whoever iterates adds to them.
        """
        end = time.monotonic() + self._timeout
        for number in count():
            away = self._keys and any(str(answer).startswith(UNREACHED) for answer in answers.values())
            if number >= ATTEMPTS and not (away and time.monotonic() < end):
                return
            if away:
                time.sleep(AGAIN_SECONDS)
            yield

    def ask_each(self, deployment: Deployment, job: Job, names: Sequence[str], **more: Any) -> dict[str, Answer]:
        """Ask hospitals the same; `more` as in `content`."""
        content = self.content(job, **more)
        return self.ask_all(deployment, job, dict.fromkeys(names, content))

    def nobody_refuses(self, answers: Mapping[str, "Reply"], where: str) -> None:
        """Raise StudyError where a hospital refused what it was asked: others do not go on without it."""
        good = sum(isinstance(answer, Answer) for answer in answers.values())
        for name, answer in answers.items():
            if isinstance(answer, str) and REFUSED in answer:
                raise StudyError(
                    f"{where}: {good} of {len(answers)} hospitals answered, all are needed; {name} {answer}; ask for "
                    "what its site file allows, or have it changed"
                )

    def enough(self, answers: Mapping[str, "Reply"], needed: int, where: str) -> None:
        """Raise StudyError where fewer hospitals than `needed` gave an answer."""
        failed = {name: answer for name, answer in answers.items() if isinstance(answer, str)}
        if len(answers) - len(failed) < needed:
            first = next(iter(failed))
            raise StudyError(
                f"{where}: {len(answers) - len(failed)} of {len(answers)} hospitals answered, {needed} are needed; "
                f"{first} {failed[first]}; what was finished is kept, the same command with the same --out continues"
            )

    def row(self, deployment: Deployment, job: Job, hospital: str, sent: RecordDict, answer: "Reply") -> dict[str, Any]:
        """Describe what one hospital did in a round. Only what is federated travels, so only that has bytes."""
        node, found = self.nodes[hospital], answer if isinstance(answer, Answer) else Answer()
        travels = deployment.arm.federated
        down = sum(map(size, sent.array_records.values())) if travels else 0
        up = size(pack(found.tensors)) + size(pack(found.beside)) if travels and isinstance(answer, Answer) else 0
        seconds = 8e-6 * (up + down) / node.uplink_megabits_per_second
        seconds += found.numbers.get("images", 0.0) / node.images_per_second
        loss, epsilon, patients = (found.numbers.get(name) for name in ("loss", "epsilon", "num-examples"))
        known = round(seconds, 3) if epsilon is None else None  # how many images it read is the hospital's own business
        status = answer if isinstance(answer, str) else "ok"
        return round_row(deployment.place, job.stage, job.round, hospital, status) | {
            "simulated_seconds": known,
            "bytes_up": up,
            "bytes_down": down,
            "loss": loss,
            "epsilon_spent": epsilon,
            "patients": None if patients is None else int(patients),
        }


Reply = Answer | str
"""A hospital's answer, or why there is none."""
REFUSED = RefusalError.__name__


def _reply_of(reply: Message | None, timeout: float) -> Reply:
    if reply is None:
        return f"{UNREACHED}: no answer in {timeout:g} s"
    if reply.has_error():
        return f"{UNREACHED if reply.error.code in AWAY_CODES else 'failed'}: {_why(reply.error)}"
    try:
        records = {name: unpack(record) for name, record in reply.content.array_records.items()}
        numbers = {name: float(value) for name, value in reply.content.metric_records["metrics"].items()}  # type: ignore[arg-type]
    except Exception as error:  # whatever a node puts into a message
        return f"failed: its answer cannot be read: {type(error).__name__}"
    if not all(torch.isfinite(tensor).all() for record in records.values() for tensor in record.values()):
        return "failed: its model is not finite"
    if not isfinite(numbers.get("num-examples", 0.0)):
        return "failed: its number of patients is not finite"
    return Answer(records.get("arrays", {}), numbers, records.get("beside", {}))


def _why(error: Error) -> str:
    """Say why a hospital gave no answer: its own words in a simulation, else what its one word stands for."""
    reason = reason_of(error.code)
    if reason is None:
        return " ".join((error.reason or "it raised").split())[:300]
    return REASONS[reason] if reason == "failed" else f"{REFUSED}: refused: {reason}: {REASONS[reason]}"

"""The server's side of a study: asks hospitals, combines their models, keeps a checkpoint after every round."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from fedmammo.config import ALL, StudyConfig
from fedmammo.errors import StudyError
from fedmammo.federation.arms import Group
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.federation.messages import pack, size, unpack
from fedmammo.federation.strategies import restore, state_of
from fedmammo.hospitals.profiles import Profile
from fedmammo.training.task import Cell, Stage, Task

Report = Callable[[dict[str, Any]], None]


ATTEMPTS = 3  # where every hospital must answer: a worker that died may have taken a message with it


class Members:
    """The part of a grid that a strategy of Flower looks at: the nodes of one group."""

    def __init__(self, nodes: list[int]) -> None:
        self._nodes = nodes

    def get_node_ids(self) -> Iterable[int]:
        """List the group's nodes."""
        return self._nodes


class Server:
    """Speaks to the hospitals of one study through a grid.

    Args:
        grid: Flower's grid, or the inline one.
        config: the study.
        run: folder of the run.
        hospitals: profiles in the order of positions; they say how fast a simulated round is.
        report: called with what happens, for progress.
    """

    def __init__(self, grid: Grid, config: StudyConfig, run: Path, hospitals: list[Profile], report: Report) -> None:
        self.grid = grid
        self.config = config
        self.run = run
        self.hospitals = hospitals
        self.report = report
        self.node_of = self._find_nodes()

    def _find_nodes(self) -> dict[int, int]:
        """Ask every node which hospital it is; returns node by position."""
        found: dict[int, int] = {}
        for _ in range(ATTEMPTS):
            silent = set(self.grid.get_node_ids()) - set(found.values())
            for answer in self._send([Message(RecordDict(), node, f"{MessageType.QUERY}.hospital") for node in silent]):
                if not answer.has_error():
                    found[int(_numbers(answer)["position"])] = answer.metadata.src_node_id
        missing = [hospital.name for position, hospital in enumerate(self.hospitals) if position not in found]
        if missing:
            raise StudyError(f"no node answered as {', '.join(missing)}; the study needs one node for each hospital")
        return found

    def _send(self, messages: list[Message]) -> list[Message]:
        return list(self.grid.send_and_receive(messages, timeout=self.config.engine.timeout))

    def _ask(self, stage: str, messages: list[Message], cell: Cell, number: int, of: int) -> dict[int, Message | str]:
        """Send messages, at most one to a node; returns each receiver's reply, or why there is none, by position."""
        position_of = {node: position for position, node in self.node_of.items()}
        replies = {position_of[reply.metadata.src_node_id]: reply for reply in self._send(messages)}
        answers: dict[int, Message | str] = {}
        for position in sorted(position_of[message.metadata.dst_node_id] for message in messages):
            reply = replies.get(position)
            if reply is None:
                answers[position] = f"failed: no answer in {self.config.engine.timeout:g} s"
            elif reply.has_error():
                answers[position] = "failed: " + " ".join((reply.error.reason or "it raised").split())[:300]
            elif not _finite(reply):
                answers[position] = "failed: its model is not finite"
            else:
                answers[position] = reply
        pooled = cell.arm == "centralized" and stage == "train"
        names = {position: ALL if pooled else self.hospitals[position].name for position in answers}
        status = {names[position]: _status(answer) for position, answer in answers.items()}
        self.report({"cell": cell, "stage": stage, "round": number, "rounds": of, "hospitals": status})
        return answers

    def _task(
        self, stage: Stage, cell: Cell, config: StudyConfig, number: int = 0, pooled: bool = False
    ) -> ConfigRecord:
        task = Task(stage, cell, number, config.model_dump_json(), str(self.run.resolve()), pooled)
        return ConfigRecord({"task": task.to_json()})

    def compute_features(self, cell: Cell, config: StudyConfig) -> None:
        """Let every hospital compute the frozen prefix for its patients, some images at a time.

        Raises StudyError where a hospital fails: nothing can be trained or scored without.
        """
        content = RecordDict({"config": self._task("features", cell, config)})
        waiting, number = list(range(len(self.hospitals))), 0
        while waiting:
            number += 1
            answers = self._ask_all("features", content, f"{MessageType.QUERY}.features", waiting, cell, number)
            waiting = [position for position in waiting if _numbers(answers[position])["remaining"]]

    def train(
        self, cell: Cell, config: StudyConfig, groups: list[Group], initial: dict[str, Tensor], path: Path
    ) -> Checkpoint:
        """Train a cell: rounds of local steps, all groups at once; continues after the last round kept at `path`.

        A hospital that fails in a federation is recorded in the round's rows, and the others go on. One that trains
        alone is asked again: nobody stands in for it. Raises StudyError where one that trains alone, or fewer than
        `federation.min_hospitals` of a federation (or than all, if it has fewer), answer; finished rounds are kept.
        """
        rounds = config.federation.rounds
        checkpoint = Checkpoint.read(path) if path.exists() else Checkpoint({group.name: initial for group in groups})
        strategies = {group.name: group.strategy.make() for group in groups}
        for group in groups:
            restore(group.strategy, strategies[group.name], checkpoint.strategies.get(group.name, {}), list(initial))

        for number in range(checkpoint.round + 1, rounds + 1):
            messages: list[Message] = []
            for group in groups:
                task = self._task("train", cell, config, number, group.pooled)
                members = cast(Grid, Members([self.node_of[position] for position in group.members]))
                arrays = pack(checkpoint.models[group.name])
                messages += strategies[group.name].configure_train(number, arrays, task, members)
            answers = self._ask("train", messages, cell, number, rounds)
            alone = {group.members[0] for group in groups if len(group.members) == 1}
            for _ in range(ATTEMPTS - 1):
                lost = {self.node_of[p] for p in alone if not isinstance(answers[p], Message)}
                if lost:
                    again = [_anew(message) for message in messages if message.metadata.dst_node_id in lost]
                    answers |= self._ask("train", again, cell, number, rounds)
            sent = {message.metadata.dst_node_id: _size(message) for message in messages}
            for group in groups:
                for position in group.members:  # before aggregation, which may take the tensors out of the replies
                    row = self._row(cell, number, group, position, sent[self.node_of[position]], answers[position])
                    checkpoint.rows.append(row)
                good = [answers[position] for position in group.members if isinstance(answers[position], Message)]
                if good:
                    combined, _ = strategies[group.name].aggregate_train(number, good)  # type: ignore[arg-type]
                    checkpoint.models[group.name] = _like(initial, unpack(combined or ArrayRecord()))
                    state = state_of(group.strategy, strategies[group.name], list(initial))
                    checkpoint.strategies[group.name] = state
            needed = max(len(alone), min(config.federation.min_hospitals, len(answers)))
            self._enough(answers, needed, f"round {number}")
            checkpoint.round = number
            checkpoint.write(path)
        return checkpoint

    def score(
        self, cell: Cell, config: StudyConfig, models: dict[str, dict[str, Tensor]]
    ) -> dict[int, dict[str, Tensor]]:
        """Let every hospital score models on its patients; returns each one's answer, by position.

        Raises StudyError where a hospital fails: results without its patients would mislead.
        """
        content = RecordDict({f"model/{name}": pack(model) for name, model in models.items()})
        content["config"] = self._task("score", cell, config)
        answers = self._ask_all("score", content, MessageType.EVALUATE, list(range(len(self.hospitals))), cell, 1)
        return {position: unpack(answer.content.array_records["arrays"]) for position, answer in answers.items()}

    def _ask_all(
        self, stage: str, content: RecordDict, kind: str, positions: list[int], cell: Cell, number: int
    ) -> dict[int, Message]:
        """Ask hospitals of which every one must answer; those that fail are asked again."""
        answers: dict[int, Message | str] = {}
        for _ in range(ATTEMPTS):
            failed = [position for position in positions if not isinstance(answers.get(position), Message)]
            if failed:
                messages = [Message(content, self.node_of[position], kind) for position in failed]
                answers |= self._ask(stage, messages, cell, number, 0)
        self._enough(answers, len(positions), f"stage {stage}")
        return {position: answer for position, answer in answers.items() if isinstance(answer, Message)}

    def _enough(self, answers: dict[int, Message | str], needed: int, where: str) -> None:
        failed = {self.hospitals[p].name: answer for p, answer in answers.items() if isinstance(answer, str)}
        if len(answers) - len(failed) < needed:
            first = next(iter(failed))
            raise StudyError(
                f"{where}: {len(answers) - len(failed)} of {len(answers)} hospitals answered, {needed} are needed; "
                f"{first} {failed[first]}; what was finished is kept, the same command with the same --out continues"
            )

    def _row(
        self, cell: Cell, number: int, group: Group, position: int, sent: int, answer: Message | str
    ) -> dict[str, Any]:
        """Describe what one hospital did in a round. Only a federated model travels, so only it has bytes.

        `sent`: bytes of the model that went to the hospital.
        """
        hospital = Profile(name="pooled") if group.pooled else self.hospitals[position]
        numbers = _numbers(answer) if isinstance(answer, Message) else {}
        travels = cell.arm == "federated"
        down = sent if travels else 0
        up = _size(answer) if travels and isinstance(answer, Message) else 0
        seconds = 8e-6 * (up + down) / hospital.uplink_megabits_per_second
        seconds += numbers.get("images", 0.0) / hospital.images_per_second
        return {
            "arm": cell.arm,
            "setting": cell.setting,
            "seed": cell.seed,
            "draw": cell.draw,
            "fold": cell.fold,
            "stage": "train",
            "round": number,
            "hospital": ALL if group.pooled else hospital.name,
            "status": _status(answer),
            "simulated_seconds": round(seconds, 3),
            "bytes_up": up,
            "bytes_down": down,
            "loss": numbers.get("loss"),
            "epsilon_spent": None,
        }


def _finite(reply: Message) -> bool:
    """Whether every tensor of a reply is finite: one NaN would spoil the combined model for all."""
    return all(
        torch.isfinite(tensor).all()
        for record in reply.content.array_records.values()
        for tensor in unpack(record).values()
    )


def _like(initial: dict[str, Tensor], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in the order and types of the initial model (some strategies compute in float64)."""
    return {name: tensors[name].to(tensor.dtype) for name, tensor in initial.items()}


def _numbers(answer: Message) -> dict[str, float]:
    return {name: float(value) for name, value in answer.content.metric_records["metrics"].items()}  # type: ignore[arg-type]


def _anew(message: Message) -> Message:
    """Return a message of the same content: Flower's grid takes none that was sent before."""
    return Message(message.content, message.metadata.dst_node_id, message.metadata.message_type)


def _size(message: Message) -> int:
    return size(message.content.array_records["arrays"])


def _status(answer: Message | str) -> str:
    return answer if isinstance(answer, str) else "ok"

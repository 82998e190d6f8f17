"""The server's side of a study: asks hospitals, combines their models, keeps a checkpoint after every round."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from flwr.app import ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from fedmammo.config.sections import ALL
from fedmammo.config.study import StudyConfig
from fedmammo.errors import StudyError
from fedmammo.federation.arms import Group
from fedmammo.federation.messages import pack, size, size_of_arrays, unpack
from fedmammo.federation.rounds import ATTEMPTS
from fedmammo.hospitals.profiles import Profile
from fedmammo.privacy.plan import Plan, RefusalError
from fedmammo.run.folder import round_row
from fedmammo.synthesis.pool import Pool
from fedmammo.training.task import Cell, Stage, Task

Report = Callable[[dict[str, Any]], None]


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
                    found[int(numbers_of(answer)["position"])] = answer.metadata.src_node_id
        missing = [hospital.name for position, hospital in enumerate(self.hospitals) if position not in found]
        if missing:
            raise StudyError(f"no node answered as {', '.join(missing)}; the study needs one node for each hospital")
        return found

    def _send(self, messages: list[Message]) -> list[Message]:
        return list(self.grid.send_and_receive(messages, timeout=self.config.engine.timeout))

    def ask(self, stage: str, messages: list[Message], cell: Cell, number: int, of: int) -> dict[int, Message | str]:
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
        pooled = cell.arm == "centralized" and stage in ("train", "generator", "embedding")
        names = {position: ALL if pooled else self.hospitals[position].name for position in answers}
        status = {names[position]: _status(answer) for position, answer in answers.items()}
        self.progress(cell, stage, status, number, of)
        return answers

    def progress(self, cell: Cell, stage: str, status: dict[str, str], number: int, of: int) -> None:
        """Report how far a stage is: its round, of how many (0: not known), and each hospital's status."""
        self.report({"cell": cell, "stage": stage, "round": number, "rounds": of, "hospitals": status})

    def task(
        self,
        stage: Stage,
        cell: Cell,
        config: StudyConfig,
        number: int = 0,
        pooled: bool = False,
        pool: str | None = None,
        among: Sequence[int] = (),
        plan: Plan | None = None,
    ) -> ConfigRecord:
        """Write the instruction for a message; arguments as in `Task`. `plan`: what is agreed to."""
        task = Task(
            stage, cell, number, config.model_dump_json(), str(self.run.resolve()), pooled, pool, among=tuple(among)
        )
        if plan is not None and stage == "plan":
            task = replace(task, plan=plan.to_json())
        elif plan is not None:
            task = replace(task, plan=plan.digest, asked=plan.mechanism(stage).to_dict())
        return ConfigRecord({"task": task.to_json()})

    def agree(self, cell: Cell, config: StudyConfig, groups: list[Group], plan: Plan) -> None:
        """Let everybody who trains agree to a plan, once. Raises StudyError where a hospital refuses."""
        for group in groups:
            content = RecordDict({"config": self.task("plan", cell, config, pooled=group.pooled, plan=plan)})
            self.ask_all("plan", content, f"{MessageType.QUERY}.plan", list(group.members), cell, 1)

    def name_of(self, group: Group, position: int) -> str:
        """Name who trains: a hospital, or `all`."""
        return ALL if group.pooled else self.hospitals[position].name

    def compute_features(self, cell: Cell, config: StudyConfig) -> None:
        """Let every hospital compute the frozen prefix for its patients, some images at a time.

        Raises StudyError where a hospital fails: nothing can be trained or scored without.
        """
        self._compute(cell, config, list(range(len(self.hospitals))), None)

    def compute_features_of_pools(
        self, cell: Cell, config: StudyConfig, groups: list[Group], pools: dict[str, str]
    ) -> None:
        """Let the members of each group compute the frozen prefix for its pool, each a part.

        `pools`: digests by group. Raises StudyError where a hospital fails.
        """
        for pool in dict.fromkeys(pools.values()):
            holding = [group for group in groups if pools[group.name] == pool]
            every = any(group.pooled for group in holding)  # the holder of all patients is all hospitals together
            members = range(len(self.hospitals)) if every else sorted(m for group in holding for m in group.members)
            self._compute(cell, config, list(members), pool)

    def _compute(self, cell: Cell, config: StudyConfig, waiting: list[int], pool: str | None) -> None:
        content = RecordDict({"config": self.task("features", cell, config, pool=pool, among=waiting)})
        number = 0
        while waiting:
            number += 1
            answers = self.ask_all("features", content, f"{MessageType.QUERY}.features", waiting, cell, number)
            waiting = [position for position in waiting if numbers_of(answers[position])["remaining"]]

    def share(
        self, cell: Cell, config: StudyConfig, groups: list[Group], pools: dict[str, Pool]
    ) -> list[dict[str, Any]]:
        """Send each group's pool to its members, who verify and keep it; returns rows of rounds.csv.

        Only in a federation does anything travel: elsewhere the members hold the pool. Raises StudyError where a
        hospital fails, for instance because the images are not those that the instruction names.
        """
        rows = []
        for group in groups if cell.arm == "federated" else []:
            pool = pools[group.name]
            files = {name: torch.from_numpy(content.copy()) for name, content in pool.files().items()}
            content = RecordDict({"pool": pack(files), "config": self.task("share", cell, config, pool=pool.digest)})
            answers = self.ask_all("share", content, f"{MessageType.QUERY}.share", list(group.members), cell, 1)
            sent = size(content.array_records["pool"])
            rows += [self.row("share", cell, 0, group, position, sent, answers[position]) for position in answers]
        return rows

    def score(
        self, cell: Cell, config: StudyConfig, models: dict[str, dict[str, Tensor]]
    ) -> dict[int, dict[str, Tensor]]:
        """Let every hospital score models on its patients; returns each one's answer, by position.

        Raises StudyError where a hospital fails: results without its patients would mislead.
        """
        content = RecordDict({f"model/{name}": pack(model) for name, model in models.items()})
        content["config"] = self.task("score", cell, config)
        answers = self.ask_all("score", content, MessageType.EVALUATE, list(range(len(self.hospitals))), cell, 1)
        return {position: unpack(answer.content.array_records["arrays"]) for position, answer in answers.items()}

    def ask_all(
        self, stage: str, content: RecordDict, kind: str, positions: list[int], cell: Cell, number: int
    ) -> dict[int, Message]:
        """Ask hospitals of which every one must answer; those that fail are asked again."""
        answers: dict[int, Message | str] = {}
        for _ in range(ATTEMPTS):
            failed = [position for position in positions if not isinstance(answers.get(position), Message)]
            if failed:
                messages = [Message(content, self.node_of[position], kind) for position in failed]
                answers |= self.ask(stage, messages, cell, number, 0)
        self.enough(answers, len(positions), f"stage {stage}")
        return {position: answer for position, answer in answers.items() if isinstance(answer, Message)}

    def nobody_refuses(self, answers: dict[int, Message | str], where: str) -> None:
        """Raise StudyError where a hospital refused what it was asked: others do not go on without it."""
        refused = [p for p, answer in answers.items() if isinstance(answer, str) and RefusalError.__name__ in answer]
        if refused:
            first = sorted(answers, key=lambda position: position not in refused)
            self.enough({position: answers[position] for position in first}, len(answers), where)

    def enough(self, answers: dict[int, Message | str], needed: int, where: str) -> None:
        """Raise StudyError where fewer hospitals than `needed` gave an answer."""
        failed = {self.hospitals[p].name: answer for p, answer in answers.items() if isinstance(answer, str)}
        if len(answers) - len(failed) < needed:
            first = next(iter(failed))
            raise StudyError(
                f"{where}: {len(answers) - len(failed)} of {len(answers)} hospitals answered, {needed} are needed; "
                f"{first} {failed[first]}; what was finished is kept, the same command with the same --out continues"
            )

    def row(
        self, stage: str, cell: Cell, number: int, group: Group, position: int, sent: int, answer: Message | str
    ) -> dict[str, Any]:
        """Describe what one hospital did in a round. Only a federated model travels, so only it has bytes.

        `sent`: bytes of the model, or pool, that went to the hospital.
        """
        hospital = Profile(name="pooled") if group.pooled else self.hospitals[position]
        numbers = numbers_of(answer) if isinstance(answer, Message) else {}
        travels = cell.arm == "federated"
        down = sent if travels else 0
        up = size_of_arrays(answer) if travels and isinstance(answer, Message) else 0
        seconds = 8e-6 * (up + down) / hospital.uplink_megabits_per_second
        seconds += numbers.get("images", 0.0) / hospital.images_per_second
        name, loss, epsilon = self.name_of(group, position), numbers.get("loss"), numbers.get("epsilon")
        known = round(seconds, 3) if epsilon is None else None  # how many images it read is the hospital's own business
        return round_row(cell, stage, number, name, _status(answer), known, up, down, loss, epsilon)


def _finite(reply: Message) -> bool:
    """Whether every tensor of a reply is finite: one NaN would spoil the combined model for all."""
    return all(
        torch.isfinite(tensor).all()
        for record in reply.content.array_records.values()
        for tensor in unpack(record).values()
    )


def numbers_of(answer: Message) -> dict[str, float]:
    """Return the numbers of an answer, by name."""
    return {name: float(value) for name, value in answer.content.metric_records["metrics"].items()}  # type: ignore[arg-type]


def _status(answer: Message | str) -> str:
    return answer if isinstance(answer, str) else "ok"

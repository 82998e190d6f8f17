"""Rounds: models go out to groups of hospitals, answers come back and are combined; checkpoints are kept."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from fedmammo.config.arm import Group
from fedmammo.config.deployment import Deployment
from fedmammo.federation.attempts import attempt_of, check_enough, out_of, void
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.federation.messages import as_reply, pack, unpack
from fedmammo.federation.server import Reply, Server
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.secret import Secret
from fedmammo.run.folder import round_row
from fedmammo.stages.stage import Job, Rounds, Tensors, Turn
from fedmammo.stages.tensors import unlike
from fedmammo.strategies.base import BaseStrategy
from fedmammo.strategies.fedavg import FedAvg
from fedmammo.strategies.state import restore, state_of
from fedmammo.training.averaging import running_mean
from fedmammo.training.state import join_kinds, of_kind

AWAY = "away"  # the status of a hospital that a round does not ask
After = Callable[[int, dict[str, Tensors]], None]


@dataclass(frozen=True)
class Deployed:
    """A deployment as the server runs it.

    Attributes:
        deployment: what hospitals agreed to.
        groups: who learns with whom.
        sizes: declared training patients by holder.
        plan: what hospitals agreed to, where there is a budget.
        secret: the server's own, for noise where it is trusted.
        device: where the server computes.
    """

    deployment: Deployment
    groups: list[Group]
    sizes: dict[str, int]
    plan: Plan | None
    secret: Secret
    device: torch.device

    @property
    def members(self) -> list[str]:
        """Everybody who trains."""
        return [name for group in self.groups for name in group.members]


class Members:
    """The part of a grid that a strategy of Flower looks at: the nodes of one group."""

    def __init__(self, nodes: list[int]) -> None:
        self._nodes = nodes

    def get_node_ids(self) -> list[int]:
        """List the group's nodes."""
        return self._nodes


class Combiner:
    """One group's strategy: Flower's class, and what a checkpoint keeps of it.

    Args:
        strategy: as the study names it.
        deployment: the deployment.
        initial: the group's first model, for the order and types of its tensors.
    """

    def __init__(self, strategy: BaseStrategy, deployment: Deployment, initial: Tensors) -> None:
        self._strategy = strategy
        self._made = strategy.make(deployment)
        self._initial = initial

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned before a restart."""
        restore(self._strategy, self._made, state, list(self._initial))

    @property
    def state(self) -> dict[str, Any]:
        """What the next round depends on."""
        return state_of(self._strategy, self._made, list(self._initial))

    def begin(self, number: int, model: Tensors, nodes: list[int]) -> None:
        """Let Flower's strategy see the model that goes out: some combine answers with it."""
        members = cast(Grid, Members(nodes))
        list(self._made.configure_train(number, pack(model), ConfigRecord(), members))

    def mean(self, number: int, answers: Mapping[str, Answer], nodes: Mapping[str, int]) -> Tensors:
        """Combine answers as the strategy does, in the order and types of the initial model."""
        replies = []
        for name, answer in answers.items():
            asked = Message(RecordDict(), nodes[name], "train")
            replies.append(as_reply(answer, asked))
        combined, _ = self._made.aggregate_train(number, replies)
        found = unpack(combined or ArrayRecord())
        return {name: found[name].to(tensor.dtype) for name, tensor in self._initial.items()}


class RoundsOf:
    """All rounds of a stage of a deployment, all groups at once.

    Args:
        server: speaks to the hospitals.
        deployed: the deployment.
        stage: what is done.
        pools: digests of the synthetic images that each group learns from beside its patients, if any.
    """

    def __init__(
        self, server: Server, deployed: Deployed, stage: Rounds, pools: Mapping[str, str] | None = None
    ) -> None:
        self.server = server
        self.deployed = deployed
        self.stage = stage
        self._pools = pools or {}

    def run(self, initial: dict[str, Tensors], path: Path, after: After = lambda _, __: None) -> Checkpoint:
        """Train; continues after the last round kept at `path`.

        A hospital that fails in a federation is recorded in the round's rows, and the others go on; where masks hide
        their sums, once the round was asked again without it. One that trains alone is asked again: nobody stands in
        for it. Raises StudyError where too few answer; finished rounds are kept.

        Args:
            initial: the model that each group begins with.
            path: where the last finished round is kept.
            after: told the number of each round, before it is kept, and what each group's model would be if it ended.
        """
        deployment, stage = self.deployed.deployment, self.stage
        checkpoint = Checkpoint.read(path) if path.exists() else Checkpoint(dict(initial))
        combiners = {}
        for group in self.deployed.groups:
            strategy = stage.strategy(deployment) if len(group.members) > 1 else FedAvg()
            combiners[group.name] = Combiner(strategy, deployment, initial[group.name])
            combiners[group.name].restore(checkpoint.strategies.get(group.name, {}))

        rounds, kept_at, told = stage.rounds(deployment), time.monotonic(), 0
        for number in range(checkpoint.round + 1, rounds + 1):
            where = f"{stage.name}, round {number}"
            due = time.monotonic() >= kept_at + self.server.checkpoint_seconds
            keep = due or number == rounds or self.deployed.plan is not None  # what was charged is not asked again
            answers, rows = self._asked(checkpoint, number, keep)
            while self.secure and not all(isinstance(answer, Answer) for answer in answers.values()):
                checkpoint.rows += void(rows, answers)
                check_enough(self.secure, checkpoint.rows, self._present(number), where)
                checkpoint.write(path)
                answers, rows = self._asked(checkpoint, number, keep)
            checkpoint.rows += rows
            self.server.enough(answers, min(self._needed(), len(answers)), where)
            for group in self.deployed.groups:
                self._combine(checkpoint, combiners[group.name], group, number, answers)
            after(number, self._models(checkpoint))
            checkpoint.round = number
            if keep:
                checkpoint.write(path)
                kept_at = time.monotonic()
            self.server.tell(deployment, stage.name, checkpoint.rows[told:], rounds)  # after a restart: all
            told = len(checkpoint.rows)
        return replace(checkpoint, models=self._models(checkpoint))

    @property
    def secure(self) -> Plan | None:
        """The plan, where masks hide hospitals' sums."""
        plan = self.deployed.plan
        return plan if plan is not None and plan.secure else None

    def _asked(self, checkpoint: Checkpoint, number: int, keep: bool) -> tuple[dict[str, Reply], list[dict[str, Any]]]:
        """Ask a round of everybody who takes part; returns their answers, and rows of rounds.csv of all members.

        Raises StudyError where one refuses.
        """
        deployment, stage = self.deployed.deployment, self.stage
        contents = self._contents(checkpoint, number, keep)
        answers, where = self._ask(contents, number, stage.rounds(deployment)), f"{stage.name}, round {number}"
        self.server.nobody_refuses(answers, where)
        answers = {name: self._checked(checkpoint, name, answer) for name, answer in answers.items()}
        rows, out = [], out_of(checkpoint.rows) if self.secure else {}
        for name in self.deployed.members:
            if name in contents:
                job = Job(stage.name, deployment.digest, number)
                rows.append(self.server.row(deployment, job, name, contents[name], answers[name]))
            else:
                rows.append(round_row(deployment.place, stage.name, number, name, out.get(name, AWAY)))
        return answers, rows

    @staticmethod
    def _models(checkpoint: Checkpoint) -> dict[str, Tensors]:
        """Return each group's model: the mean over last rounds where there is one, else that of the last round."""
        means = {group: of_kind(kept, "mean") for group, kept in checkpoint.kept.items()}
        return {group: means.get(group) or model for group, model in checkpoint.models.items()}

    def _combine(
        self, checkpoint: Checkpoint, combiner: Combiner, group: Group, number: int, answers: Mapping[str, Reply]
    ) -> None:
        """Make a group's new model of what its members answered."""
        good = {name: answer for name in group.members if isinstance(answer := answers.get(name), Answer)}
        if not good:
            return
        nodes = {name: self.server.nodes[name].node for name in group.members}
        model, kept = checkpoint.models[group.name], checkpoint.kept.get(group.name, {})
        combiner.begin(number, model, list(nodes.values()))
        turn = Turn(
            self.deployed.deployment,
            self.deployed.plan,
            group.name,
            number,
            model,
            {name: tensor for name, tensor in kept.items() if not name.startswith("mean/")},
            good,
            lambda: combiner.mean(number, good, nodes),
            sum(self.deployed.sizes[name] for name in group.members),
            self.deployed.secret,
            self.deployed.device,
        )
        checkpoint.models[group.name], new = self.stage.at_server(turn)
        mean = self._average(of_kind(kept, "mean"), checkpoint.models[group.name], number)
        checkpoint.kept[group.name] = new | join_kinds(mean=mean)
        checkpoint.strategies[group.name] = combiner.state

    def _average(self, before: Tensors, model: Tensors, number: int) -> Tensors:
        """Return the mean of a group's models so far, of those that count; nothing where the last one is used."""
        deployment = self.deployed.deployment
        return running_mean(before, model, number, self.stage.rounds(deployment), self.stage.averaged(deployment))

    def _checked(self, checkpoint: Checkpoint, name: str, answer: Reply) -> Reply:
        """Return an answer, or why it is none: tensors and numbers are looked at before anything is made of them."""
        if not isinstance(answer, Answer):
            return answer
        group = next(group for group in self.deployed.groups if name in group.members)
        model, plan = checkpoint.models[group.name], self.deployed.plan
        why = unlike(answer.tensors, model, sums=plan is not None and plan.trust != "local")
        beside = {key: tensor for key, tensor in answer.beside.items() if key in model}
        why = why or unlike(beside, {key: model[key] for key in beside})
        declared = float(self.deployed.sizes[name])
        answers_for = answer.numbers.get("num-examples", 0.0)
        if why is None and answers_for != declared:
            why = f"it declared {declared:g} patients and answers for {answers_for:g}"
        return answer if why is None else f"failed: {why}"

    def _needed(self) -> int:
        """How many answers a round needs: all, or in a federation `federation.min_hospitals`, or what a strategy needs.

        `min_hospitals` counts as all where fewer take part.
        """
        members, federation = len(self.deployed.members), self.deployed.deployment.federation
        if not self.deployed.deployment.arm.federated:
            return members
        fewest = self.stage.strategy(self.deployed.deployment).fewest if len(self.deployed.groups) == 1 else 1
        return max(min(federation.min_hospitals, members), fewest)

    def _present(self, number: int) -> list[str]:
        """List who takes part in a round, as the study schedules it."""
        everybody = self.deployed.members
        return self.deployed.deployment.present(everybody, number) if self.stage.name == "train" else everybody

    def _job(self, group: Group, number: int, keep: bool = False) -> Job:
        plan = self.deployed.plan
        return Job(
            self.stage.name,
            self.deployed.deployment.digest,
            number,
            pool=self._pools.get(group.name),
            plan=plan.digest if plan else None,
            keep=keep,
        )

    def _contents(self, checkpoint: Checkpoint, number: int, keep: bool) -> dict[str, RecordDict]:
        """Write what each member is sent."""
        began = {row["hospital"] for row in checkpoint.rows if row["status"] == "ok"}
        out = out_of(checkpoint.rows) if self.secure else {}
        present = [name for name in self._present(number) if name not in out]
        contents: dict[str, RecordDict] = {}
        for group in self.deployed.groups:
            kept = checkpoint.kept.get(group.name, {})
            beside = self.stage.beside(self.deployed.deployment, kept, began.issuperset(group.members))
            sent: dict[str, dict[str, Tensor]] = {"arrays": checkpoint.models[group.name], **beside}
            members, job = [name for name in group.members if name in present], self._job(group, number, keep)
            if self.secure:
                job = replace(job, attempt=attempt_of(checkpoint.rows, number), members=tuple(members))
            contents |= dict.fromkeys(members, self.server.content(job, sent))
        return contents

    def _ask(self, contents: Mapping[str, RecordDict], number: int, rounds: int) -> dict[str, Reply]:
        deployment, job = self.deployed.deployment, self._job(self.deployed.groups[0], number)
        needed = [group.members[0] for group in self.deployed.groups if len(group.members) == 1]
        needed = [name for name in (contents if self.secure else needed) if name in contents]
        answers: dict[str, Reply] = {}
        lost = contents
        for _ in self.server.tries(answers):
            answers |= self.server.ask(deployment, job, lost, rounds)
            lost = {name: contents[name] for name in needed if not isinstance(answers[name], Answer)}
            if not lost:
                break
        return answers

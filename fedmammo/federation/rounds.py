"""Rounds of training: models go out to groups of hospitals, come back and are combined; a checkpoint after each."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from flwr.app import ArrayRecord, Message
from flwr.serverapp import Grid
from torch import Tensor

from fedmammo.config.study import StudyConfig
from fedmammo.federation.arms import Group
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.federation.messages import anew, pack, size_of_arrays, unpack
from fedmammo.privacy.plan import Plan
from fedmammo.strategies.state import restore, state_of
from fedmammo.training.state import join_kinds, of_kind
from fedmammo.training.task import Cell, Stage

if TYPE_CHECKING:
    from fedmammo.federation.server import Server

ATTEMPTS = 3  # where every hospital must answer: a worker that died may have taken a message with it


class Members:
    """The part of a grid that a strategy of Flower looks at: the nodes of one group."""

    def __init__(self, nodes: list[int]) -> None:
        self._nodes = nodes

    def get_node_ids(self) -> list[int]:
        """List the group's nodes."""
        return self._nodes


class Rounds:
    """Rounds of local steps of a cell, all groups at once.

    Args:
        server: speaks to the hospitals.
        cell: the deployment.
        config: the study, as the cell's arm runs it.
        groups: who trains with whom.
        pools: digests of the synthetic images that each group learns from beside its patients, if any.
        plan: what hospitals agreed to, where the setting has a budget.
    """

    stage: Stage = "train"

    def __init__(
        self,
        server: "Server",
        cell: Cell,
        config: StudyConfig,
        groups: list[Group],
        pools: dict[str, str],
        plan: Plan | None = None,
    ) -> None:
        self.server = server
        self.cell = cell
        self.config = config
        self.groups = groups
        self.pools = pools
        self.plan = plan

    @property
    def rounds(self) -> int:
        """How many there are."""
        return self.config.federation.rounds

    @property
    def averaged(self) -> int:
        """Over how many last rounds the final model is averaged."""
        return self.config.federation.averaged_rounds

    def beside(self, checkpoint: Checkpoint, group: Group) -> dict[str, dict[str, Tensor]]:
        """Return what goes to a group's members beside its model."""
        return {}

    def stepped(
        self, checkpoint: Checkpoint, group: Group, number: int, sent: dict[str, Tensor], answered: list[str]
    ) -> dict[str, Tensor]:
        """Return a group's new model from the mean of what its members sent: that mean. `answered`: their names."""
        return sent

    def combined(self, checkpoint: Checkpoint, group: Group, number: int) -> None:
        """Take note that a group's model of round `number` stands in the checkpoint."""

    def run(self, initial: dict[str, dict[str, Tensor]], path: Path) -> Checkpoint:
        """Train; continues after the last round kept at `path`. `initial`: the model that each group begins with.

        A hospital that fails in a federation is recorded in the round's rows, and the others go on. One that trains
        alone is asked again: nobody stands in for it. Raises StudyError where too few answer (`_needed`); finished
        rounds are kept.
        """
        checkpoint = Checkpoint.read(path) if path.exists() else Checkpoint(dict(initial))
        tensors = list(next(iter(initial.values())))
        strategies = {group.name: group.strategy.make(self.config) for group in self.groups}
        for group in self.groups:
            restore(group.strategy, strategies[group.name], checkpoint.strategies.get(group.name, {}), tensors)

        for number in range(checkpoint.round + 1, self.rounds + 1):
            messages = [
                message for group in self.groups for message in self._messages(strategies, checkpoint, group, number)
            ]
            answers = self._ask(messages, number)
            self.server.nobody_refuses(answers, f"{self.stage}, round {number}")
            self.server.enough(answers, self._needed(), f"{self.stage}, round {number}")
            sizes = {message.metadata.dst_node_id: size_of_arrays(message) for message in messages}
            for group in self.groups:
                for position in group.members:  # before aggregation, which may take the tensors out of the replies
                    down, answer = sizes[self.server.node_of[position]], answers[position]
                    row = self.server.row(self.stage, self.cell, number, group, position, down, answer)
                    checkpoint.rows.append(row)
                replies = [answers[position] for position in group.members]
                good = [reply for reply in replies if isinstance(reply, Message)]
                if good:
                    combined, _ = strategies[group.name].aggregate_train(number, good)
                    sent = _like(initial[group.name], unpack(combined or ArrayRecord()))
                    names = [self.server.name_of(group, p) for p in group.members if isinstance(answers[p], Message)]
                    checkpoint.models[group.name] = self.stepped(checkpoint, group, number, sent, names)
                    self._average(checkpoint, group, number)
                    state = state_of(group.strategy, strategies[group.name], tensors)
                    checkpoint.strategies[group.name] = state
                    self.combined(checkpoint, group, number)
            checkpoint.round = number
            checkpoint.write(path)
        if self.averaged > 1:
            return replace(checkpoint, models={group: of_kind(kept, "mean") for group, kept in checkpoint.kept.items()})
        return checkpoint

    def _average(self, checkpoint: Checkpoint, group: Group, number: int) -> None:
        """Keep the mean of a group's models so far, of those that count."""
        count = number - max(0, self.rounds - self.averaged)
        if self.averaged > 1 and count >= 1:
            model, kept = checkpoint.models[group.name], checkpoint.kept.get(group.name, {})
            before = of_kind(kept, "mean") or model
            mean = {name: before[name].lerp(tensor, 1 / count) for name, tensor in model.items()}
            checkpoint.kept[group.name] = kept | join_kinds(mean=mean)

    def _needed(self) -> int:
        """How many answers a round needs: all, or in a federation `federation.min_hospitals`, or what a strategy needs.

        `min_hospitals` counts as all where fewer take part.
        """
        members = sum(len(group.members) for group in self.groups)
        if self.cell.arm != "federated":
            return members
        return max(
            min(self.config.federation.min_hospitals, members), *(group.strategy.fewest for group in self.groups)
        )

    def _messages(self, strategies: dict[str, Any], checkpoint: Checkpoint, group: Group, number: int) -> list[Message]:
        pool = self.pools.get(group.name)
        task = self.server.task(self.stage, self.cell, self.config, number, group.pooled, pool, plan=self.plan)
        members = cast(Grid, Members([self.server.node_of[position] for position in group.members]))
        arrays = pack(checkpoint.models[group.name])
        messages = list(strategies[group.name].configure_train(number, arrays, task, members))
        for name, tensors in self.beside(checkpoint, group).items():
            for message in messages:
                message.content[name] = pack(tensors)
        return messages

    def _ask(self, messages: list[Message], number: int) -> dict[int, Message | str]:
        answers = self.server.ask(self.stage, messages, self.cell, number, self.rounds)
        alone = {group.members[0] for group in self.groups if len(group.members) == 1}
        for _ in range(ATTEMPTS - 1):
            lost = {self.server.node_of[p] for p in alone if not isinstance(answers[p], Message)}
            if lost:
                again = [anew(message) for message in messages if message.metadata.dst_node_id in lost]
                answers |= self.server.ask(self.stage, again, self.cell, number, self.rounds)
        return answers


def _like(initial: dict[str, Tensor], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in the order and types of the initial model (some strategies compute in float64)."""
    return {name: tensors[name].to(tensor.dtype) for name, tensor in initial.items()}

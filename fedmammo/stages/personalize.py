"""Personalising: after the rounds, each hospital makes a model of its own of the federated one."""

from typing import ClassVar

from fedmammo.config.deployment import Deployment
from fedmammo.personal.base import Taken, TakeSteps
from fedmammo.privacy.answer import Answer, Mark
from fedmammo.privacy.guard import Guard
from fedmammo.privacy.reasons import RefusalError
from fedmammo.randomness import generator_of
from fedmammo.stages.stage import Incoming, Tensors, Turn, Work
from fedmammo.stages.tensors import check_arrived
from fedmammo.strategies.base import BaseStrategy
from fedmammo.strategies.fedavg import FedAvg
from fedmammo.training.state import keep_own_model, load_state, of_kind
from fedmammo.training.steps import Correct, train

PERSONAL = "personal"  # the kind of state that a hospital keeps for its own model


def steps_at_home(work: Work, number: int) -> TakeSteps:
    """Return what takes steps for a hospital's own model in round `number`; 0 is after all rounds."""
    deployment = work.deployment

    def take(
        steps: int, model: Tensors, state: Tensors, correct: Correct | None = None, rate: float | None = None
    ) -> Taken:
        config = deployment.diagnosis
        if rate is not None:
            config = config.model_copy(update={"optimizer": config.optimizer.at(rate)})
        found, _, after = train(
            work.inputs,
            work.holder.training,
            config,
            steps or deployment.federation.local_steps,
            generator_of(*deployment.stream, Personalize.name, number, work.site.name),
            model,
            state,
            correct,
        )
        return Taken(found.model, after)

    return take


class Personalize:
    """One round, of each hospital alone: it answers with its own model. No budget knows it yet."""

    name: ClassVar[str] = "personalize"
    fields: ClassVar[dict[str, Mark]] = {"tensors": "local", "num-examples": "public"}

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Make the hospital's own model of the federated one; where it stays at home, it is kept and not answered."""
        deployment, model = work.deployment, incoming.get("arrays", {})
        if deployment.privacy is not None:
            raise RefusalError("refused: no budget covers what personalising learns")
        check_arrived(model, work.inputs_alone.model.trained())
        kept = of_kind(load_state(work.folder, before=deployment.federation.rounds + 1), PERSONAL)
        own = deployment.federation.personal.finish(model, kept, steps_at_home(work, 0))
        if work.keeps_models:
            keep_own_model(work.folder, own)
            return Answer(numbers=work.declared)
        return Answer(own, work.declared)

    def rounds(self, deployment: Deployment) -> int:
        """One, in the arm that personalises."""
        return int(deployment.arm.kind == "personalized")

    def averaged(self, deployment: Deployment) -> int:
        """Nothing is averaged."""
        return 1

    def strategy(self, deployment: Deployment) -> BaseStrategy:
        """Nothing is combined."""
        return FedAvg()

    def beside(self, deployment: Deployment, kept: Tensors, began: bool) -> Incoming:
        """Nothing."""
        return {}

    def at_server(self, turn: Turn) -> tuple[Tensors, Tensors]:
        """Take the hospital's model as it is."""
        return turn.mean(), {}

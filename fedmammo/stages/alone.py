"""A hospital that learns alone, at home: all rounds in one message, and the model stays where its patients are."""

from dataclasses import replace
from typing import ClassVar

from fedmammo.privacy.answer import Answer, Mark
from fedmammo.privacy.guard import Guard
from fedmammo.privacy.reasons import RefusalError
from fedmammo.stages.stage import Incoming, Tensors, Work
from fedmammo.stages.train import Train
from fedmammo.training.averaging import running_mean
from fedmammo.training.state import keep_own_model


class Alone:
    """The very rounds that a server would ask for one by one; without a budget, under which models are private."""

    name: ClassVar[str] = "alone"
    fields: ClassVar[dict[str, Mark]] = {"num-examples": "public"}

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Take all rounds from the model that arrived, and keep the last one, or the mean of the last ones.

        Answers the number of patients alone: losses of models that a server made up would tell of patients too.
        """
        deployment = work.deployment
        if deployment.privacy is not None:
            raise RefusalError("refused: under a budget a hospital trains in rounds that its plan counts")
        rounds = deployment.federation.rounds
        model, mean = incoming.get("arrays", {}), Tensors()
        for number in range(1, rounds + 1):
            asked = replace(work, job=replace(work.job, round=number))
            model = Train().at_hospital(asked, {"arrays": model}, guard).tensors
            mean = running_mean(mean, model, number, rounds, deployment.federation.averaged_rounds)
        keep_own_model(work.folder, mean or model)
        return Answer(numbers=work.declared)

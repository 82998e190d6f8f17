"""Training: rounds of the classifier, on patients and on synthetic images beside them."""

from typing import ClassVar

from torch import Tensor, nn

from fedmammo.config.deployment import Deployment
from fedmammo.errors import StudyError
from fedmammo.privacy.answer import Answer, Mark
from fedmammo.privacy.guard import Guard
from fedmammo.privacy.reasons import RefusalError
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.randomness import generator_of
from fedmammo.stages.faults import crash_if_ordered, crashes_in
from fedmammo.stages.personalize import PERSONAL, steps_at_home
from fedmammo.stages.stage import Incoming, Tensors, Turn, Work
from fedmammo.stages.tensors import check_arrived
from fedmammo.strategies.base import BaseStrategy, LocalRound
from fedmammo.training import steps
from fedmammo.training.optimizer import make_optimizer, restore, state_of
from fedmammo.training.state import commit_state, join_kinds, load_state, of_kind


def images_of_nobody(deployment: Deployment, patients: int) -> int:
    """Return how many synthetic images a hospital with so many patients learns from in a round, beside them."""
    if deployment.setting.kind != "augmented" or deployment.source is None:
        return 0
    return round(deployment.source.synthetic_per_real * patients)


class Train:
    """A round is `federation.local_steps` steps at every hospital, from the model that the server sends."""

    name: ClassVar[str] = "train"
    fields: ClassVar[dict[str, Mark]] = {
        "tensors": "charged",  # steps along noised sums of clipped gradients, or such a sum
        "beside": "charged",  # worked out from what is noised, or from images of nobody
        "num-examples": "public",  # declared in the plan, as the relation allows
        "epsilon": "public",  # follows from the plan
        "loss": "local",
        "images": "local",
    }

    def at_hospital(self, work: Work, incoming: Incoming, guard: Guard) -> Answer:
        """Take a round's steps.

        Answers the trained tensors, or where a trusted server adds the noise, or hospitals share it, the sum of clipped
        gradients in steps of the grid, and beside it the gradient of images of nobody; commits the optimiser's state.
        """
        deployment, number, name = work.deployment, work.job.round, work.site.name
        if work.job.stage == self.name and deployment.arm.alone and work.keeps_models:
            raise RefusalError("refused: local_models: home; a model of this hospital alone stays here", "local_models")
        model, beside = incoming.get("arrays", {}), incoming.get("beside", {})
        check_arrived(model, work.inputs_alone.model.trained())
        before, patients, public = load_state(work.folder, before=number), work.holder.training, 0
        optimizer, kept, own = (of_kind(before, kind) for kind in ("optimizer", "strategy", PERSONAL))
        personal = deployment.federation.personal if deployment.arm.kind == "personalized" else None
        if work.job.pool is not None:
            public = images_of_nobody(deployment, len(patients))
            generator = generator_of(*deployment.stream, "synthetic images", number, name)
            chosen = generator.choice(work.of_pool, public, replace=public > len(work.of_pool))
            patients = (*patients, *chosen.reshape(-1, 1))
        local = LocalRound(deployment, model, beside, kept)

        crashes, strategy = crashes_in(work), deployment.strategy

        def correct(parameters: dict[str, nn.Parameter]) -> None:
            if crashes:
                crash_if_ordered(work)
            strategy.correct(local, parameters)

        def draw(private: PrivateSteps | None) -> Answer:
            trained, numbers, state = steps.train(
                work.inputs,
                patients,
                deployment.diagnosis,
                deployment.federation.local_steps,
                generator_of(*deployment.stream, self.name, number, name),
                personal.begin(model, own) if personal else model,
                optimizer,
                correct if crashes or strategy.corrects else None,
                private,
            )
            if not all(tensor.isfinite().all() for tensor in (*trained.model.values(), *state.values())):
                raise StudyError("its model is not finite; a smaller learning rate may help")
            sent, of_strategy = strategy.after(local, trained.model)
            found, at_home = trained.model, dict[str, Tensor]()
            if personal:
                found, at_home = personal.end(model, trained.model, own, steps_at_home(work, number))
            keep, tensors = work.job.keep, join_kinds(optimizer=state, strategy=of_strategy, personal=at_home)
            commit_state(work.folder, number, tensors, keep, flush=keep or private is not None)  # as its ledger is
            return Answer(found, numbers, {**sent, **trained.public})

        depends_on = {
            "deployment": deployment.digest,
            "pool": work.job.pool,
            "learned_from": work.learned_from,
            "incoming": model,
            "beside": beside,
            "state": before,
        }
        asked = ("deployment", "pool", "incoming", "beside")
        answer = guard.release(self.name, number, depends_on, draw, public, asked)
        return Answer(answer.tensors, work.declared | answer.numbers, answer.beside)

    def rounds(self, deployment: Deployment) -> int:
        """As many as the study says."""
        return deployment.federation.rounds

    def averaged(self, deployment: Deployment) -> int:
        """As many as the study says."""
        return deployment.federation.averaged_rounds

    def strategy(self, deployment: Deployment) -> BaseStrategy:
        """The study's in a federation."""
        return deployment.strategy

    def beside(self, deployment: Deployment, kept: Tensors, began: bool) -> Incoming:
        """What the strategy sends beside a model."""
        sent = deployment.strategy.beside(of_kind(kept, "strategy"))
        return {"beside": sent} if sent else {}

    def at_server(self, turn: Turn) -> tuple[Tensors, Tensors]:
        """Combine models as the strategy does; where sums are added up, step along their noised mean instead."""
        if turn.sums:
            return _step(turn)
        model, own = turn.deployment.strategy.at_server(turn._replace(kept=of_kind(turn.kept, "strategy")))
        others = {name: tensor for name, tensor in turn.kept.items() if not name.startswith("strategy/")}
        return model, others | join_kinds(strategy=own)


def _step(turn: Turn) -> tuple[Tensors, Tensors]:
    """Step along the mean over everybody who answered, noised once; the optimiser's state is kept."""
    gradient = _gradient(turn)
    parameters = {name: nn.Parameter(tensor.clone()) for name, tensor in turn.model.items()}
    optimizer = make_optimizer(turn.deployment.diagnosis.optimizer, parameters)
    restore(optimizer, parameters, of_kind(turn.kept, "optimizer"))
    for name, parameter in parameters.items():
        parameter.grad = gradient[name].to(parameter)
    optimizer.step()
    others = {name: tensor for name, tensor in turn.kept.items() if not name.startswith("optimizer/")}
    kept = others | join_kinds(optimizer=state_of(optimizer, parameters))
    return {name: parameter.detach() for name, parameter in parameters.items()}, kept


def _gradient(turn: Turn) -> Tensors:
    plan = turn.agreed
    patients = {name: plan.patients[name] for name in turn.answers}
    public = {name: images_of_nobody(turn.deployment, count) for name, count in patients.items()}
    everybody = sum(patients.values()) + sum(public.values())
    divisor = plan.mechanism("train").rate * everybody
    mean = turn.mean_of_sums("train", divisor)
    for name, answer in turn.answers.items():
        part = public[name] / everybody
        for key, gradient in answer.beside.items():  # of images of nobody
            mean[key] = mean[key] + part * gradient
    return mean

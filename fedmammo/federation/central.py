"""Rounds in which a trusted server noises: hospitals send clipped sums, the server their noised mean's step.

The sum over all hospitals carries the noise that one hospital would add alone, so a model of five hospitals has a fifth
of the noise's variance that five hospitals' own noise would give it (the central model of differential privacy).
"""

import torch
from torch import Tensor, nn

from fedmammo.federation.arms import Group
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.federation.rounds import Rounds
from fedmammo.privacy.officer import digest_of_tensors
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.secret import Secret
from fedmammo.privacy.steps import images_of_nobody
from fedmammo.training.optimizer import make_optimizer, restore, state_of
from fedmammo.training.state import join_kinds, of_kind


class CentralRounds(Rounds):
    """A round is one step: the mean of what members send is a gradient, to which the server adds noise."""

    plan: Plan

    def stepped(
        self, checkpoint: Checkpoint, group: Group, number: int, sent: dict[str, Tensor], answered: list[str]
    ) -> dict[str, Tensor]:
        """Noise the gradient, step, and keep the optimiser's state with the checkpoint."""
        gradient = noised(self, self.plan, checkpoint, group, number, sent, answered, self.spread(answered))
        parameters = {name: nn.Parameter(tensor.clone()) for name, tensor in checkpoint.models[group.name].items()}
        optimizer = make_optimizer(self.config.diagnosis.optimizer, list(parameters.values()))
        kept = checkpoint.kept.get(group.name, {})
        restore(optimizer, parameters, of_kind(kept, "optimizer"))
        for name, parameter in parameters.items():
            parameter.grad = gradient[name]
        optimizer.step()
        mean = of_kind(kept, "mean")
        checkpoint.kept[group.name] = join_kinds(optimizer=state_of(optimizer, parameters), mean=mean)
        return {name: parameter.detach() for name, parameter in parameters.items()}

    def spread(self, answered: list[str]) -> float:
        """Return the noise's standard deviation: its multiplier times the most by which one patient moves the mean.

        A hospital sends its clipped sum over its expected number of patients (and images of nobody); the mean weighs
        hospitals by their declared numbers of patients.
        """
        mechanism, patients = self.plan.mechanism("train"), self.plan.patients
        total = sum(patients[name] for name in answered)
        moved = (
            patients[name] / (mechanism.rate * (patients[name] + images_of_nobody(self.config, patients[name])))
            for name in answered
        )
        return mechanism.noise_multiplier * mechanism.clipping_norm * max(moved) / total


def noised(
    rounds: Rounds,
    plan: Plan,
    checkpoint: Checkpoint,
    group: Group,
    number: int,
    sent: dict[str, Tensor],
    answered: list[str],
    spread: float,
) -> dict[str, Tensor]:
    """Add noise of this standard deviation, from the server's own secret, to the mean of what hospitals sent.

    The stream belongs to everything that determines the mean: a round that is taken again gets the same noise.
    """
    secret = Secret.of(rounds.server.run / "server", rounds.config.privacy.secret_seed)
    request = {
        "cell": rounds.cell.name,
        "group": group.name,
        "round": number,
        "plan": plan.digest,
        "answered": answered,
        "gradient": digest_of_tensors(sent),
        "model": digest_of_tensors(checkpoint.models[group.name]),
    }
    stream = secret.stream(secret.digest(request), "noise", 0)
    return {
        name: mean + (spread * torch.from_numpy(stream.normal(tuple(mean.shape)))).to(mean)
        for name, mean in sent.items()
    }

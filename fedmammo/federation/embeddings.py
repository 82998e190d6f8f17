"""Generators from sums of features: hospitals send theirs once, and the server trains on the mean over all patients."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from fedmammo.config.study import StudyConfig
from fedmammo.federation.arms import Group
from fedmammo.federation.central import noised
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.federation.rounds import Rounds
from fedmammo.federation.server import Server
from fedmammo.models.mcgan import build_mcgan
from fedmammo.privacy.embedding import ClassMeans
from fedmammo.privacy.plan import Plan
from fedmammo.randomness import generator_of
from fedmammo.strategies.fedavg import FedAvg
from fedmammo.synthesis.embedding import loss_of_means
from fedmammo.training.gan import gan_name, gan_of, steps_of, train_gan
from fedmammo.training.generator import public_classifier, show_progress
from fedmammo.training.site import open_site
from fedmammo.training.state import join_kinds, of_kind
from fedmammo.training.task import Cell


class EmbeddingRounds(Rounds):
    """The one round; a hospital's weight is its number of patients, whatever strategy combines classifiers.

    Args:
        server: speaks to the hospitals.
        cell: the deployment.
        config: the study, as the cell's arm runs it.
        groups: whose sums are added.
        plan: what hospitals agreed to, where the generator has a part of the budget.
    """

    stage = "embedding"

    def __init__(self, server: Server, cell: Cell, config: StudyConfig, groups: list[Group], plan: Plan | None) -> None:
        super().__init__(server, cell, config, [replace(group, strategy=FedAvg()) for group in groups], {}, plan)

    @property
    def rounds(self) -> int:
        """A hospital sends one sum."""
        return 1

    @property
    def averaged(self) -> int:
        """There is nothing to average over."""
        return 1

    def stepped(
        self, checkpoint: Checkpoint, group: Group, number: int, sent: dict[str, Tensor], answered: list[str]
    ) -> dict[str, Tensor]:
        """Noise the mean where hospitals trust the server to do so; note down how much noise it has then."""
        spread = self._spread(answered)
        checkpoint.kept[group.name] = {"spread": torch.tensor(spread, dtype=torch.float64)}
        if self.plan is None or self.plan.trust == "local":
            return sent
        return noised(self, self.plan, checkpoint, group, number, sent, answered, spread)

    def _spread(self, answered: list[str]) -> float:
        """Return the standard deviation of the noise on the mean over the patients of these hospitals."""
        if self.plan is None:
            return 0.0
        mechanism, patients = self.plan.mechanism("embedding"), sum(self.plan.patients[name] for name in answered)
        noises = 1 if self.plan.trust == "central" else len(answered)
        return mechanism.noise_multiplier * mechanism.clipping_norm * noises**0.5 / patients

    def means(self, checkpoint: Checkpoint) -> dict[str, ClassMeans]:
        """Read what each group's sums say of the classes."""
        norm = self.config.privacy.generator_clipping_norm
        return {
            name: ClassMeans.of(model["embedding"], norm, float(checkpoint.kept[name]["spread"]))
            for name, model in checkpoint.models.items()
        }

    def train(self, initial: dict[str, Tensor], path: Path) -> Checkpoint:
        """Let hospitals answer, then train each group's generator; continues after the last round kept at `path`.

        `initial`: all tensors of the GAN with which everybody starts. Returns the GANs, kept under `gan/`.
        """
        site = open_site(self.config.model_dump_json())
        torch.set_num_threads(self.config.engine.threads_per_hospital)
        source, classifier = gan_of(self.config), public_classifier(site.inputs, self.config.diagnosis)
        nothing = {"embedding": torch.zeros(2, 1 + classifier.head.in_features)}
        checkpoint = self.run({group.name: nothing for group in self.groups}, path)
        for group in self.groups:
            target = self.means(checkpoint)[group.name]
            name = gan_name(self.cell, self.config, group.pooled, group.name)
            gan = build_mcgan(source)
            gan.load(initial)
            kept = checkpoint.kept[group.name]
            gan.load(of_kind(kept, "gan"))
            gan.to(site.inputs.device)
            state, done = of_kind(kept, "state"), int(kept.get("rounds", 0))
            for number in range(done + 1, source.rounds + 1):
                generator = generator_of(source.seed, name, number, "server")
                loss, steps = loss_of_means(classifier, target.means), steps_of(source, number)
                _, state = train_gan(gan, ["generator"], None, source.batch, steps, generator, state, loss)
                networks = join_kinds(gan=gan.tensors("generator", "average"), state=state)
                checkpoint.kept[group.name] = kept | networks | {"rounds": torch.tensor(number)}
                checkpoint.write(path)
                show_progress(self.server.run, name, "server", number, gan)
                self.server.progress(self.cell, "generator", {group.name: "ok"}, number, source.rounds)
        return checkpoint

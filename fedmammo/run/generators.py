"""Generators of synthetic images: trained by groups of hospitals, combined as the study says, sampled by quota."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fedmammo.config.arm import Group
from fedmammo.config.deployment import Deployment
from fedmammo.disk.files import write_tensors
from fedmammo.errors import StudyError
from fedmammo.federation.checkpoint import Checkpoint
from fedmammo.federation.rounds import Deployed, RoundsOf
from fedmammo.federation.server import Server
from fedmammo.models.mcgan import build_mcgan, of_parts
from fedmammo.randomness import generator_of
from fedmammo.run.folder import PHANTOM_GAN, RunFolder, write_rounds
from fedmammo.run.public import Public
from fedmammo.stages.embedding import Embedding, means_of, public_classifier
from fedmammo.stages.generator import Generator, show_progress
from fedmammo.stages.stage import Job, Tensors
from fedmammo.synthesis.embedding import loss_of_means
from fedmammo.synthesis.names import gan_name
from fedmammo.synthesis.pool import Synthetic
from fedmammo.synthesis.sampling import sample_pool
from fedmammo.training.gan import TRAVELS, steps_of, train_gan
from fedmammo.training.phantom_gan import phantom_gan
from fedmammo.training.state import join_kinds, of_kind

About = dict[str, dict[str, float | None]]
"""What else is to be said of a group's generator, by the group's name."""


class Generators:
    """Trains an arm's generators inside the draw and fold that they serve.

    Args:
        server: speaks to the hospitals.
        folder: of the run.
        public: what the server has that no patient has a part in.
    """

    def __init__(self, server: Server, folder: RunFolder, public: Public) -> None:
        self._server = server
        self._folder = folder
        self._public = public

    def generate(self, deployed: Deployed, hospitals: list[str]) -> dict[str, Synthetic]:
        """Return what each group's pool holds.

        Where a federation pools its hospitals' own generators they are those of the local arm, and trained once for
        both. Under a budget nobody tells how many patients have which class: half of a generator's images show each.
        Raises StudyError where too few hospitals answer, or one has no generator that its local arm needs.
        """
        deployment, groups = deployed.deployment, deployed.groups
        source = deployment.gan
        pooling = source.method == "adversarial" and source.combine == "pool" and deployment.arm.federated
        if pooling:
            deployed = replace(deployed, groups=[Group(name, (name,)) for name in hospitals])
        checkpoint, about = self._train(deployed)
        took_part = {row["hospital"] for row in checkpoint.rows if row["status"] == "ok"}
        trained = deployed.groups
        if pooling:
            trained = [group for group in trained if group.name in took_part]
        elif len(groups) > 1 and (never := [group.name for group in groups if group.name not in took_part]):
            raise StudyError(
                f"{never[0]}: has no generator for the local arm, as it never answered while the federated arm trained;"
                " let it answer and run the study with another --out, or leave local out of arms"
            )
        patients = self._count(deployed)
        generators, weights = {}, {}
        for group in trained:
            kept = of_kind(checkpoint.kept.get(group.name, {}), "gan")
            generators[group.name] = of_parts(kept or checkpoint.models[group.name], "average")
            weights[group.name] = np.sum([patients[name] for name in group.members], axis=0)
            write_tensors(self._folder.generator(gan_name(deployment, group.name)), generators[group.name])
        if pooling:
            return {group.name: sample_pool(source, generators, weights) for group in groups}
        sampled = {name: sample_pool(source, {name: generators[name]}, weights) for name in generators}
        return {name: replace(images, about=about.get(name, {})) for name, images in sampled.items()}

    def _train(self, deployed: Deployed) -> tuple[Checkpoint, About]:
        """Train the groups' generators, or take up what another arm or setting has trained."""
        deployment, source = deployed.deployment, deployed.deployment.gan
        torch.set_num_threads(self._public.threads)
        of = -(-source.phantom_steps // source.local_steps)
        report = partial(self._server.progress, deployment, "phantom generator", {"server": "ok"}, of=of)
        initial = phantom_gan(source, self._folder.shared(PHANTOM_GAN), deployed.device, report)
        path = self._folder.shared(gan_name(deployment, "hospitals")) / "checkpoint.safetensors"
        about: About = {}
        if source.method == "mean_embedding":
            trained, about = self._train_on_means(deployed, initial, path)
        else:
            travels = of_parts(initial, *TRAVELS[source.combine])
            rounds = RoundsOf(self._server, deployed, Generator(initial))
            trained = rounds.run({group.name: travels for group in deployed.groups}, path)
        write_rounds(path.parent, trained.rows)
        return trained, about

    def _train_on_means(self, deployed: Deployed, initial: Tensors, path: Path) -> tuple[Checkpoint, About]:
        """Let hospitals answer, then train each group's generator; continues after the last round kept at `path`.

        The GANs are kept under `gan/`.
        """
        deployment = deployed.deployment
        source, inputs = deployment.gan, self._public.inputs(deployment)
        classifier = public_classifier(inputs, self._public.diagnosis(deployment))
        nothing = {"embedding": torch.zeros(2, 1 + classifier.head.in_features)}
        rounds = RoundsOf(self._server, deployed, Embedding())
        checkpoint = rounds.run({group.name: nothing for group in deployed.groups}, path)
        about: About = {}
        for group in deployed.groups:
            kept = checkpoint.kept[group.name]
            target = means_of(deployment, checkpoint.models[group.name]["embedding"], float(kept["spread"]))
            about[group.name] = {"noise_over_contrast": target.noise_over_contrast}
            name = gan_name(deployment, group.name)
            gan = build_mcgan(source)
            gan.load(initial)
            gan.load(of_kind(kept, "gan"))
            gan.to(inputs.device)
            state, done = of_kind(kept, "state"), int(kept.get("rounds", 0))
            for number in range(done + 1, source.rounds + 1):
                generator = generator_of(source.seed, name, number, "server")
                loss, steps = loss_of_means(classifier, target.means), steps_of(source, number)
                _, state = train_gan(gan, ["generator"], None, source.batch, steps, generator, state, loss)
                networks = join_kinds(gan=gan.tensors("generator", "average"), state=state)
                checkpoint.kept[group.name] = kept | networks | {"rounds": torch.tensor(number)}
                checkpoint.write(path)
                show_progress(self._folder.pools, name, "server", number, gan)
                self._server.progress(deployment, "generator", {group.name: "ok"}, number, source.rounds)
        return checkpoint, about

    def _count(self, deployed: Deployed) -> dict[str, NDArray[np.float64]]:
        """Ask how many training patients have images of a class, benign and malignant; by holder."""
        if deployed.deployment.generator_share:
            return dict.fromkeys(deployed.members, np.ones(2))
        job = Job("count", deployed.deployment.digest)
        answers = self._server.ask_each(deployed.deployment, job, deployed.members)
        return {
            name: np.array([answer.numbers[label] for label in ("benign", "malignant")])
            for name, answer in answers.items()
        }


def without_budget(deployment: Deployment) -> Deployment:
    """Return the deployment in which a generator is trained: without a budget, unless it has a part in one."""
    return deployment if deployment.generator_share else deployment.without_budget()

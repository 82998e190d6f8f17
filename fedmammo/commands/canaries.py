"""Canaries: made-up patients of a hospital that is thrown away, looked for in what it releases through its own door.

The hospital is a real one to its software: a cohort, a site file, a secret of the operating system, a ledger. Whoever
attacks it is a server that agrees to the plan and then sends what models it likes. So the attack sees what the
mechanism really does: how patients are sampled and clipped (canaries have several images), noise that is used twice, an
answer that is given again, and where a server is trusted, the noise that the server adds.
"""

import shutil
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from scipy.stats import norm

from fedmammo.cohort.store import MANIFEST_COLUMNS, Cohort, write_cohort
from fedmammo.config.deployment import Dealing, Deployment
from fedmammo.disk.files import write_text
from fedmammo.errors import InputError
from fedmammo.evaluation.attacks import CONFIDENCE, Bound, Flags, Floats
from fedmammo.features.inputs import Inputs
from fedmammo.features.opening import OPENED
from fedmammo.hospitals.site import Site
from fedmammo.hospitals.site_file import SiteFile, write_site_file
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.limits import Limits
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.plan import Plan
from fedmammo.privacy.secret import Secret
from fedmammo.privacy.steps import PrivateSteps
from fedmammo.randomness import generator_of
from fedmammo.stages.hospital import work
from fedmammo.stages.opened import inputs_of
from fedmammo.stages.planning import plan_of
from fedmammo.stages.stage import Job, Tensors, Turn
from fedmammo.stages.train import Train
from fedmammo.training import steps

NAME = "audited"
IMAGES = (1, 2, 3)  # of a canary, in turn: were images clipped in place of patients, the second would weigh twice
LOUD = 50.0  # length of a canary's features, so that its gradient is clipped in every step
UNUSED = 1 / 3  # of the numbers that the head reads: no canary is there, which tells how much noise there is
OPEN = Limits(maximum_epsilon=1e6, maximum_delta=0.4, minimum_noise_multiplier=1e-9, maximum_clipping_norm=1e9,
              without_budget="accepted", central_trust="accepted")  # fmt: skip


class Found(NamedTuple):
    """What an attack found.

    Attributes:
        there: who was there, (canaries,).
        scores: how much of each canary was found, in units of the noise, (canaries,).
        noise: mean correlation of the noise of one release with that of another, which is 0 if they are independent.
        replay: share of two answers to one request, asked twice, that had the same bytes and cost nothing more.
        plan: what the hospital agreed to.
    """

    there: Flags
    scores: Floats
    noise: Bound
    replay: Bound
    plan: Plan


class Audited:
    """A hospital of some patients and of canaries, each there by the toss of a coin.

    Args:
        folder: an empty one, which the caller throws away.
        inputs: what the network reads of the patients' images.
        patients: rows of each patient's images there.
        cohort: where these images are.
        deployment: whose steps on patients are attacked; its head alone is trained.
        canaries: how many, at most two thirds of what the head reads.
        seed: of the coins.

    Raises InputError where more than the head is trained: what a canary does to other layers is not known beforehand.
    """

    def __init__(
        self,
        folder: Path,
        inputs: Inputs,
        patients: Sequence[np.ndarray],
        cohort: Cohort,
        deployment: Deployment,
        canaries: int,
        seed: int,
    ) -> None:
        if not inputs.linear:
            raise InputError("diagnosis.train: canaries are looked for in heads alone; audit a study with train: head")
        generator = np.random.default_rng(seed)
        width = inputs.model.head.in_features
        count = min(canaries, int((1 - UNUSED) * width))
        places = generator.permutation(width)
        self.there: Flags = generator.random(count) < 0.5
        self.there[:2] = (True, False)  # some, and not all
        self.places, self.unused = places[:count], places[count:]
        present = np.flatnonzero(self.there)
        images_of = [IMAGES[number % len(IMAGES)] for number in range(len(present))]
        _write_cohort(folder / "cohort", cohort, patients, images_of)
        for file in Path(inputs.public).glob(f"{OPENED}*.safetensors"):
            (folder / "cohort" / "features").mkdir(exist_ok=True)
            shutil.copy(file, folder / "cohort" / "features" / file.name)
        site_file = SiteFile(
            name=NAME,
            kind="simulated",
            cohort=folder / "cohort",
            state=folder / "state",
            limits=OPEN,
            scores="rows",
            device=inputs.device.type,
            weights=inputs.weights,
        )
        write_text(folder / "site.yaml", write_site_file(site_file))
        self.site = Site.open(folder / "site.yaml")
        self.deployment = deployment
        self._server, self._kept = Secret.of(folder / "server", None), Tensors()
        self._own = inputs_of(self.site, deployment)
        _write_features(self._own, inputs, patients, self.places[present], images_of)

    def attack(self) -> Found:
        """Let the hospital agree, ask for all rounds, and look for canaries in what it, or the server, released."""
        deployment, site = self.deployment, self.site
        declared = work(site, Job("declare", deployment.digest), {}, deployment.model_dump_json())
        sizes = {NAME: int(declared.numbers["num-examples"])}
        plan = plan_of(deployment, sizes)
        if plan is None:
            raise ValueError("a deployment without a budget has no mechanism to attack")
        work(site, Job("agree", deployment.digest, plan=plan.digest), {}, f'{{"{NAME}": {sizes[NAME]}}}')
        work(site, Job("features", deployment.digest, 1), {})
        model: Tensors = {name: torch.zeros_like(tensor) for name, tensor in self._own.model.trained().items()}
        mechanism, optimizer = plan.mechanism("train"), deployment.diagnosis.optimizer
        changes, same = [], []
        before = np.zeros(model["head.weight"].shape[1])
        for number in range(1, mechanism.rounds + 1):
            job = Job("train", deployment.digest, number, plan=plan.digest)
            answer, again = (work(site, job, {"arrays": model}) for _ in range(2))
            same += [torch.equal(answer.tensors[name], again.tensors[name]) for name in model]
            same.append(answer.numbers == again.numbers)
            known = self._of_patients(mechanism, model)
            after = answer.tensors
            if plan.trust == "central":
                after = self._step(plan, number, model, answer.tensors)
            moved = (model["head.weight"] - after["head.weight"])[0].double().numpy() / optimizer.learning_rate
            seen = self._seen(known)
            # Momentum adds steps up: without what it carries over, a step of SGD is its noised gradient.
            step = moved - optimizer.momentum * before if optimizer.name == "sgd" else moved
            part = float(step @ seen) / max(float(known @ seen), 1e-300)
            changes.append(step - part * known)
            before = moved
            if plan.trust == "central":
                model = after  # whoever gets the model chooses none
        return self._found(np.array(changes), mechanism, plan, float(np.mean(same)))

    def _step(self, plan: Plan, number: int, model: Tensors, sums: Tensors) -> Tensors:
        """Return the model that a trusted server makes of the hospital's clean sums."""
        turn = Turn(
            self.deployment, plan, NAME, number, model, self._kept, {NAME: Answer(sums)}, dict, 0, self._server,
            torch.device("cpu"),
        )  # fmt: skip
        found, self._kept = Train().at_server(turn)
        return found

    def _of_patients(self, mechanism: Mechanism, model: Tensors) -> Floats:
        """Return what everybody but the canaries adds to a step: whoever attacks is taken to know it."""
        holder = self.site.holder(self.deployment)
        labels = self.site.cohort.manifest["patient"].to_numpy()
        known = [rows for rows in holder.training if not labels[rows[0]].startswith("canary")]
        one = Mechanism("train", mechanism.clipping_norm, mechanism.noise_multiplier, 1.0, 1, 1)
        private = PrivateSteps(one, Secret(bytes(32)), "known", len(known), sums=True)
        config, stream = self.deployment.diagnosis, generator_of("audit")
        trained, _, _ = steps.train(self._own, known, config, 1, stream, model, {}, private=private)
        grid = private.grid(list(model.values()))
        return trained.model["head.weight"][0].double().numpy() * grid.step / len(holder.training)

    def _seen(self, values: Floats) -> Floats:
        """Return values where no canary is, and zero elsewhere."""
        seen = np.zeros_like(values)
        seen[self.unused] = values[self.unused]
        return seen

    def _found(self, changes: Floats, mechanism: Mechanism, plan: Plan, same: float) -> Found:
        """Score canaries by the sum of all changes at their places, in units of the noise where no canary is."""
        total = changes.sum(axis=0)
        noise = total[self.unused]
        scores = (total[self.places] - noise.mean()) / noise.std(ddof=1)
        far = max(1, len(changes) // 2)  # rounds apart: momentum makes near ones alike
        pairs = [(first, first + far) for first in range(len(changes) - far)]
        found = [np.corrcoef(changes[one][self.unused], changes[two][self.unused])[0, 1] for one, two in pairs]
        mean = float(np.mean(found)) if found else np.nan
        reach = float(norm.ppf((1 + CONFIDENCE) / 2)) / sqrt(max(1, len(found)) * len(self.unused))
        return Found(
            self.there,
            scores,
            Bound(mean, mean - reach, mean + reach, np.nan),
            Bound(same, same, np.nan, np.nan),
            plan,
        )


def as_audited(deployment: Deployment, budget: float) -> Deployment:
    """Return a deployment's steps on patients as those of one hospital, with what they cost as the whole budget.

    A round is one step: noise is the same, and whoever attacks sees each step by itself.
    """
    if deployment.privacy is None:
        raise ValueError("without a budget nothing is audited with canaries")
    federation = deployment.federation
    steps = federation.rounds * federation.local_steps
    dealing = Dealing(test="test", folds=0, validation_fraction=0, stratified=False)
    return deployment.model_copy(
        update={
            "arm_name": "local",
            "setting_name": f"real-epsilon-{budget:.9f}",
            "source": None,
            "draw": 0,
            "fold": 0,
            "dealing": dealing,
            "federation": federation.model_copy(update={"rounds": steps, "local_steps": 1, "averaged_rounds": 1}),
            "privacy": deployment.privacy.model_copy(update={"generator_share": 0.0}),
        }
    )


def _write_cohort(folder: Path, cohort: Cohort, patients: Sequence[np.ndarray], images_of: Sequence[int]) -> None:
    """Write the cohort of some patients and of canaries, whose images are black: nobody reads them."""
    real = cohort.manifest.iloc[np.concatenate(patients)][list(MANIFEST_COLUMNS)].assign(split="train")
    made_up = pd.DataFrame(
        [
            {"patient": f"canary-{number}", "image": f"canary-{number}-{image}", "split": "train"}
            for number, images in enumerate(images_of)
            for image in range(images)
        ]
    )
    made_up = made_up.assign(pathology="BENIGN", malignant=False, source="made up", lesion="mass")
    plan = pd.concat([real, made_up.reindex(columns=list(MANIFEST_COLUMNS))], ignore_index=True)
    plan = plan.assign(**{name: plan[name].fillna("") for name in ("lesion", "side", "view")})
    side = cohort.patches.shape[1]
    black = np.zeros((side, side), np.uint16)
    plan, facts = plan.assign(listed_in="audit", listed_row=0), {"source": "audit", "notes": {}}
    write_cohort(folder, plan, [], lambda row: black, side, lambda: facts)


def _write_features(
    own: Inputs, inputs: Inputs, patients: Sequence[np.ndarray], places: np.ndarray, images_of: Sequence[int]
) -> None:
    """Put the patients' features into the hospital's store, and for canaries such as the head reads at one place."""
    rows = np.concatenate(patients)
    classifier = own.model
    wanted = LOUD * torch.eye(classifier.head.in_features)[torch.from_numpy(np.repeat(places, images_of))]
    if classifier.directions is not None:
        wanted = wanted @ torch.linalg.pinv(classifier.directions.cpu())
    canaries = (wanted * classifier.scale.cpu() + classifier.center.cpu()).numpy()
    for view in range(len(own.views)):
        real = inputs.read(rows, np.full(len(rows), view)).cpu().numpy()
        own.put(view, np.concatenate([real, canaries]).astype(np.float32))

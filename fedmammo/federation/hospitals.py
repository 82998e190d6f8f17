"""The hospitals of a study, as the server asks them: to agree, for features, to keep a pool, for scores."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from fedmammo.config.arm import ALL
from fedmammo.config.deployment import Deployment
from fedmammo.config.request import Request
from fedmammo.federation.rounds import Deployed
from fedmammo.federation.server import Server
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.secret import Secret
from fedmammo.run.folder import round_row
from fedmammo.stages.agree import STAYS
from fedmammo.stages.planning import plan_of
from fedmammo.stages.score import MODEL
from fedmammo.stages.stage import Job, Tensors
from fedmammo.stages.summarize import SUMMARY


class Hospitals:
    """Asks for the steps that are not taken in rounds. Every hospital must answer: nothing goes on without.

    Args:
        server: speaks to them.
        secret: the server's own.
        device: where the server computes.
    """

    def __init__(self, server: Server, secret: Secret, device: torch.device) -> None:
        self.server = server
        self.names = [name for name in server.nodes if name != ALL]
        self.at_home: set[str] = set()  # hospitals that declared that their tested patients' scores stay
        self._secret = secret
        self._device = device
        self._declared: dict[str, dict[str, int]] = {}
        self._computed: set[tuple[str, str]] = set()

    def declare(self, deployment: Deployment) -> dict[str, int]:
        """Let everybody who trains or tests read the deployment; returns the declared patients of those who train.

        Raises StudyError where a hospital refuses.
        """
        if deployment.digest not in self._declared:
            members = [name for group in deployment.groups(self.names) for name in group.members]
            everybody = list(dict.fromkeys([*self.names, *members]))
            job = Job("declare", deployment.digest)
            declared = self.server.ask_each(deployment, job, everybody, agreement=deployment.model_dump_json())
            self.at_home.update(name for name, answer in declared.items() if STAYS in answer.numbers)
            sizes = {name: int(declared[name].numbers["num-examples"]) for name in members}
            self._declared = {**self._declared, deployment.digest: sizes}
        return self._declared[deployment.digest]

    def agree(self, deployment: Deployment) -> Deployed:
        """Let everybody who trains or tests read the deployment, and everybody who trains agree to its plan.

        Raises StudyError where a hospital refuses.
        """
        sizes = self.declare(deployment)
        plan = plan_of(deployment, sizes)
        if plan is not None:
            job = Job("agree", deployment.digest, plan=plan.digest)
            self.server.ask_each(deployment, job, list(sizes), agreement=json.dumps(sizes))
        return Deployed(deployment, deployment.groups(self.names), sizes, plan, self._secret, self._device)

    def features(self, deployed: Deployed) -> None:
        """Let every hospital compute the frozen prefix of its images, some at a time; once for the same images."""
        deployment = deployed.deployment
        what = deployment.reads
        names = dict.fromkeys([*self.names, *deployed.members])
        missing = [name for name in names if (name, what) not in self._computed]
        self._compute(deployed, {name: Job("features", deployment.digest) for name in missing})
        self._computed |= {(name, what) for name in missing}

    def features_of_pools(self, deployed: Deployed, pools: Mapping[str, str]) -> None:
        """Let members compute the frozen prefix of their group's pool, each a part. `pools`: digests by group."""
        digest, members = deployed.deployment.digest, deployed.members
        jobs = {}
        for group in deployed.groups:
            for name in group.members:
                part = members.index(name)
                jobs[name] = Job("features", digest, pool=pools[group.name], part=part, parts=len(members))
        self._compute(deployed, jobs)

    def _compute(self, deployed: Deployed, waiting: dict[str, Job]) -> None:
        deployment, number = deployed.deployment, 0
        while waiting:
            number += 1
            contents = {name: self.server.content(replace(job, round=number)) for name, job in waiting.items()}
            answers = self.server.ask_all(deployment, Job("features", deployment.digest, number), contents)
            waiting = {name: waiting[name] for name, answer in answers.items() if answer.numbers["remaining"]}

    def share(
        self, deployed: Deployed, digests: Mapping[str, str], files: Mapping[str, Tensors]
    ) -> list[dict[str, Any]]:
        """Send each group's pool to its members, who verify and keep it; returns rows of rounds.csv.

        Only in a federation does anything travel: elsewhere the members hold the pool. `digests` of the pools and their
        `files`, as bytes: by group.
        """
        deployment, rows = deployed.deployment, []
        for group in deployed.groups if deployment.arm.federated else []:
            job = Job("share", deployment.digest, pool=digests[group.name])
            content = self.server.content(job, {"arrays": files[group.name]})
            answers = self.server.ask_all(deployment, job, dict.fromkeys(group.members, content))
            rows += [self.server.row(deployment, job, name, content, answer) for name, answer in answers.items()]
        self.server.tell(deployment, "share", rows, 0)
        return rows

    def score(self, deployment: Deployment, models: Mapping[str, Tensors], number: int = 0) -> dict[str, Answer]:
        """Let every hospital score models on its patients; returns each one's answer.

        `number`: of the round after which the models are as they are; 0 in the end.
        """
        tensors = {f"{MODEL}{name}": model for name, model in models.items()}
        return self.server.ask_each(deployment, Job("score", deployment.digest, number), self.names, tensors=tensors)

    def finish(self, deployed: Deployed) -> dict[str, Answer]:
        """Let everybody end a deployment; returns each one's answer, with its ledgers where there is a budget."""
        everybody = list(dict.fromkeys([*self.names, *deployed.members]))
        return self.server.ask_each(deployed.deployment, Job("finish", deployed.deployment.digest), everybody)

    def divide(self, deployed: Deployed) -> tuple[Deployed, Deployed]:
        """Divide a deployment: groups of one hospital whose model stays there, and all others."""
        arm, budget = deployed.deployment.arm, deployed.deployment.privacy is not None
        own = not budget and (arm.alone or arm.kind == "personalized")
        alone = [group for group in deployed.groups if own and len(group.members) == 1]
        stay = [group for group in alone if self.server.nodes[group.members[0]].keeps_models]
        travel = [group for group in deployed.groups if group not in stay]
        return replace(deployed, groups=stay), replace(deployed, groups=travel)

    def keep_own(self, deployed: Deployed, federated: Mapping[str, Tensors]) -> list[dict[str, Any]]:
        """Let hospitals make models of their own, which stay there, of federated ones; returns rows of rounds.csv."""
        deployment = deployed.deployment
        job = Job("personalize", deployment.digest, 1)
        contents = {
            group.name: self.server.content(job, {"arrays": federated[group.name]}) for group in deployed.groups
        }
        answers = self.server.ask_all(deployment, job, contents) if contents else {}
        return [self.server.row(deployment, job, name, contents[name], answer) for name, answer in answers.items()]

    def alone(
        self, deployed: Deployed, initial: Mapping[str, Tensors], pools: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """Let hospitals whose models stay at home train alone, each in one message; returns rows of rounds.csv.

        `initial`: what each group begins with; `pools`: digests of its synthetic images, if any.
        """
        deployment, rows, contents = deployed.deployment, [], {}
        if not deployed.groups:
            return []
        for group in deployed.groups:
            job = Job("alone", deployment.digest, pool=pools.get(group.name))
            contents[group.name] = self.server.content(job, {"arrays": initial[group.name]})
        answers = self.server.ask_all(deployment, Job("alone", deployment.digest), contents)
        for name, answer in answers.items():
            for number in range(1, deployment.federation.rounds + 1):
                row = round_row(deployment.place, "train", number, name)
                rows.append(row | {"patients": int(answer.numbers["num-examples"])})
        self.server.tell(deployment, "train", rows, deployment.federation.rounds)
        return rows

    def summarize(self, deployments: Sequence[Deployment], request: Request, names: Sequence[str]) -> dict[str, str]:
        """Let hospitals sum up what they kept of these deployments; returns what each tells, as JSON."""
        job = Job("summarize", deployments[0].digest)
        answers = self.server.ask_each(deployments[0], job, names, agreement=request.model_dump_json())
        return {name: answer.tensors[SUMMARY].numpy().tobytes().decode() for name, answer in answers.items()}

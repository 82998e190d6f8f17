"""`fedmammo privacy audit`: attacks what each private setting of a run did, with its own code and patients."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from fedmammo.cohort.store import Cohort, folder_of_features
from fedmammo.commands.canaries import Audited, as_audited
from fedmammo.config.arm import ALL
from fedmammo.config.deployment import Deployment
from fedmammo.config.study import StudyConfig
from fedmammo.disk.files import write_text
from fedmammo.errors import InputError
from fedmammo.evaluation.attacks import Bound, attack_bounds, canary_bounds, guesses_of
from fedmammo.features.inputs import Inputs
from fedmammo.hospitals.dealing import deal
from fedmammo.hospitals.records import records_of
from fedmammo.hospitals.site import open_cohort
from fedmammo.privacy.accounting import attack_power, epsilon, mu_of, spent_of
from fedmammo.privacy.audit import attack_membership
from fedmammo.run.folder import read_config
from fedmammo.run.public import Public
from fedmammo.stages.planning import plan_of

AUDIT_TABLE = "privacy-audit.csv"  # in a run's folder
COLUMNS = ["setting", "audit", "measure", "value", "ci_low", "ci_high", "ceiling", "claimed"]


def audit(run: Path, canaries: int, models: int, seed: int, report: Callable[[str], None]) -> pd.DataFrame:
    """Audit every setting of a run that trains on patients, in its first arm; writes `privacy-audit.csv` there.

    All training patients are audited as one hospital, in the steps of the classifier: the mechanism is the same for
    each hospital. What it learned from before, and generators, are not attacked. A setting without a budget is attacked
    too, for comparison. `ceiling` is the most that so many guesses can certify, `claimed` what the plan says of these
    steps; nothing is claimed of mu where patients are sampled. Raises InputError where there is no run, none of its
    settings has a budget, or more than a head is trained.
    """
    config, _ = read_config(run)
    first = {one.setting_name: one for one in reversed(list(config.deployments))}
    if all(one.privacy is None for one in first.values()):
        raise InputError(f"{run}: none of its settings has a budget of privacy: there is nothing to audit")
    path = config.cohort_folder
    cohort = open_cohort(path, folder_of_features(path, config.engine.features, run.resolve()))
    auditor = Auditor(config, cohort, Public(config, run), canaries, models // 2 * 2, seed)
    rows: list[dict[str, object]] = []
    for setting in config.settings:
        if first[setting].setting.of_patients:
            report(f"auditing {setting}")
            rows += [{"setting": setting, **row} for row in auditor.audit(first[setting])]
    table = pd.DataFrame(rows, columns=COLUMNS)
    write_text(run / AUDIT_TABLE, table.to_csv(index=False))
    return table


class Auditor(NamedTuple):
    """What audits of a run's settings share: the study, its cohort, the network, and how hard to look."""

    config: StudyConfig
    cohort: Cohort
    public: Public
    canaries: int
    models: int
    seed: int

    def audit(self, deployment: Deployment) -> list[dict[str, object]]:
        """Return the rows of one setting."""
        torch.set_num_threads(self.public.threads)
        dealt = deal(self.cohort, self.config)
        records = records_of(self.cohort, dealt.draws[deployment.draw], dealt.digitisers)
        inputs = Inputs(self.cohort, self.public.diagnosis(deployment), self.public.device, records)
        patients = dealt.held(self.cohort, deployment)[ALL].training
        inputs.compute(np.concatenate(patients))
        steps = deployment.federation.rounds * deployment.federation.local_steps
        plan, rows, claims, mechanism = plan_of(deployment, {ALL: len(patients)}), [], {}, None
        if plan is not None:
            mechanism = replace(plan.mechanism("train"), rounds=1, local_steps=steps, spare=0)
            claimed = epsilon(spent_of([(mechanism, mechanism.steps)]), plan.delta)
            claims = {"epsilon is at least": claimed, "found at 1% false alarms": attack_power(claimed, plan.delta)}
            claims |= {"correlation of the noise of two releases": 0.0, "the same request, the same bytes, free": 1.0}
            rows += self._through_the_door(deployment, inputs, patients, claimed, claims)
        diagnosis = self.public.diagnosis(deployment)
        found = attack_membership(inputs, patients, diagnosis, steps, mechanism, self.models, self.seed)
        return rows + _rows(f"membership, {self.models} models", attack_bounds(*found, self.seed), claims)

    def _through_the_door(
        self,
        deployment: Deployment,
        inputs: Inputs,
        patients: Sequence[np.ndarray],
        claimed: float,
        claims: dict[str, float],
    ) -> list[dict[str, object]]:
        """Attack a hospital with canaries in it, which is thrown away."""
        with TemporaryDirectory() as folder:
            one = as_audited(deployment, claimed)
            hospital = Audited(Path(folder), inputs, patients, self.cohort, one, self.canaries, self.seed)
            found = hospital.attack()
        delta, mu = found.plan.delta, mu_of(claimed, found.plan.delta)
        if found.plan.mechanism("train").rate == 1:
            claims["mu"] = mu
        guesses = guesses_of(len(found.there), claimed, mu, delta)  # from the claim, not from what was found
        bounds = canary_bounds(found.there, found.scores, guesses, delta)
        bounds["correlation of the noise of two releases"] = found.noise
        bounds["the same request, the same bytes, free"] = found.replay
        return _rows(f"{len(found.there)} canaries, {guesses} guessed, one run", bounds, claims)


def _rows(name: str, bounds: dict[str, Bound], claims: dict[str, float]) -> list[dict[str, object]]:
    return [
        {
            "audit": name,
            "measure": measure,
            "value": bound.value,
            "ci_low": bound.low,
            "ci_high": bound.high,
            "ceiling": bound.ceiling,
            "claimed": claims.get(measure, np.nan),
        }
        for measure, bound in bounds.items()
    ]

"""A plan: what a deployment will do to patients' privacy, said before anything runs, and agreed to once."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from fedmammo.privacy.accounting import epsilon, spent_of
from fedmammo.privacy.limits import Limits
from fedmammo.privacy.mechanism import Mechanism
from fedmammo.privacy.reasons import ReasonName, RefusalError

UNIT = "patient: all images of one, averaged before they are clipped once"
RELATION = "zero-out of one patient (sensitivity: the clipping norm); the hospitals' numbers of patients are public"
ADVERSARIES = {
    "local": "everybody outside the hospital: the server, the other hospitals, whoever gets the model",
    "central": "whoever gets the model, and the other hospitals; the server sees each hospital's sum and is trusted",
    "secure": "the server, also one that lies, and whoever gets the model, {company}; if no more drop out than "
    "{dropouts}, and hospitals have each other's keys from their own site files",
}
LEAST_TOGETHER = 2  # hospitals: the sum of one is no secret
DELTAS = (1e-4, 1e-6)  # at which every epsilon is told


@dataclass(frozen=True)
class Plan:
    """What hospitals agree to; each works it out from the deployment and the declared numbers of patients.

    Attributes:
        study: digest of what is done, whatever the seed (`Deployment.study`): seeds may share a generator.
        trust: `local`, `central` or `secure`.
        budget: the largest epsilon, at `delta`, for each hospital.
        delta: as configured.
        mechanisms: what is done, in order; every hospital does the same.
        patients: declared number of training patients by hospital (or `all`), which are also the weights of averaging.
        dropouts: under secure aggregation, how many hospitals may drop out for good.
        colluding: and how many may tell the server all they know.
    """

    study: str
    trust: str
    budget: float
    delta: float
    mechanisms: tuple[Mechanism, ...]
    patients: dict[str, int]
    dropouts: int = 0
    colluding: int = 0

    @property
    def secure(self) -> bool:
        """Whether hospitals share the noise, and masks hide the sum of each."""
        return self.trust == "secure"

    @property
    def together(self) -> int:
        """The fewest hospitals whose sums are ever added up: all of them, but for those that may drop out."""
        return len(self.patients) - self.dropouts

    @property
    def shares(self) -> int:
        """The fewest honest hospitals in a sum: so many shares of the noise are as much as is planned."""
        return self.together - self.colluding if self.secure else 1

    @property
    def adversary(self) -> str:
        """Against whom it protects."""
        return adversary(self.trust, self.dropouts, self.colluding)

    def to_json(self) -> str:
        """Write as text; the same plan is the same text."""
        about = {"unit": UNIT, "relation": RELATION, "adversary": self.adversary}
        return json.dumps({**about, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """Read what `to_json` wrote. Raises RefusalError for a plan of another kind."""
        try:
            content: dict[str, Any] = json.loads(text)
            if (content.pop("unit"), content.pop("relation")) != (UNIT, RELATION):
                raise ValueError("another unit or relation")
            content.pop("adversary")
            mechanisms = tuple(Mechanism(**mechanism) for mechanism in content.pop("mechanisms"))
            return cls(mechanisms=mechanisms, **content)
        except (KeyError, TypeError, ValueError) as error:
            raise RefusalError(f"refused: not a plan that is understood here: {error}", "not_understood") from error

    @property
    def digest(self) -> str:
        """SHA-256 of the text, which names the plan."""
        return digest_of(self.to_json())

    def mechanism(self, stage: str) -> Mechanism:
        """Return the mechanism of a stage. Raises RefusalError where the plan has none."""
        for mechanism in self.mechanisms:
            if mechanism.stage == stage:
                return mechanism
        raise RefusalError(f"refused: the plan that was agreed to has no stage {stage}")

    def epsilon(self, delta: float) -> float:
        """Return what all of it costs each hospital."""
        return epsilon(spent_of((mechanism, mechanism.steps) for mechanism in self.mechanisms), delta)

    def check(self, limits: Limits, holder: str, patients: int) -> None:
        """Raise RefusalError where a hospital, or the holder of all patients, cannot agree.

        `patients`: how many training patients it really has.
        """
        most_epsilon, most_delta = limits.maximum_epsilon, limits.maximum_delta
        faults: list[tuple[bool, str, ReasonName]] = [
            (
                not 0 < self.budget <= most_epsilon,
                f"epsilon {self.budget:g} is not between 0 and {most_epsilon:g}",
                "maximum_epsilon",
            ),
            (
                not 0 < self.delta <= most_delta,
                f"delta {self.delta:g} is not between 0 and {most_delta:g}",
                "maximum_delta",
            ),
            (self.trust not in ADVERSARIES, f"nobody knows trust {self.trust}", "not_understood"),
            (
                self.trust == "central" and limits.central_trust == "refused",
                "the server is not trusted to add the noise",
                "central_trust",
            ),
            (
                self.patients.get(holder) != patients,
                f"it does not declare {holder}'s number of training patients",
                "not_agreed",
            ),
            (not self.mechanisms, "it says nothing of what is done", "not_understood"),
        ]
        if self.secure:
            few = cannot_share(len(self.patients), self.dropouts, self.colluding)
            faults += [
                (bool(few), few, "not_understood"),
                (self.shares < limits.minimum_honest, f"{self.shares} hospitals would share the noise, fewer than "
                 f"{limits.minimum_honest}", "minimum_honest"),
                (any(one.local_steps != 1 or one.stage == "generator" for one in self.mechanisms),
                 "masks hide one sum a round", "not_understood"),
            ]  # fmt: skip
        for mechanism in self.mechanisms:
            sigma, norm = mechanism.noise_multiplier, mechanism.clipping_norm
            least, most = limits.minimum_noise_multiplier, limits.maximum_clipping_norm
            of = f"of stage {mechanism.stage}"
            low, high = f"noise multiplier {sigma:g} {of} is below", f"clipping norm {norm:g} {of} is above"
            faults.append((sigma < least, f"{low} {least:g}", "minimum_noise_multiplier"))
            faults.append((norm > most, f"{high} {most:g}", "maximum_clipping_norm"))
        for wrong, why, reason in faults:
            if wrong:
                raise RefusalError(f"refused: {why}", reason)
        if self.epsilon(self.delta) > self.budget:
            why = f"what is planned costs more than its budget of epsilon {self.budget:g}"
            raise RefusalError(f"refused: {why}", "budget")


def cannot_share(hospitals: int, dropouts: int, colluding: int) -> str:
    """Say why so many hospitals cannot share the noise under masks; nothing where they can."""
    if hospitals - dropouts < LEAST_TOGETHER:
        return f"of {hospitals} hospitals fewer than {LEAST_TOGETHER} are left where {dropouts} drop out"
    if hospitals - dropouts - colluding < 1:
        return f"of {hospitals} hospitals nobody is left to add noise where {dropouts} drop out and {colluding} collude"
    return ""


def adversary(trust: str, dropouts: int = 0, colluding: int = 0) -> str:
    """Say against whom a trust protects, and what that rests on."""
    company = f"also together with {colluding} of the hospitals"
    if not colluding:
        company = "but not another hospital, which knows its own share of the noise"
    return ADVERSARIES[trust].format(company=company, dropouts=dropouts)


def digest_of(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()

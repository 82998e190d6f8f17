"""A hospital whose tested patients stay home: what it keeps, what it tells once, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedmammo.config.deployment import Deployment
from fedmammo.config.request import Request
from fedmammo.disk.files import read_tensors
from fedmammo.evaluation.disclosure import UNTOLD
from fedmammo.evaluation.summaries import Summary
from fedmammo.hospitals.site import Site
from fedmammo.models.classifier import initial_model
from fedmammo.privacy.answer import Answer
from fedmammo.privacy.plan import RefusalError
from fedmammo.stages import summarize
from fedmammo.stages.hospital import work
from fedmammo.stages.stage import Job

ARMS = ("federated", "local")


class AtHome:
    """Hospitals H0 to H2, each of which tells as `kinds` says, after what `scored` was scored there."""

    def __init__(self, hospitals: Any) -> None:
        self.hospitals = hospitals
        self.config = hospitals.config
        self.deployments = [one for one in self.config.deployments if one.fold == 0 or self.config.evaluation.folds]

    def score(self, name: str = "H0", shift: int = 0) -> list[Answer]:
        """Let a hospital score made-up models of every deployment."""
        found = []
        for number, one in enumerate(self.deployments):
            self.hospitals.work(name, one, "features", 1)
            names = ("H0", "H1", "H2") if one.arm.of_hospitals else ("all",)
            models = {
                f"model/{at}": initial_model(one.diagnosis, shift + number + place) for place, at in enumerate(names)
            }
            found.append(self.hospitals.work(name, one, "score", 0, models))
        return found

    def ask(self, request: Request | str | None = None, name: str = "H0", of: Deployment | None = None) -> bytes:
        """Ask for a summary; returns its bytes."""
        wanted = request or self.request()
        text = wanted if isinstance(wanted, str) else wanted.model_dump_json()
        job = Job("summarize", (of or self.deployments[0]).digest)
        return bytes(work(self.site(name), job, {}, text).tensors["summary"].numpy().tobytes())

    def request(self, **keys: Any) -> Request:
        """The study's own request, with other keys."""
        return Request.of(self.deployments, self.config.evaluation).model_copy(update=keys)

    def site(self, name: str = "H0") -> Site:
        return Site.open(self.hospitals.folder / name / "site.yaml")

    def files(self, name: str = "H0") -> dict[str, bytes]:
        return self.hospitals.files([name])


Make = Callable[..., AtHome]


@pytest.fixture
def at_home(phantom_study: dict[str, Any], hospitals_of: Any, tmp_path: Path) -> Make:
    """Make hospitals that have read every deployment; 8 or 9 patients each, who are tested in two folds."""

    def make(scores: str = "summaries", floor: int = 1, folder: str = "hospitals", **keys: Any) -> AtHome:
        for name in ("H0", "H1", "H2"):
            about = {"name": name, "scores": scores, "minimum_count": floor, "privacy": {"without_budget": "accepted"}}
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(about))
        study = {**phantom_study, "arms": list(ARMS), **keys}
        profiles = [str(tmp_path / f"{name}.yaml") for name in ("H0", "H1", "H2")]
        study["hospitals"] = {"assignment": {"by": "profiles", "profiles": profiles}}
        study["evaluation"] = {"folds": 2, "folds_over": ["train", "test"]} | keys.get("evaluation", {})
        found = AtHome(hospitals_of(study, tmp_path / folder))
        for one in found.deployments:
            found.hospitals.begin(one, features=False)
        return found

    return make


def test_scores_are_kept_and_not_answered(at_home: Make) -> None:
    """The constants of the model, and that scores were kept. Of the local arm the hospital's own model alone."""
    found = at_home()
    for one, answer in zip(found.deployments, found.score(), strict=True):
        assert answer.numbers == {"kept": 1.0} and answer.tensors.keys() == {"center", "scale"}
        kept, _ = read_tensors(found.site().folder / "tested" / f"{one.digest}.safetensors")
        own = "score/H0" if one.arm_name == "local" else "score/all"
        assert [name for name in kept if name.startswith("score/")] == [own]


def test_where_nothing_is_told_nobody_is_scored(at_home: Make) -> None:
    found = at_home("not")
    assert all(answer.numbers == {"kept": 0.0} for answer in found.score())
    assert not (found.site().folder / "tested").exists()
    with pytest.raises(RefusalError, match=r"^refused: scores: not; nothing is summed up here$"):
        found.ask()
    with pytest.raises(RefusalError, match=r"^refused: scores: rows; nothing is summed up here$"):
        at_home("rows", folder="others").ask()


def test_the_same_request_gets_the_same_bytes_and_no_other_gets_any(at_home: Make) -> None:
    """Also after scores were made anew by other models, and of a part of the deployments."""
    found = at_home()
    found.score()
    answer = found.ask()
    told = Summary.model_validate_json(answer)
    assert (told.patients, told.minimum_count, told.folds, told.note) == (9, 1, 2, "")
    found.score(shift=50)
    kept = found.files()
    assert found.ask() == answer
    federated = [one.digest for one in found.deployments if one.arm_name == "federated"]
    for other in (
        found.request(unit="patient"),
        found.request(metric="auprc"),
        found.request(subgroups=("density",)),
        found.request(deployments=tuple(federated)),
        found.request(deployments=tuple(reversed(found.request().deployments))),
    ):
        with pytest.raises(RefusalError, match="tested patients were told of before, in another request"):
            found.ask(other)
    assert found.files() == kept


def test_one_that_is_killed_before_it_wrote_its_answer_gives_the_same(
    at_home: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = at_home()
    found.score()
    kept = found.files()
    with monkeypatch.context() as broken, pytest.raises(OSError, match="No space"):
        broken.setattr(summarize, "write_text", no_space)
        found.ask()
    assert found.files() == kept
    fresh = at_home(folder="fresh")
    fresh.score()
    assert found.ask() == fresh.ask()


def no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_few_are_not_told_of(at_home: Make) -> None:
    found = at_home(floor=5)
    found.score()
    told = Summary.model_validate_json(found.ask())
    assert (told.patients, told.positives, told.numbers, told.note) == (0, 0, (), UNTOLD)


HOSTILE: dict[str, tuple[Callable[[AtHome], str], str]] = {
    "nothing": (lambda _: "", "not a request of summaries"),
    "brackets": (lambda _: "[" * 100_000, "not a request of summaries"),
    "no deployment": (lambda found: found.request(deployments=()).model_dump_json(), "not a request of summaries"),
    "thresholds": (lambda found: with_key(found, "thresholds", [0.123]), "not a request of summaries"),
    "a floor": (lambda found: with_key(found, "minimum_count", 0), "not a request of summaries"),
    "a metric that nobody knows": (lambda found: with_key(found, "metric", "smallest"), "not a request of summaries"),
    "a column that names patients": (lambda found: with_key(found, "subgroups", ["patient"]), "not a request"),
    "a column that was not agreed to": (lambda found: with_key(found, "subgroups", ["age"]), "columns that were not"),
    "a deployment of nobody": (
        lambda found: found.request(deployments=(found.deployments[0].digest, "0" * 64)).model_dump_json(),
        "no deployment of this digest was agreed to here",
    ),
    "a deployment twice": (
        lambda found: found.request(deployments=(found.deployments[0].digest,) * 2).model_dump_json(),
        "or names one twice",
    ),
    "others alone": (
        lambda found: found.request(deployments=(found.deployments[1].digest,)).model_dump_json(),
        "does not name the job's deployment",
    ),
    "a path": (
        lambda found: found.request(deployments=(found.deployments[0].digest, "../../site.yaml")).model_dump_json(),
        "that is not a digest",
    ),
}


def with_key(found: AtHome, key: str, value: Any) -> str:
    return json.dumps(json.loads(found.request().model_dump_json()) | {key: value})


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_request_is_refused(at_home: Make, name: str) -> None:
    """Before anything is read of patients; afterwards the honest one is answered all the same."""
    found, (text, reason) = at_home(), HOSTILE[name]
    found.score()
    kept = found.files()
    with pytest.raises(RefusalError, match=f"^refused: .*{reason}"):
        found.ask(text(found) or " ")
    assert found.files() == kept
    assert found.ask()


def test_what_was_not_scored_or_is_of_others_is_refused(at_home: Make) -> None:
    found = at_home()
    with pytest.raises(RefusalError, match=r"^refused: federated-real-seed0-draw0-fold0 was not scored here$"):
        found.ask()
    other = found.deployments[0].model_copy(
        update={"dealing": found.deployments[0].dealing.model_copy(update={"folds": 3})}
    )
    work(found.site(), Job("declare", other.digest), {}, other.model_dump_json())
    with pytest.raises(RefusalError, match="do not test the same patients"):
        found.ask(found.request(deployments=(found.deployments[0].digest, other.digest)))


@pytest.mark.parametrize("left_out", [1, 3])
def test_a_part_of_the_folds_is_not_told_of(at_home: Make, left_out: int) -> None:
    """Beside all folds, told of in another arm, it would tell of the fold that is left out, which may be of few."""
    found = at_home()
    found.score()
    some = found.request().deployments[:left_out]
    with pytest.raises(RefusalError, match=r"^refused: not all folds of a deployment are named$"):
        found.ask(found.request(deployments=some))
    assert found.ask()


def test_more_seeds_than_hospitals_tell_of_are_refused(at_home: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each seed shows the same patients to another model."""
    found = at_home(seeds=[0, 1, 2])
    found.score()
    with monkeypatch.context() as fewer, pytest.raises(RefusalError, match="more than 2 seeds and draws"):
        fewer.setattr(summarize, "MOST_REPEATS", 2)
        found.ask()
    assert len(Summary.model_validate_json(found.ask()).numbers[0].values) == 3


@pytest.mark.parametrize("scores", ["summaries", "not"])
@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"evaluation": {"every": 1}}, "curves need rows of tested patients: take evaluation.every: 0"),
        ({"arms": ["local", "ensemble"]}, "the arm ensemble needs rows of tested patients: leave it out"),
    ],
)
def test_what_needs_rows_is_refused_before_anything_is_trained(
    at_home: Make, scores: str, keys: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RefusalError, match=f"^refused: scores: {scores}; {reason}$"):
        at_home(scores, **keys)


def test_nobody_is_scored_between_rounds(at_home: Make) -> None:
    """As a simulation asks under a budget, whose deployments know nothing of it."""
    found = at_home(settings=["real-epsilon-6"], arms=["federated"])
    deployment = found.deployments[0]
    found.hospitals.work("H0", deployment, "features", 1)
    model = {"model/all": initial_model(deployment.diagnosis, 0)}
    with pytest.raises(RefusalError, match="nobody is scored where tested patients stay home"):
        found.hospitals.work("H0", deployment, "score", 1, model)
    assert found.hospitals.work("H0", deployment, "score", 0, model).numbers == {"kept": 1.0}

"""What travels in a study: jobs of some hundred bytes, tensors, one agreement; no path, no configuration, no secret."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message
from flwr.serverapp import Grid
from PIL import Image
from safetensors.torch import save_file

from fedmammo.config.deployment import Deployment
from fedmammo.config.request import Request
from fedmammo.config.study import StudyConfig, parse
from fedmammo.federation.client_app import app_of
from fedmammo.federation.inline_grid import InlineGrid
from fedmammo.models.transformer import load_transformer
from fedmammo.privacy.reasons import RefusalError
from fedmammo.privacy.secret import Secret
from fedmammo.stages.hospital import STAGES
from fedmammo.stages.stage import Job

GAN = {
    "source": "gan", "images": 8, "image_size": 32, "width": 4, "rounds": 1, "local_steps": 1, "batch": 4,
    "phantom_steps": 0,
}  # fmt: skip
MOST = 1000  # bytes beside tensors and the agreement
SEED = 918273645  # of secrets, where a study tells it

STUDIES: dict[str, dict[str, Any]] = {
    "without a budget": {"arms": ["local", "personalized"], "settings": ["real", "augmented"], "synthesis": GAN},
    "under a budget": {
        "settings": ["real-epsilon-6", "pretrained-epsilon-6"],
        "synthesis": GAN | {"method": "mean_embedding"},
        "privacy": {"generator_share": 0.5},
    },
    "with a trusted server": {
        "settings": ["augmented-epsilon-6"],
        "synthesis": {"source": "phantom", "images": 6},
        "privacy": {"trust": "central", "secret_seed": SEED},
    },
    "sharing the noise": {
        "settings": ["pretrained-epsilon-6"],
        "synthesis": GAN | {"method": "mean_embedding"},
        "privacy": {"trust": "secure", "generator_share": 0.5, "dropouts": 1},
    },
    "from a folder": {
        "arms": ["federated"],
        "settings": ["augmented"],
        "synthesis": {"source": "folder", "path": "", "images": 2},
    },
    "of patients who stay home": {"arms": ["local", "federated"], "settings": ["real"], "synthesis": None},
    "of discriminators": {
        "arms": ["local", "federated"],
        "settings": ["synthetic-epsilon-6"],
        "synthesis": GAN | {"combine": "discriminator"},
        "privacy": {"generator_share": 0.5, "secret_seed": SEED},
    },
}


class Recorder(InlineGrid):
    """Notes every message, and every reply, as what is in it; notes too what hospitals keep secret meanwhile."""

    def __init__(self, hospitals: Path, count: int) -> None:
        super().__init__(app_of(hospitals), count)
        self.asked: list[Message] = []
        self.replies: list[Message] = []
        self.secrets: set[bytes] = set()
        self._run_folder = hospitals.parent

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        messages = list(messages)
        self.asked += messages
        ids = list(super().push_messages(messages))
        self.replies += [self._replies[identity] for identity in ids]
        self.secrets |= {path.read_bytes() for path in self._run_folder.rglob("secret") if path.is_file()}
        return ids


def texts(message: Message) -> dict[str, str]:
    """All that a message says beside tensors, by record and key; names of tensors are of the tensors."""
    told: dict[str, str] = {}
    assert message.has_content() and message.metadata.group_id == ""
    for name, config in message.content.config_records.items():
        told |= {f"{name} {key}": str(value) for key, value in config.items()}
    for name, metrics in message.content.metric_records.items():
        told |= {f"{name} {key}": str(value) for key, value in metrics.items()}
    return told | {"type": message.metadata.message_type, "records": " ".join(message.content.array_records)}


def content_of(message: Message) -> bytes:
    """Everything that is sent, tensors and their names too."""
    arrays = [
        name.encode() + array.data
        for record in message.content.array_records.values()
        for name, array in record.items()
    ]
    return b"".join([*arrays, *(text.encode() for text in texts(message).values())])


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of a network's weights."""
    torch.manual_seed(0)
    path = tmp_path / "the-weights.safetensors"
    save_file(load_transformer("test_vit", "none", 32).network.state_dict(), path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of images that were made elsewhere."""
    for label in ("benign", "malignant"):
        (tmp_path / "made-elsewhere" / label).mkdir(parents=True)
        Image.fromarray(np.full((128, 128), 99, np.uint8)).save(tmp_path / "made-elsewhere" / label / "one.png")
    return tmp_path / "made-elsewhere"


@pytest.mark.parametrize("name", STUDIES)
def test_no_message_of_a_study_holds_a_path_a_configuration_or_a_secret(
    phantom_study: dict[str, Any], run_inline: Callable[..., Path], weights: Path, images: Path,
    without_radiomics: None, tmp_path: Path, name: str,
) -> None:  # fmt: skip
    study = phantom_study | STUDIES[name] | {"federation": {"rounds": 1, "local_steps": 1}}
    study["diagnosis"] |= {"weights": str(weights)}
    if name == "of patients who stay home":
        study["hospitals"] = {"assignment": {"by": "profiles", "profiles": stay_home(tmp_path)}}
    if study["synthesis"] and "path" in study["synthesis"]:
        study["synthesis"] = study["synthesis"] | {"path": str(images)}
    config, recorders = parse(study, "test"), []

    def grid(hospitals: Path, nodes: int) -> Grid:
        recorders.append(Recorder(hospitals, nodes))
        return recorders[0]

    run_inline(config, tmp_path / "the-run", grid)
    (recorder,) = recorders
    check_stages(name, recorder)
    agreements = 0
    paths = [str(tmp_path), str(config.cohort.path), str(Path.home()), str(Path.cwd())]
    paths += ["the-weights", "the-run", "site.yaml", "patients.csv", "hospitals/"]
    for message in (*recorder.asked, *recorder.replies):
        everything = content_of(message)
        assert not [path for path in paths if path.encode() in everything], message.metadata.message_type
        secrets = recorder.secrets | {Secret(secret).key("masks") for secret in recorder.secrets}
        assert not [secret for secret in secrets if secret in everything or hexed(secret) in everything]
        assert str(SEED).encode() not in everything
        told = texts(message)
        agreement = told.pop("config agreement", "")
        if agreement:
            check_agreement(json.loads(agreement), config, told)
            agreements += 1
        assert len(str(told).encode()) <= MOST
    for message in recorder.asked:
        first = message.metadata.message_type == "query.hello"
        known = {"about software"} if first else {"config job", "config agreement"}
        assert set(texts(message)) <= {"type", "records"} | known
    for message in recorder.replies:
        numbers = {f"metrics {field}" for stage in STAGES.values() for field in stage.fields}
        speeds = {"about name", "about software", "about local_models"}
        speeds |= {"metrics uplink", "metrics images", "metrics side"}
        assert set(texts(message)) <= {"type", "records"} | numbers | speeds
    assert agreements
    secrets = {"without a budget": 1, "from a folder": 1, "under a budget": 5, "sharing the noise": 5}
    secrets |= {"of patients who stay home": 1}
    assert len(recorder.secrets) == secrets.get(name, 0), "the server's, and under a budget those of 4 holders"


def stay_home(folder: Path) -> list[str]:
    """Write profiles of hospitals that give summaries."""
    about = {"scores": "summaries", "privacy": {"without_budget": "accepted"}}
    for name in (names := [f"hospital-{number}" for number in (1, 2, 3)]):
        (folder / f"{name}.yaml").write_text(json.dumps({"name": name} | about))
    return [str(folder / f"{name}.yaml") for name in names]


def hexed(secret: bytes) -> bytes:
    return secret.hex().encode()


def check_stages(name: str, recorder: Recorder) -> None:
    """Every stage was seen in some study."""
    asked = {json.loads(texts(message).get("config job", '{"stage": "hello"}'))["stage"] for message in recorder.asked}
    everywhere = {"hello", "declare", "features", "score"}
    special = {
        "without a budget": {"train", "share", "count", "generator", "personalize"},
        "under a budget": {"train", "agree", "embedding"},
        "sharing the noise": {"train", "agree", "embedding"},
        "with a trusted server": {"train", "agree", "share"},
        "from a folder": {"train", "share"},
        "of patients who stay home": {"train", "summarize"},
        "of discriminators": {"agree", "generator"},
    }
    assert asked == everywhere | special[name]
    assert set.union(*special.values(), everywhere) == {"hello", *STAGES} - {"alone", "finish"}  # of real hospitals


def check_agreement(agreement: dict[str, Any], config: StudyConfig, told: dict[str, str]) -> None:
    """A deployment, with nothing but what it is made of, or hospitals' declared numbers of patients."""
    job = json.loads(told["config job"])
    if job["stage"] == "agree":
        assert set(agreement) <= {"hospital-1", "hospital-2", "hospital-3", "all"}
        assert all(type(count) is int for count in agreement.values())
        return
    if job["stage"] == "summarize":
        assert set(agreement) == set(Request.model_fields)
        assert job["deployment"] in agreement["deployments"]
        return
    assert job["stage"] == "declare"
    deployment = Deployment.model_validate(agreement)
    assert deployment.digest == job["deployment"]
    assert set(agreement) == set(Deployment.model_fields)
    assert (agreement["privacy"] or {}).get("secret_seed") is None
    assert agreement["diagnosis"]["weights"] in config.weights, "by digest"
    assert not [text for text in strings(agreement) if "/" in text or "\\" in text]


def strings(value: Any) -> list[str]:
    """All texts in nested dictionaries and lists, keys too."""
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in strings(one)]
    if isinstance(value, list):
        return [text for one in value for text in strings(one)]
    return [value] if isinstance(value, str) else []


def test_a_job_for_five_hundred_hospitals_is_as_small() -> None:
    """The largest numbers and all digests; it comes back as it was."""
    digest = "f" * 64
    longest = max(STAGES, key=len)
    job = Job(longest, digest, round=10**9, part=499, parts=500, pool=digest, plan=digest)
    assert len(job.to_json().encode()) <= MOST / 2
    assert Job.from_json(job.to_json()) == job
    assert Job.from_json(Job("train", digest).to_json()) == Job("train", digest)


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"stage": "train"}',
        '{"stage": 1, "deployment": "a"}', '{"stage": "train", "deployment": null}',
        '{"stage": "train", "deployment": "a", "round": true}', '{"stage": "train", "deployment": "a", "round": 1.5}',
        '{"stage": "train", "deployment": "a", "run": "/etc"}', '{"stage": "train", "deployment": "a", "pool": ["b"]}',
    ],
)  # fmt: skip
def test_a_job_that_says_anything_else_is_refused(text: str) -> None:
    with pytest.raises(RefusalError, match=r"^refused: not a job that is understood here"):
        Job.from_json(text)

"""Secrets: where they lie, who has the same, and the numbers that come from them."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import kstest

from fedmammo.errors import StudyError
from fedmammo.privacy.secret import Secret, Stream


def key_of(secret: Secret) -> str:
    return secret.digest({"a": 1})


def test_it_comes_from_the_operating_system_and_survives(tmp_path: Path) -> None:
    """Two hospitals have different ones; a hospital has the same tomorrow; nobody else on the machine can read it."""
    first, second = Secret.of(tmp_path / "a", None), Secret.of(tmp_path / "b", None)
    assert key_of(first) != key_of(second)
    assert key_of(Secret.of(tmp_path / "a", None)) == key_of(first)
    file = tmp_path / "a/secret"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_bytes()) * 8 >= 128 and file.read_bytes() != (tmp_path / "b/secret").read_bytes()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["secret"]


def test_two_processes_at_once_get_one_secret(tmp_path: Path) -> None:
    """The second finds no file, but the first was faster when it wants to put its own there."""
    pid = os.fork()
    if pid == 0:
        for number in range(200):
            Secret.of(tmp_path / str(number), None)
        os._exit(0)
    seen = [key_of(Secret.of(tmp_path / str(number), None)) for number in range(200)]
    assert os.waitpid(pid, 0)[1] == 0
    assert seen == [key_of(Secret.of(tmp_path / str(number), None)) for number in range(200)]


def test_an_altered_secret_is_not_used(tmp_path: Path) -> None:
    Secret.of(tmp_path, None)
    (tmp_path / "secret").write_bytes(b"short")
    with pytest.raises(StudyError, match=r"secret: is not a secret of 32 bytes; restore it"):
        Secret.of(tmp_path, None)


def test_a_seed_stands_in_and_leaves_nothing(tmp_path: Path) -> None:
    """The same seed gives a hospital the same secret, another hospital or seed another; no file is written."""
    first = key_of(Secret.of(tmp_path / "a", 1))
    assert first == key_of(Secret.of(tmp_path / "a", 1))
    assert len({first, key_of(Secret.of(tmp_path / "b", 1)), key_of(Secret.of(tmp_path / "a", 2))}) == 3
    assert not list(tmp_path.iterdir())


def test_it_is_not_printed(tmp_path: Path) -> None:
    secret = Secret.of(tmp_path, None)
    assert repr(secret) == "Secret()" == f"{secret}"


def test_streams_differ_by_request_purpose_and_step(tmp_path: Path) -> None:
    secret, other = Secret.of(tmp_path / "a", 1), Secret.of(tmp_path / "b", 1)
    names = [(secret, "r", "noise", 0), (secret, "r", "noise", 1), (secret, "r", "patients", 0),
             (secret, "s", "noise", 0), (other, "r", "noise", 0)]  # fmt: skip
    drawn = [one.stream(*name).normal((50,)) for one, *name in names]
    assert len(np.unique(np.concatenate(drawn))) == 250
    assert np.array_equal(secret.stream("r", "noise", 0).normal((50,)), drawn[0])


def test_a_request_is_named_by_all_its_fields_in_any_order(tmp_path: Path) -> None:
    secret = Secret.of(tmp_path, 1)
    assert secret.digest({"a": 1, "b": 2}) == secret.digest({"b": 2, "a": 1})
    assert len({secret.digest(request) for request in ({"a": 1}, {"a": 2}, {"b": 1}, {"a": 1, "b": None})}) == 4
    with pytest.raises(ValueError, match="JSON"):
        secret.digest({"a": float("nan")})


def test_normal_numbers_are_normal() -> None:
    """Kolmogorov and Smirnov's test of 100 001 numbers, their second and fourth moments (1 and 3, 5 deviations)."""
    drawn = Stream(bytes(32)).normal((100_001,))
    assert kstest(drawn, "norm").pvalue > 1e-3
    assert abs((drawn**2).mean() - 1) < 5 * np.sqrt(2 / len(drawn))
    assert abs((drawn**4).mean() - 3) < 5 * np.sqrt(96 / len(drawn))
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 5 / np.sqrt(len(drawn))


def test_uniform_numbers_are_uniform_and_go_on() -> None:
    stream = Stream(bytes(32))
    drawn = np.concatenate([stream.uniform(70_000), stream.uniform(30_000)])
    assert np.array_equal(drawn, Stream(bytes(32)).uniform(100_000))
    assert kstest(drawn, "uniform").pvalue > 1e-3
    assert drawn.min() > 0 and drawn.max() < 1


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 5)])
def test_shapes(shape: tuple[int, ...]) -> None:
    assert Stream(bytes(32)).normal(shape).shape == shape

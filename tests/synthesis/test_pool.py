"""A pool is what its digest names: kept once, sent as files, refused where a byte differs."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from fedmammo.errors import StudyError
from fedmammo.synthesis.pool import Pool, Synthetic, folder_of, keep_pool, write_pool


def synthetic(images: int = 4, side: int = 8, seed: int = 0) -> Synthetic:
    """Images of noise, every second one malignant, of two hospitals."""
    patches = np.random.default_rng(seed).integers(0, 65536, (images, side, side), dtype=np.uint16)
    return Synthetic(patches, np.arange(images) % 2 == 1, np.where(np.arange(images) < 2, "north", "south"))


def kept(tmp_path: Path, **keys: int) -> Pool:
    return write_pool(tmp_path / "synthetic", synthetic(**keys), {"source": "test", "seed": 3}, "none")


def content(pool: Pool) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in pool.tensors.items()}


def test_images_come_back_as_they_were(tmp_path: Path) -> None:
    made = synthetic()
    pool = kept(tmp_path)
    again = Pool.open(tmp_path / "synthetic", pool.digest)
    assert again.patches.dtype == np.uint16 and np.array_equal(again.patches, made.patches)
    assert list(again.images) == ["image", "malignant", "origin"]
    assert again.images["malignant"].tolist() == made.malignant.tolist()
    assert again.images["origin"].tolist() == made.origin.tolist()
    assert again.images["image"].tolist() == ["000000", "000001", "000002", "000003"]


def test_the_manifest_says_what_is_in_it(tmp_path: Path) -> None:
    """Its digest is the SHA-256 over those of both files, and names the folder."""
    pool = kept(tmp_path)
    manifest = json.loads((pool.folder / "manifest.json").read_text())
    files = {name: (pool.folder / name).read_bytes() for name in ("patches.npy", "images.csv")}
    hashes = {name: hashlib.sha256(value).hexdigest() for name, value in files.items()}
    assert manifest == {
        "images": 4,
        "side": 8,
        "counts": [
            {"origin": "north", "class": "benign", "images": 1},
            {"origin": "north", "class": "malignant", "images": 1},
            {"origin": "south", "class": "benign", "images": 1},
            {"origin": "south", "class": "malignant", "images": 1},
        ],
        "source": {"source": "test", "seed": 3},
        "guarantee": "none",
        "sha256": hashes,
        "digest": hashlib.sha256((hashes["patches.npy"] + hashes["images.csv"]).encode()).hexdigest(),
    }
    assert pool.digest == manifest["digest"] and pool.folder.name == pool.digest[:16]
    assert pool.manifest == manifest


def test_the_same_images_are_the_same_folder_and_others_another(tmp_path: Path) -> None:
    first = kept(tmp_path)
    before = (first.folder / "patches.npy").stat().st_mtime_ns
    assert kept(tmp_path).digest == first.digest
    assert (first.folder / "patches.npy").stat().st_mtime_ns == before
    assert kept(tmp_path, seed=1).folder != first.folder
    assert len(list((tmp_path / "synthetic").iterdir())) == 2


def test_a_pool_travels_as_its_files(tmp_path: Path) -> None:
    pool = kept(tmp_path)
    received = keep_pool(tmp_path / "elsewhere", pool.digest, content(pool))
    for name in ("patches.npy", "images.csv", "manifest.json"):
        assert (received.folder / name).read_bytes() == (pool.folder / name).read_bytes()


@pytest.mark.parametrize("name", ["patches.npy", "images.csv"])
def test_one_other_byte_is_refused(tmp_path: Path, name: str) -> None:
    """On its way, where nothing is kept; and on the disk, where the folder is named that should go."""
    pool = kept(tmp_path)
    files = content(pool)
    files[name] = files[name][:-2] + bytes([files[name][-2] ^ 1]) + files[name][-1:]
    with pytest.raises(StudyError, match="its images are not those that the server named"):
        keep_pool(tmp_path / "elsewhere", pool.digest, files)
    assert not (tmp_path / "elsewhere").exists()
    (pool.folder / name).write_bytes(files[name])
    with pytest.raises(StudyError, match=f"{pool.folder}: .* remove the folder"):
        Pool.open(tmp_path / "synthetic", pool.digest)
    with pytest.raises(StudyError, match="remove the folder"):
        keep_pool(tmp_path / "synthetic", pool.digest, content(pool))


def test_a_pool_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no such pool of synthetic images is here"):
        Pool.open(tmp_path, "0" * 64)


def test_whoever_was_first_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hospitals on one disk keep the same pool at once: the second finds the folder as it renames."""
    pool = kept(tmp_path)
    files, root = content(pool), tmp_path / "shared"
    rename = Path.rename

    def overtaken(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        keep_pool(root, pool.digest, files)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", overtaken)
    keep_pool(root, pool.digest, files)
    assert [path.name for path in root.iterdir()] == [folder_of(root, pool.digest).name]


def test_what_could_not_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = kept(tmp_path)

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", no_space)
    with pytest.raises(OSError, match="No space left"):
        keep_pool(tmp_path / "elsewhere", pool.digest, content(pool))
    assert list((tmp_path / "elsewhere").iterdir()) == []

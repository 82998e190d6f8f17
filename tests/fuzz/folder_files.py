"""Bad weights, cohorts and runs: pieces of folders that this software itself wrote, and others altered."""

import json
import struct
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.entries import Build, Entry, Place
from tests.fuzz.picture_files import code
from tests.fuzz.table_files import parquet, repeated, sparse
from tests.fuzz.text_files import LAUGHS, run_code


def safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    said = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(said) if length is None else length) + said + data


def tensor(kind: str = "F32", shape: list[int] | None = None, at: tuple[int, int] = (0, 4)) -> dict[str, object]:
    return {"dtype": kind, "shape": [1] if shape is None else shape, "data_offsets": list(at)}


def npy(header: str, data: bytes = b"", version: bytes = b"\1\0") -> bytes:
    said = header.encode() + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H", len(said)) + said + data


def objects(place: Place) -> bytes:
    """An array of objects, which is a pickle that makes a file."""
    return npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", code(place))


def archive(_: Place) -> bytes:
    file = BytesIO()
    np.savez(file, a=np.zeros(3))
    return file.getvalue()


def manifest(**more: object) -> bytes:
    """A manifest of other columns."""
    file = BytesIO()
    pq.write_table(pa.table(more), file)
    return file.getvalue()


_WEIGHTS: dict[str, tuple[str, Build]] = {
    "a header of 2^63": ("cannot be read as safetensors", lambda _: safetensors({}, length=2**63)),
    "a header of 100 GB": ("cannot be read as safetensors", lambda _: safetensors({}, length=100 * 2**30)),
    "a header of 50 MB that is not there": (
        "cannot be read as safetensors",
        lambda _: safetensors({}, length=50 * 10**6),
    ),
    "a tensor of 100 GB": (
        "cannot be read as safetensors",
        lambda _: safetensors({"a": tensor(shape=[25 * 2**30], at=(0, 100 * 2**30))}, bytes(8)),
    ),
    "a shape of 2^40 x 2^40": ("cannot be read", lambda _: safetensors({"a": tensor(shape=[2**40, 2**40])}, bytes(4))),
    "a shape of -1": ("cannot be read", lambda _: safetensors({"a": tensor(shape=[-1])}, bytes(4))),
    "tensors that overlap": (
        "cannot be read",
        lambda _: safetensors({"a": tensor(), "b": tensor(at=(2, 6))}, bytes(8)),
    ),
    "a tensor that ends before it begins": (
        "cannot be read",
        lambda _: safetensors({"a": tensor(at=(4, 0))}, bytes(4)),
    ),
    "a gap between tensors": (
        "cannot be read",
        lambda _: safetensors({"a": tensor(), "b": tensor(at=(8, 12))}, bytes(12)),
    ),
    "a tensor of nothing": ("does not fit the network", lambda _: safetensors({"a": tensor(shape=[0], at=(0, 0))})),
    "no tensor": ("does not fit the network", lambda _: safetensors({})),
    "a header 5000 deep": ("cannot be read", lambda _: safetensors(b'{"a":' + b"[" * 5000)),
    "a header that is a list": ("cannot be read", lambda _: safetensors([])),
    "a type that nobody knows": ("cannot be read", lambda _: safetensors({"a": tensor("F3")}, bytes(4))),
    "a name of a MB": ("does not fit the network", lambda _: safetensors({"n" * 10**6: tensor()}, bytes(4))),
    "a pickle called safetensors": ("cannot be read", code),
    "text": ("cannot be read", lambda _: b"once upon a time"),
    "nothing": ("cannot be read", lambda _: b""),
    "values that are no numbers": ("are no numbers", lambda _: weights(np.float32, np.nan)),
    "values of one byte": ("", lambda _: weights(None, 0)),
    "a terabyte of nothing": ("cannot be read", sparse("bad.safetensors", 2**40)),
}
_PICKLES = ("pth", "pt", "bin", "ckpt", "pkl")


def weights(kind: type | None, value: float) -> bytes:
    """Weights of the right names and shapes, all of one value; no kind: numbers of eight bits."""
    from fedmammo.models.transformer import load_transformer

    state = load_transformer("test_vit", "none", 32).network.state_dict()
    header, at, data = {}, 0, b""
    for name, one in state.items():
        content = np.full(one.numel(), value, np.uint8 if kind is None else kind).tobytes()
        said = "F8_E4M3" if kind is None else "F32"
        header[name] = tensor(said, list(one.shape), (at, at + len(content)))
        at, data = at + len(content), data + content
    return safetensors(header, data)


_NPY_100_GB = "{'descr': '<u2', 'fortran_order': False, 'shape': (3276800, 128, 128), }"
_DISAGREE = "not a prepared cohort|the parts of this cohort disagree"
_COHORT: dict[str, tuple[str, str, Build]] = {
    "patches of 100 GB": ("patches.npy", _DISAGREE, lambda _: npy(_NPY_100_GB, bytes(100))),
    "patches that are a pickle": ("patches.npy", _DISAGREE, code),
    "patches that are objects": ("patches.npy", _DISAGREE, objects),
    "patches that are an archive": ("patches.npy", _DISAGREE, archive),
    "patches with a header that is code": (
        "patches.npy",
        _DISAGREE,
        lambda place: npy(f"__import__('os').system('touch {place.canary}')"),
    ),
    "patches with a header 9000 deep": ("patches.npy", _DISAGREE, lambda _: npy("-" * 9000 + "1")),
    "patches with a shape below 0": (
        "patches.npy",
        _DISAGREE,
        lambda _: npy("{'descr': '<u2', 'fortran_order': False, 'shape': (-1, 2**9), }"),
    ),
    "patches cut": ("patches.npy", _DISAGREE, lambda place: (place.folder / "patches.npy").read_bytes()[:500]),
    "no patches": ("patches.npy", _DISAGREE, lambda _: b""),
    "a manifest in half": (
        "manifest.parquet",
        _DISAGREE,
        lambda place: (place.folder / "manifest.parquet").read_bytes()[:999],
    ),
    "a manifest of other columns": ("manifest.parquet", _DISAGREE, lambda _: parquet()),
    "a manifest of 20 GiB": ("manifest.parquet", _DISAGREE, lambda _: repeated(20_000, 2**20)),
    "a manifest of lists": (
        "manifest.parquet",
        _DISAGREE,
        lambda place: _altered(place, lambda frame: [[1]] * len(frame)),
    ),
    "a manifest of another split": ("manifest.parquet", _DISAGREE, lambda place: _altered(place, lambda _: "third")),
    "a manifest of no split": ("manifest.parquet", _DISAGREE, lambda place: _altered(place, lambda _: None)),
    "facts that are a list": ("cohort.json", _DISAGREE, lambda _: b"[]"),
    "facts 100000 deep": ("cohort.json", _DISAGREE, lambda _: b"[" * 100_000),
    "facts without end": ("cohort.json", _DISAGREE, lambda _: b'{"images": 1e999, "size": 128, "digest": "00"}'),
    "facts of 5000 digits": ("cohort.json", _DISAGREE, lambda _: b'{"images": ' + b"9" * 5000 + b"}"),
    "facts that lack most": (
        "cohort.json",
        _DISAGREE,
        lambda _: json.dumps({"images": 2, "size": 128, "digest": "00" * 32}).encode(),
    ),
    "a key of 31 bytes": ("key", _DISAGREE, lambda _: b"00" * 31),
    "a key that is none": ("key", _DISAGREE, lambda _: b"\xff" * 64),
    "a quarantine of NUL": ("quarantine.csv", _DISAGREE, lambda _: bytes(10_000)),
    "a quarantine of rows that are none": ("quarantine.csv", _DISAGREE, lambda _: b"source,row,reason\na,b,c\n"),
}


def _altered(place: Place, value: Callable[..., object]) -> bytes:
    import pandas as pd

    frame, file = pd.read_parquet(place.folder / "manifest.parquet"), BytesIO()
    frame.assign(split=value(frame)).to_parquet(file)
    return file.getvalue()


_CONFIG = "is not the configuration of a run|unknown key|larger than"
_RUN: dict[str, tuple[str, Build]] = {
    "code in tags": (_CONFIG, run_code("digests: {}\n")),
    "aliases that laugh": (_CONFIG, lambda _: b"digests: {}\n" + LAUGHS.encode()),
    "1000 brackets": (_CONFIG, lambda _: b"digests: {}\nx: " + b"[" * 1000),
    "a list": (_CONFIG, lambda _: b"- 1\n"),
    "digests that are none": (_CONFIG, lambda _: b"digests: 7\n"),
    "10 GiB": (_CONFIG, sparse("config.yaml", 10 * 2**30, b"digests: {}\n")),
}
_PATIENTS = "draw,patient,hospital,digitiser,exchanged\n"
_HOSPITAL: dict[str, tuple[str, str, Build]] = {
    "approvals that are none": ("approved.json", "is damaged", lambda _: b"{"),
    "approvals 100000 deep": ("approved.json", "is damaged", lambda _: b"[" * 100_000),
    "approvals that are a number": ("approved.json", "is damaged", lambda _: b"7"),
    "patients without a draw": ("patients.csv", "cannot be read", lambda _: b"patient,hospital\na,b\n"),
    "patients of a draw that is text": ("patients.csv", "cannot be read", lambda _: f"{_PATIENTS}a,b,c,d,e\n".encode()),
    "patients that are NUL": ("patients.csv", "cannot be read", lambda _: bytes(10_000)),
    "patients that are none": ("patients.csv", "cannot be read", lambda _: b""),
    "patients of another draw": ("patients.csv", "has no patients", lambda _: f"{_PATIENTS}7,b,c,,False\n".encode()),
}
_CHECKPOINT: dict[str, tuple[str, Build]] = {
    "no word of what it is": ("is no checkpoint", lambda _: safetensors({"a": tensor()}, bytes(4))),
    "words that are none": ("is no checkpoint", lambda _: _checkpoint("[" * 100_000)),
    "a round that is none": ("is no checkpoint", lambda _: _checkpoint('{"round": "a", "rows": [], "order": []}')),
    "tensors that are not there": (
        "is no checkpoint",
        lambda _: _checkpoint('{"round": 1, "rows": [], "order": ["model|all|b"]}'),
    ),
    "a pickle": ("cannot be read as safetensors", code),
}


def _checkpoint(about: str) -> bytes:
    return safetensors({"__metadata__": {"checkpoint": about}, "a": tensor()}, bytes(4))


ENTRIES = [
    *(Entry(f"weights: {name}", "weights", says, build, "bad.safetensors") for name, (says, build) in _WEIGHTS.items()),
    *(Entry(f"weights: a pickle, {end}", "weights", "may run code", code, f"bad.{end}") for end in _PICKLES),
    *(Entry(f"cohort: {name}", "cohort", says, build, file) for name, (file, says, build) in _COHORT.items()),
    *(Entry(f"hospital: {name}", "hospital", says, build, file) for name, (file, says, build) in _HOSPITAL.items()),
    *(
        Entry(f"checkpoint: {name}", "checkpoint", says, build, "checkpoint.safetensors")
        for name, (says, build) in _CHECKPOINT.items()
    ),
    *(Entry(f"run: {name}", "run", says, build, "config.yaml") for name, (says, build) in _RUN.items()),
]

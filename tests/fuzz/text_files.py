"""Bad YAML of studies, sites and profiles: what laughs, what would run code, what never ends."""

from pathlib import Path

from tests.fuzz.entries import Build, Entry, Place
from tests.fuzz.table_files import sparse

STUDY = (
    "name: a\ncohort: {path: c}\nhospitals: {assignment: {by: uniform, count: 3}}\n"
    "diagnosis: {network: test_vit, weights: none, image_size: 32, optimizer: {learning_rate: .1}}\n"
    "federation: {rounds: 2, local_steps: 2}\n"
)
SITE = "name: north\ncohort: c\nstate: s\n"
PROFILE = "name: north\nshare: 2\n"
LAUGHS = "a0: &a0 [ha]\n" + "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(12))
MERGED = "a0: &a0 {k: 1}\n" + "".join(
    f"a{n + 1}: &a{n + 1}\n  <<: [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(12)
)  # fmt: skip
_YAML = "not valid YAML"


def run_code(start: str) -> Build:
    """Every tag by which YAML's unsafe loaders run code."""
    return lambda place: (
        f"{start}x: !!python/object/apply:os.system ['touch {place.canary}']\n"
        f"y: !!python/object/new:os.system ['touch {place.canary}']\nz: !!python/name:os.system\n"
    ).encode()


def _texts(good: str, key: str) -> dict[str, tuple[str, Build]]:
    """Bad texts, each behind or around a good one; `key`: of a number in it."""

    def text(content: str) -> Build:
        return lambda _: content.encode()

    without = "".join(line for line in good.splitlines(keepends=True) if not line.startswith(f"{key}:"))
    return {
        "good": ("", text(good)),
        "code in tags": (_YAML, run_code(good)),
        "aliases that laugh": (_YAML, text(good + LAUGHS)),
        "aliases that laugh in merged keys": (_YAML, text(good + MERGED)),
        "an alias of itself": (_YAML, text(f"{good}x: &x [*x]\n")),
        "a mapping that holds itself": (_YAML, text(f"&x\n{good}x: *x\n")),
        "1000 brackets": (_YAML, text(f"{good}x: {'[' * 1000}\n")),
        "20000 levels": (_YAML, text(good + "x: " + "- " * 20_000)),
        "a key twice": ("is there twice", text(good + good)),
        "a number of 10000 digits": ("not valid YAML|number|integer|string", text(f"{without}{key}: {'9' * 10_000}\n")),
        "a hexadecimal number of 100000 digits": (
            "not valid YAML|number|integer|string|name", text(f"{without}{key}: 0x{'f' * 100_000}\n"),
        ),
        "a number to the base of 60": (_YAML, text(f"{without}{key}: {'1' + ':59' * 200_000}\n")),
        "a text of 500000 letters": ("pattern|number", text(f"{without}{key}: {'a' * 500_000} b\n")),
        "an unknown key of 500000 letters": (_YAML + "|unknown key", text(f"{good}? {'a' * 500_000}\n: 1\n")),
        "a day that is none": (_YAML, text(f"{good}x: 2020-99-99\n")),
        "NUL": (_YAML, text(good + "x: a\0b\n")),
        "a written NUL": ("pattern|number", text(f'{without}{key}: "a\\0b"\n')),
        "half a surrogate": ("unicode", text(f'{without}{key}: "\\uD800"\n')),
        "a key that is a list": (_YAML, text(good + "? [a, b]\n: 1\n")),
        "a list": ("mapping|dictionary|valid", text("- a\n- b\n")),
        "nothing": ("mapping|dictionary|valid", text("")),
        "UTF-16": (_YAML + "|cannot be read", lambda _: good.encode("utf-16")),
        "Latin 1": ("cannot be read", lambda _: (good + "x: é\n").encode("latin-1")),
        "bytes": (_YAML + "|cannot be read", lambda _: bytes(range(256)) * 40),
        "10 GiB": ("larger than", sparse("bad.yaml", 10 * 2**30, good.encode())),
    }  # fmt: skip


def circle(place: Place) -> None:
    for name, base in (("bad", "other"), ("other", "bad")):
        Path(place.folder / f"{name}.yaml").write_text(f"base: {base}.yaml\n{STUDY}")


def ladder(place: Place) -> None:
    """A base of a base, and so on, 2000 files."""
    for number in range(2000):
        name = "bad" if number == 0 else str(number)
        Path(place.folder / f"{name}.yaml").write_text(f"base: {number + 1}.yaml\n")


_STUDY: dict[str, tuple[str, Build]] = {
    "a base that is its own": ("has this file as its own base", circle),
    "a base of 2000 bases": ("more than 32 files", ladder),
    "a base that never ends": ("base: .*cannot be read|larger than", lambda _: b"base: /dev/zero\n" + STUDY.encode()),
    "a base of 5000 letters": ("base: .*cannot be read", lambda _: f"base: {'a' * 5000}\n{STUDY}".encode()),
    "a base with NUL": ("base|not valid YAML", lambda _: b'base: "a\\0b"\n' + STUDY.encode()),
    "a base that laughs": ("base|not valid YAML", lambda place: _beside(place, LAUGHS)),
    "an environment's secret": (
        "environment has no",
        lambda _: STUDY.replace("path: c", "path: '${NOT_THERE}'").encode(),
    ),
    "10^9 seeds": ("seeds", lambda _: (STUDY + "seeds: 0..1000000000\n").encode()),
    "10^18 seeds": ("seeds", lambda _: (STUDY + "seeds: 0..1000000000000000000\n").encode()),
    "10^9 hospitals": ("count", lambda _: STUDY.replace("count: 3", "count: 1000000000").encode()),
    "an algorithm of others": ("strategy", lambda place: _algorithm(place)),
}


def _beside(place: Place, text: str) -> bytes:
    Path(place.folder / "base.yaml").write_text(text)
    return b"base: base.yaml\n" + STUDY.encode()


def _algorithm(place: Place) -> bytes:
    """A strategy of a module that lies beside the study: a study may name one, but nothing beside it is on the path."""
    Path(place.folder / "evil.py").write_text(f"open({str(place.canary)!r}, 'w')\n")
    return STUDY.replace("local_steps: 2", "local_steps: 2, strategy: {name: 'evil:Evil'}").encode()


ENTRIES = [
    Entry(f"{kind}: {name}", kind, says, build, "bad.yaml")
    for kind, texts in (
        ("study", _texts(STUDY, "name") | _STUDY),
        ("site", _texts(SITE, "name")),
        ("profile", _texts(PROFILE, "share")),
    )
    for name, (says, build) in texts.items()
]

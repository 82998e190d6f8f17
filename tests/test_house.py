"""The house's rules of who imports whom, as data that is checked."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fedmammo"
GROUND_FLOOR = {"__init__.py", "__main__.py", "errors.py", "randomness.py", "study.py"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def for_types(node: ast.stmt) -> bool:
    """Whether it is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield what runs when a module is imported: not the bodies of functions, nor what is there for types alone."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from statements(node.orelse if for_types(node) else [*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handlers = [one for handler in node.handlers for one in handler.body]
            yield from statements([*node.body, *handlers, *node.orelse, *node.finalbody])
        elif isinstance(node, ast.With | ast.ClassDef):
            yield from statements(node.body)


def named(node: ast.stmt) -> Iterator[str]:
    """Yield the modules that a statement imports, names that are imported from a package among them."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        module = node.module or ""
        whole = [f"{module}.{alias.name}" for alias in node.names if f"{module}.{alias.name}" in MODULES]
        yield from whole if len(whole) == len(node.names) else [module, *whole]


@cache
def imports(module: str) -> frozenset[str]:
    """What a module imports while it is imported itself."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return frozenset(name for node in statements(tree.body) for name in named(node))


@cache
def all_imports(module: str) -> frozenset[str]:
    """The same, with what functions import, and what is there for types alone."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return frozenset(name for node in ast.walk(tree) if isinstance(node, ast.stmt) for name in named(node))


def test_imports_form_no_circle() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in done:
            for other in sorted(imports(module) & MODULES.keys()):
                visit(other, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())
    assert done == set(MODULES)
    assert {"fedmammo.run.checks", "fedmammo.config.study"} <= imports("fedmammo.study"), "what is there is seen"


def within(room: str, but_for: tuple[str, ...] = ()) -> list[str]:
    found = [module for module in MODULES if module.startswith(f"fedmammo.{room}.") and module not in but_for]
    assert found
    return found


@pytest.mark.parametrize(
    ("room", "never", "but_for"),
    [
        ("training", ("flwr", "ray"), ()),
        ("stages", ("flwr", "ray"), ()),
        ("federation", ("torchvision", "PIL", "fedmammo.cohort", "fedmammo.phantom", "fedmammo.features"), ()),
        ("privacy", ("fedmammo.config",), ("fedmammo.privacy.audit",)),
        ("evaluation", ("fedmammo.federation", "fedmammo.hospitals", "fedmammo.study"), ()),
        ("config", ("torchvision", "flwr.simulation", "ray", "fedmammo.cohort"), ()),
    ],
)
def test_what_a_room_never_imports(room: str, never: tuple[str, ...], but_for: tuple[str, ...]) -> None:
    """Nor in a function."""
    found = [
        f"{module} imports {other}"
        for module in within(room, but_for)
        for other in sorted(all_imports(module))
        for refused in never
        if other == refused or other.startswith(f"{refused}.")
    ]
    assert not found


def test_nothing_is_unpickled() -> None:
    found = [module for module in MODULES if all_imports(module) & {"pickle", "cloudpickle", "dill", "joblib"}]
    assert not found


def test_no_file_is_too_long() -> None:
    for folder in ("fedmammo", "tests", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path


def test_only_what_belongs_to_no_room_lies_on_the_ground_floor() -> None:
    assert {path.name for path in PACKAGE.glob("*.py")} == GROUND_FLOOR


def test_every_room_says_what_it_is() -> None:
    for folder in {path.parent for path in PACKAGE.rglob("*.py")}:
        text = (folder / "__init__.py").read_text(encoding="utf-8")
        assert ast.get_docstring(ast.parse(text)), folder

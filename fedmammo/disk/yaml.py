"""YAML as people mean it: nothing that is written twice, and no `#` that cuts a value given on the command line.

Nor what only attackers mean: files without end, aliases that stand for more than a memory holds, endless numbers.
"""

import re
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

MAXIMUM_BYTES = 2**22
"""Of a file: the largest that this software writes, of a study of a thousand hospitals, have some hundred KiB."""
MAXIMUM_VALUES = 10**6
"""Of a document, with aliases written out."""
_LONGEST_NUMBER = 400


class _Loader(yaml.SafeLoader):
    """Refuses a key that is twice in one mapping; YAML's own loaders take the last without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                name, line = (key.tag, key.value), key.start_mark.line + 1
                if name in lines:
                    raise yaml.YAMLError(
                        f"{key.value} is there twice, in lines {lines[name]} and {line}; leave one of them out"
                    )
                lines[name] = line
        return node

    def compose_document(self) -> yaml.Node | None:
        document: yaml.Node | None = super().compose_document()
        if document is not None:
            _count(document, {})
        return document

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > _LONGEST_NUMBER:
            raise yaml.YAMLError(f"a number of {len(node.value)} digits; write it shorter")
        if ":" in node.value or re.fullmatch(r"[-+]?0[0-9_]+", node.value):
            raise yaml.YAMLError(
                f"{node.value} is another number to YAML than to people; write it plainly, or in quotes"
            )
        number: int = super().construct_yaml_int(node)
        return number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _count(node: yaml.Node, counts: dict[yaml.Node, int]) -> int:
    """Count a node and all below it, as often as aliases name it; 0 stands for those that are being counted."""
    if node in counts and not counts[node]:
        raise yaml.YAMLError("an alias stands for what holds it; write out what is meant")
    if node not in counts:
        counts[node] = 0
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        parts = node.value if isinstance(node, yaml.SequenceNode) else [part for pair in pairs for part in pair]
        counts[node] = 1 + sum(_count(part, counts) for part in parts)
        if counts[node] > MAXIMUM_VALUES:
            raise yaml.YAMLError(f"more than {MAXIMUM_VALUES} values, with aliases written out; take fewer aliases")
    return counts[node]


def read_yaml_file(path: Path | Traversable) -> Any:
    """Read the document of a file. Raises OSError and UnicodeDecodeError, and what `load_yaml` raises."""
    with path.open("rb") as file:
        content = file.read(MAXIMUM_BYTES + 1)
    if len(content) > MAXIMUM_BYTES:
        raise yaml.YAMLError(f"the file is larger than {MAXIMUM_BYTES >> 20} MiB; that is none that was meant")
    return load_yaml(content.decode("utf-8"))


def load_yaml(text: str) -> Any:
    """Read a YAML document. Raises yaml.YAMLError, ValueError or RecursionError where it is none.

    yaml.YAMLError, too, where a mapping has a key twice: the error names both lines.
    """
    return yaml.load(text, _Loader)


def value_of(text: str) -> Any:
    """Read the value of `key=value` as YAML in which nothing is a comment. Raises as `load_yaml` does."""
    if "#" in text:
        *_, last, _ = yaml.scan(text, yaml.SafeLoader)
        if text[last.end_mark.index :].strip():
            return text.strip()
    return load_yaml(text)

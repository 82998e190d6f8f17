"""YAML as people mean it: nothing that is written twice, and no `#` that cuts a value given on the command line."""

from typing import Any

import yaml


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

"""The folder `sites`: descriptions of hospitals and, in its folder `digitisers`, of their film digitisers."""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from fedmammo.config.reading import fill_in, first_fault
from fedmammo.config.schema import Section
from fedmammo.disk.yaml import read_yaml_file
from fedmammo.errors import InputError

Description = TypeVar("Description", bound=Section)


def load_description(kind: type[Description], name_or_path: str, folder: str = "") -> Description:
    """Read `sites/<folder>/<name>.yaml`, or the file at a path (it ends in .yaml or .yml, or holds a slash).

    Paths are relative to the working directory. Raises InputError, in one line, for a name that is not known,
    a file that cannot be read, bad YAML, an unknown key or a value of the wrong kind.
    """
    what = kind.__name__.lower()
    source: Traversable
    if "/" in name_or_path or name_or_path.endswith((".yaml", ".yml")):
        source = Path(name_or_path)
    else:
        here = _sites().joinpath(folder)
        known = {item.name.removesuffix(".yaml"): item for item in here.iterdir() if item.name.endswith(".yaml")}
        if name_or_path not in known:
            raise InputError(
                f"{what} {name_or_path!r} is not known; expected one of {', '.join(sorted(known))}, "
                "or the path of a YAML file"
            )
        source = known[name_or_path]
    try:
        return kind.model_validate(fill_in(read_yaml_file(source), str(source)))
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"{source}: cannot be read ({reason}); give the path of a {what}") from error
    except ValidationError as error:
        raise InputError(f"{source}: {first_fault(error)}; see the {what}s in sites/{folder} for an example") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date such as 2020-99-99; endless nesting
        raise InputError(f"{source}: not valid YAML: {' '.join(str(error).split())}") from error


def _sites() -> Traversable:
    """Return the folder: inside the installed package, or beside it in a checkout."""
    package = files("fedmammo")
    inside = package / "sites"
    return inside if inside.is_dir() else Path(str(package)).parent / "sites"

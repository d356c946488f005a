"""Known names, read from the source of registries, and so quickly, without TensorFlow.

Commands use the registries themselves (`tfrec.models.registry`, `tfrec.datasets.registry`). These
functions only report mistyped names early. They accept all names if the source is not installed,
or if a class gets its settings in another way.
"""

import ast
import functools
import itertools
import pathlib
import textwrap
from collections.abc import Collection, Iterable

from tfrec.config import DataConfig, TrainConfig, known_names, types_of

AUTO = "auto"  # in place of a model: the best of several
ROOT = pathlib.Path(__file__).parent
SETTINGS: dict[str, type] = {"train": TrainConfig, "data": DataConfig}  # by flag


def data_sets() -> list[str]:
    """Names that `--dataset` takes."""
    return list(_entries("datasets/registry.py", "DATASETS"))


def models() -> list[str]:
    """Names that `--model` takes."""
    return list(_entries("models/registry.py", "MODELS"))


@functools.cache
def settings_of(model: str) -> tuple[str, ...]:
    """Names of a model's own settings; none if they are not found."""
    value = _entries("models/registry.py", "MODELS").get(model)
    if not isinstance(value, ast.Name):
        return ()
    return tuple(dict.fromkeys(_fields("models/registry.py", value.id)))


def refuse_data_set(name: str) -> None:
    """Refuses an unknown data set, except "".

    Raises:
        ValueError: with the known names.
    """
    known = data_sets()
    if name and known and name not in known:
        raise ValueError(f"--dataset={name}: no such data set; " + known_names(name, known))


def refuse_model(name: str, flag: str = "--model") -> None:
    """Refuses an unknown model; accepts any "package.module:Class".

    Raises:
        ValueError: with the known names.
    """
    known = models()
    if ":" not in name and known and name not in known:
        raise ValueError(
            f"{flag}={name!r} is unknown; {known_names(name, known)}; or package.module:Class"
        )


def refuse_settings(model: str, assignments: Iterable[str]) -> None:
    """Refuses `--set name=value` texts with unknown names.

    Raises:
        ValueError: with the known names.
    """
    known = settings_of(model)
    for text in assignments:
        name, equals, _ = text.partition("=")
        if known and equals and name not in known:
            raise ValueError(
                f"--set {text!r}: {model} has no setting {name!r}; {known_names(name, known)}"
            )


def written(name: str, value: str, flags: Collection[str]) -> str:
    """The cure for a setting that was given as if it were a flag; "" if it is not a setting.

    Args:
        name: The name after the dashes.
        value: The value after the equals sign; "" if there was none.
        flags: The command's flags.
    """
    own = any(name in settings_of(model) for model in models())
    flag = next((f for f, cls in SETTINGS.items() if f in flags and name in types_of(cls)), "")
    if not flag and own and "set" in flags:
        flag = "set"
    return f"write --{flag} {name}={value or 'VALUE'}" if flag else ""


def listing(flags: Collection[str]) -> str:
    """The known values of a command's flags: models, data sets and settings, for `--help`."""
    parts = {}
    if "model" in flags:
        parts["--model"] = models()
    if "dataset" in flags:
        parts["--dataset"] = data_sets()
    parts |= {f"--{flag}": list(types_of(cls)) for flag, cls in SETTINGS.items() if flag in flags}
    lines = [f"  {flag}: " + ", ".join(known) for flag, known in parts.items() if known]
    indented = [textwrap.fill(x, 100, subsequent_indent=" " * 6) for x in lines]
    return "\n".join(["", "Known names:", *indented]) if indented else ""


@functools.cache
def _tree(path: str) -> ast.Module:
    """A file of the package, parsed; an empty module if it is missing."""
    file = ROOT / path
    return ast.parse(file.read_text(encoding="utf-8") if file.is_file() else "")


@functools.cache
def _entries(path: str, name: str) -> dict[str, ast.expr]:
    """The entries of the literal dict that a file assigns to `name`, with values as `ast` nodes."""
    for node in _tree(path).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == name:
            assert isinstance(node.value, ast.Dict)
            pairs = zip(node.value.keys, node.value.values, strict=True)
            return {str(k.value): v for k, v in pairs if isinstance(k, ast.Constant)}
    return {}


def _fields(path: str, name: str) -> list[str]:
    """Fields of the `Config` of a class that a file defines or imports, inherited ones first."""
    path, cls = _definition(path, name)
    if cls is None:
        return []
    for node in cls.body:
        if isinstance(node, ast.ClassDef) and node.name == "Config":
            inherited = [_inherited(path, base) for base in node.bases]
            return [*itertools.chain(*inherited), *_annotated(node)]
    bases = [b.id for b in cls.bases if isinstance(b, ast.Name)]
    return next(filter(None, (_fields(path, base) for base in bases)), [])


def _inherited(path: str, base: ast.expr) -> list[str]:
    """Fields that a `Config` inherits from `Class.Config` or a class of settings."""
    if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name):
        return _fields(path, base.value.id)
    if not isinstance(base, ast.Name) or base.id == "Settings":
        return []
    there, settings = _definition(path, base.id)
    if settings is None:
        return []
    inherited = [_inherited(there, other) for other in settings.bases]
    return [*itertools.chain(*inherited), *_annotated(settings)]


def _annotated(cls: ast.ClassDef) -> list[str]:
    found = (n.target for n in cls.body if isinstance(n, ast.AnnAssign))
    return [target.id for target in found if isinstance(target, ast.Name)]


def _definition(path: str, name: str) -> tuple[str, ast.ClassDef | None]:
    """The file and the definition of a class that a file uses; None if it is not in tfrec."""
    for node in _tree(path).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return path, node
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            there = str(node.module).removeprefix("tfrec.").replace(".", "/")
            return _definition(f"{there}.py", name)
    return path, None

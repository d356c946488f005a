"""Checks of a prepared directory: errors for other settings and damaged files, with the cure."""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from tfrec import config as configs
from tfrec import damage, schema
from tfrec.config import DataConfig
from tfrec.schema import DatasetInfo


def command(config: DataConfig, data_dir: str | pathlib.Path) -> str:
    """The command line that replaces what is in `data_dir` by data prepared like `config`."""
    fields, default = configs.to_dict(config), configs.to_dict(DataConfig())
    words = [f"--{name}={fields.pop(name)}" for name in ("dataset", "split")]
    words += [f"--data {n}={value}" for n, value in fields.items() if value != default.get(n)]
    return " ".join(["python -m tfrec.prepare --overwrite", *words, f"--data_dir={data_dir}"])


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The settings in which two differ, as "seed is 0, requested is 3; ..."; "" if none do.

    Args:
        old: The settings as stored, by name; values may be mappings themselves.
        new: The settings as requested.
    """
    before, now = _flat(old), _flat(new)
    return "; ".join(
        f"{name} is {before.get(name)!r}, requested is {now.get(name)!r}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values by dotted name."""
    found: dict[str, Any] = {}
    for name, value in json.loads(json.dumps(settings)).items():
        if isinstance(value, dict):
            found |= {f"{name}.{key}": inner for key, inner in _flat(value).items()}
        else:
            found[name] = value
    return found


def refuse_other(
    info: DatasetInfo, config: DataConfig, data_dir: str | pathlib.Path, files: bool = False
) -> None:
    """Refuses data that was prepared with settings other than `config`.

    A setting that an older version did not know had its default.

    Args:
        info: The info of `data_dir`.
        config: The settings as requested.
        data_dir: The prepared directory.
        files: The fingerprints differ, so that the raw files do if settings and format do not.

    Raises:
        ValueError: naming the settings that differ and the cure.
    """
    old = configs.to_dict(DataConfig()) | info.config
    cure = (
        f"choose another --data_dir, or replace it with `{command(config, data_dir)}` (and --raw, "
        "if given here)"
    )
    if changed := changes(old, configs.to_dict(config)):
        raise ValueError(
            f"--data_dir={data_dir} was prepared with other settings ({changed}): leave out the "
            f"flags that differ, {cure}"
        )
    if info.format != schema.FORMAT_VERSION:
        raise ValueError(
            f"--data_dir={data_dir} was prepared by another version of tfrec, in record format "
            f"{info.format}; this one reads format {schema.FORMAT_VERSION}: {cure}"
        )
    if files:
        raise ValueError(
            f"--data_dir={data_dir} was prepared from other source files or by another version "
            f"of tfrec; {cure}"
        )


def info_beside(path: pathlib.Path) -> DatasetInfo | None:
    """The info of the directory that holds `path`; None if nothing is prepared there.

    Raises:
        ValueError: `info.json` is damaged.
    """
    directory = path.parent
    return DatasetInfo.load(directory) if (directory / schema.INFO_FILE).exists() else None


@contextlib.contextmanager
def reading(path: pathlib.Path) -> Iterator[None]:
    """Adds `path` and the cure to errors that the block raises.

    Args:
        path: A file of a prepared directory.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is damaged; see `damage.refused`.
    """
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: {cure(path.parent)}") from None
    except Exception:
        with damage.refused(path, cure(path.parent)):
            raise


def cure(data_dir: pathlib.Path) -> str:
    """The command that prepares `data_dir` again, with its settings if they can be read."""
    try:
        config = configs.from_dict(DataConfig, DatasetInfo.load(data_dir).config)
    except (OSError, ValueError, TypeError):
        return schema.prepare_again(data_dir)
    return f"prepare it again with `{command(config, data_dir)}` (and --raw, if given then)"

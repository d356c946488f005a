"""Reading the files of a prepared directory: a missing or damaged one is named with the cure."""

import contextlib
import pathlib
from collections.abc import Iterator

from tfrec import config as configs
from tfrec import damage, schema
from tfrec.config import DataConfig
from tfrec.schema import DatasetInfo


def command(config: DataConfig, data_dir: str | pathlib.Path) -> str:
    """The command line that replaces what is in `data_dir` by data prepared like `config`."""
    fields, default = configs.to_dict(config), configs.to_dict(DataConfig())
    words = [f"--{name}={fields.pop(name)}" for name in ("dataset", "split")]
    words += [f"--data {n}={value}" for n, value in fields.items() if value != default[n]]
    return " ".join(["python -m tfrec.prepare --overwrite", *words, f"--data_dir={data_dir}"])


def info_beside(path: pathlib.Path) -> DatasetInfo | None:
    """The info of the directory that holds `path`; None where nothing is prepared there.

    Raises:
        ValueError: `info.json` is damaged.
    """
    directory = path.parent
    return DatasetInfo.load(directory) if (directory / schema.INFO_FILE).exists() else None


@contextlib.contextmanager
def reading(path: pathlib.Path) -> Iterator[None]:
    """Names `path` and the cure in whatever the block raises.

    Args:
        path: A file of a prepared directory.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is damaged, as `damage.refused` says it.
    """
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: {cure(path.parent)}") from None
    except Exception:
        with damage.refused(path, cure(path.parent)):
            raise


def cure(data_dir: pathlib.Path) -> str:
    """The command that prepares `data_dir` again, with its settings where these can be read."""
    try:
        config = configs.from_dict(DataConfig, DatasetInfo.load(data_dir).config)
    except (OSError, ValueError, TypeError):
        return schema.prepare_again(data_dir)
    return f"prepare it again with `{command(config, data_dir)}` (and --raw, if given then)"

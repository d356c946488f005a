"""Prepared data on disk, split and ready for training."""

import dataclasses
import pathlib
import typing

from tfrec import config as configs
from tfrec.config import DataConfig
from tfrec.data import stored
from tfrec.schema import DatasetInfo

if typing.TYPE_CHECKING:
    from tfrec.api.dataset import Dataset

PathLike = str | pathlib.Path


class PreparedData:
    """Prepared data on disk: the `--data_dir` of commands.

    Args:
        data_dir: A folder made by `Dataset.split` or `tfrec.prepare`.
        dataset: The raw data set that it was prepared from, if known.

    Attributes:
        data_dir: The folder, absolute.
        info: Its info; `info.protocol` describes the split.

    Raises:
        FileNotFoundError: nothing is prepared there.
    """

    def __init__(self, data_dir: PathLike, dataset: "Dataset | None" = None):
        self.data_dir = pathlib.Path(data_dir).absolute()
        self.info = DatasetInfo.load(self.data_dir)
        self._dataset = dataset

    @property
    def config(self) -> DataConfig:
        """The settings it was prepared with."""
        return configs.from_dict(DataConfig, self.info.config)

    def with_rows(self, rows: str) -> "PreparedData":
        """The same split with rows by "user" or by "item", prepared if needed.

        Raises:
            ValueError: it was opened from a folder, without the raw data set.
        """
        if rows == self.info.rows:
            return self
        if self._dataset is None:
            raise ValueError(
                f"{self.data_dir} has rows by {self.info.rows}, this model reads rows by {rows}: "
                f"split the Dataset with rows={rows!r}, or run "
                f"`{stored.command(dataclasses.replace(self.config, rows=rows), 'ANOTHER')}`"
            )
        settings = configs.to_dict(self.config)
        own = {
            n: v for n, v in settings.items() if n not in ("dataset", "columns", "split", "rows")
        }
        return self._dataset.split(self.config.split, **own, rows=rows)

    def __repr__(self) -> str:
        i = self.info
        counts = ", ".join(f"{n:,} {part}" for part, n in i.n_ratings.items() if n)
        return (
            f"{i.protocol}\n{i.n_users:,} users, {i.n_items:,} items; {counts}\n"
            f"data_dir={str(self.data_dir)!r}"
        )

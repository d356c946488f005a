"""Files of users or histories to recommend for, and of recommendations."""

import pathlib

import pandas as pd

from tfrec import aside
from tfrec.datasets import registry


def read_users(path: str) -> list[str]:
    """Reads raw ids, one in each line; empty lines are skipped.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file has no users.
    """
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    users = [line.strip() for line in lines if line.strip()]
    if not users:
        raise ValueError(f"--users={path} is empty: it needs one raw user id a line")
    return users


def read_histories(path: str, highest: float) -> dict[str, list[tuple[str, float]]]:
    """Reads histories by user, from a table with a row for each interaction.

    Its columns are user, item and optionally value and time; rows are sorted by time.

    Args:
        path: A CSV, TSV or Parquet file, as `--dataset=tabular` reads it.
        highest: The rating of all items where the table has no values.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a bad line or column.
    """
    raw = registry.load("tabular", path)
    frame = pd.concat(raw.chunks(), ignore_index=True)
    order = pd.DataFrame({"user": pd.factorize(frame["user"])[0], "time": frame["time"]})
    frame = frame.loc[order.sort_values(["user", "time"], kind="stable").index]
    if raw.rating_min == raw.rating_max == 1:  # no column of values
        frame["value"] = highest
    return {
        str(user): list(zip(rows["item"], rows["value"].astype(float), strict=True))
        for user, rows in frame.groupby("user", sort=False)
    }


def check_output(path: str) -> None:
    """Refuses a file name of an unknown format, before any work.

    Raises:
        ValueError: the name ends in neither .parquet nor .csv.
    """
    if pathlib.Path(path).suffix not in (".parquet", ".csv"):
        raise ValueError(f"--output={path} must end in .parquet or .csv")


def write(found: pd.DataFrame, path: str) -> None:
    """Writes recommendations as Parquet, or as CSV where the name ends in .csv."""
    file = pathlib.Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    with aside.file(file) as partial:
        if file.suffix == ".csv":
            found.to_csv(partial, index=False)
        else:
            found.to_parquet(partial, index=False)

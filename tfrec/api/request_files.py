"""Files of users or of histories, for whom recommendations are asked; files of answers."""

import pathlib

import pandas as pd

from tfrec.datasets import registry


def read_users(path: str) -> list[str]:
    """Raw ids, one a line; empty lines are passed over.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it has no user.
    """
    lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    users = [line.strip() for line in lines if line.strip()]
    if not users:
        raise ValueError(f"--users={path} is empty: it needs one raw user id a line")
    return users


def read_histories(path: str, highest: float) -> dict[str, list[tuple[str, float]]]:
    """Histories by name, of a table with a row an interaction.

    It has user, item and, where there are some, value and time; rows are taken in the order of
    their times.

    Args:
        path: A CSV, TSV or Parquet file, as `--dataset=tabular` reads it.
        highest: The rating of items where the table has no values.

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
    """Refuses a name that does not say how to write, before any work.

    Raises:
        ValueError: it ends in neither .parquet nor .csv.
    """
    if pathlib.Path(path).suffix not in (".parquet", ".csv"):
        raise ValueError(f"--output={path} must end in .parquet or .csv")


def write(found: pd.DataFrame, path: str) -> None:
    """Writes recommendations as Parquet, or as CSV where the name ends in .csv."""
    file = pathlib.Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.writing")
    try:
        if file.suffix == ".csv":
            found.to_csv(aside, index=False)
        else:
            found.to_parquet(aside, index=False)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)

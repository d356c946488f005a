"""Recommendations of a run as `tfrec.recommend` prints them, with titles and genres."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfrec.api.run import Run
from tfrec.data import vocabulary
from tfrec.schema import ITEM_FIELDS_FILE, ITEMS_FILE
from tfrec.serving import request_text
from tfrec.serving.reasons import Reason

REASONS = 3  # number of reasons of `--explain`


def recommendations(
    run: Run,
    user: str,
    items: str,
    k: int,
    explain: int = 0,
    times: Sequence[int] | None = None,
    ask_time: int | None = None,
) -> str:
    """Top k as text: rank, item, title, genres, score.

    Args:
        run: A finished run.
        user: Raw id of a known user, or "".
        items: A history "item:rating,...", or "".
        k: Number of recommendations.
        explain: Number of items of the history to list below each: those that contributed most.
        times: The times of `items`, for a model that reads times.
        ask_time: The time for which the items are wanted, likewise.

    Raises:
        ValueError: an unknown user of a model of histories; a history that has unknown items only,
            is not of that form, has ratings that the data does not allow, or is for a model that
            cannot score it.
    """
    if items:
        history, notes = parse(run, items)
        when = None if times is None else [times]
        found = run.recommend(
            histories=[history], k=k, explain=explain, times=when, ask_time=ask_time
        )
    else:
        found = run.recommend(users=[user], k=k, explain=explain, ask_time=ask_time)
        notes = [_about_user(run, user)]
    return "\n".join([*notes, layout(found, run)])


def _about_user(run: Run, user: str) -> str:
    """Which items the user's list leaves out, or why it is the list of popular items."""
    if user not in run.users:
        return f"user {user} is not among the {len(run.users):,} known users: popular items"
    (stored,) = run.histories([user])
    return f"user {user}: {len(stored)} rated items, left out below"


def similar(run: Run, item: str, k: int) -> str:
    """The items most similar to an item, as text."""
    found = run.similar([item], k)
    heading = f"similar to item {item}: {run.titles[item]}".rstrip(": ")
    return "\n".join([heading, layout(found.assign(item=found["similar"]), run)])


def parse(run: Run, text: str) -> tuple[dict[str, float], list[str]]:
    """Parses "item:rating,..." (a missing rating is the highest).

    Returns:
        The history, and notes on unknown items.

    Raises:
        ValueError: not of that form, an item twice, a rating that the data does not allow, or no
            known item.
    """
    info, history = run.info, request_text.history(text, run.model.usual_value)
    for item, rating in history.items():
        if not info.rating_min <= rating <= info.rating_max:
            raise ValueError(
                f"--items: {rating:g} for item {item} is no rating of {info.name}: they go from "
                f"{info.rating_min:g} to {info.rating_max:g}"
            )
    known = set(run.items)
    unknown = [item for item in history if item not in known]
    if len(unknown) == len(history):
        file = run.data_dir / ITEMS_FILE
        raise ValueError(f"--items: none of {', '.join(unknown)} is in {file}")
    notes = [f"unknown items, ignored: {', '.join(unknown)}"] if unknown else []
    return history, notes


def parse_times(times: str, ask_time: str) -> dict[str, Any]:
    """The arguments `times` and `ask_time` of `recommendations`, for those that are not "".

    Raises:
        ValueError: a time is neither a whole number nor a date.
    """
    found: dict[str, Any] = {}
    if times:
        found["times"] = [_time("times", text) for text in times.split(",")]
    if ask_time:
        found["ask_time"] = _time("ask_time", ask_time)
    return found


def _time(flag: str, text: str) -> int:
    """Seconds since 1970, from a whole number or a date (UTC)."""
    text = text.strip()
    try:
        if text.lstrip("-").isdigit():
            return int(text)
        return int(np.datetime64(text, "s").astype(np.int64))
    except ValueError:
        raise ValueError(
            f"--{flag}: {text!r} is neither a whole number nor a date such as 2001-01-02T15:30"
        ) from None


def _reason(reason: Reason) -> str:
    return f"{reason.title or reason.item} ({reason.share:.0%})"


def layout(found: pd.DataFrame, run: Run) -> str:
    """Recommendations of one user as aligned columns."""
    genres: dict[str, str] = {}
    if (run.data_dir / ITEM_FIELDS_FILE).exists():
        fields = vocabulary.read_table(run.data_dir / ITEM_FIELDS_FILE)
        if "genres" in fields:
            genres = dict(zip(fields["item"], fields["genres"], strict=True))
    wide = max([8, *map(len, found["item"])])
    lines = [f"{'':>4} {'item':>{wide}} {'score':>8}  {'title':48} {'genres' if genres else ''}"]
    for row in found.itertuples():
        about = genres.get(row.item, "")
        lines.append(
            f"{row.rank:>4} {row.item:>{wide}} {row.score:>8.3f}  {row.title[:48]:48} {about}"
        )
        if because := ", ".join(map(_reason, getattr(row, "because", ()))):
            lines.append(f"{'':>{wide + 14}}  because of {because}")
    return "\n".join(line.rstrip() for line in lines)

"""Recommendations from a run directory, by the function that is exported too."""

import math
import pathlib
import tempfile

import numpy as np

from tfrec.data import records, vocabulary
from tfrec.schema import ITEM_FIELDS_FILE, ITEMS_FILE, PARTS, USERS_FILE, DatasetInfo
from tfrec.serving import examples, signatures
from tfrec.training.runs import RunDir


def table(run_dir: str, user: str, items: str, k: int) -> str:
    """Top k as text: rank, item, title, genres, score.

    Args:
        run_dir: A finished run.
        user: Raw id of a known user, or "".
        items: A history "item:rating,...", or "".
        k: How many.

    Raises:
        ValueError: unknown user, a history of unknown items only, not of that form or with
            ratings the data does not allow, or a model that can not score histories.
    """
    run = RunDir(run_dir)
    config, data_dir, model = run.config(), run.data_dir(), run.load_model()
    by_item_row, by_event = model.info.rows == "item", model.reads == "events"
    by_user = by_item_row or by_event
    if not model.info.has_ids:
        raise ValueError(
            f"{model.info.name} names no users and items: there is nothing to recommend; ask the "
            "exported SavedModel for the scores of events"
        )
    if by_user and items:
        raise ValueError(
            f"--items: {config.model}{' with rows by item' if by_item_row else ''} knows users by "
            "weights of their own and can not score a new history; ask with --user"
            + (", or train with --set rows=user" if by_item_row else "")
        )
    notes = []
    if by_user:
        position(data_dir, user)  # refuses an unknown user
        endpoint, request = "serving_default", {"user": np.array([user])}
    else:
        read, asked = (parse, items) if items else (stored, user)
        history, notes = read(data_dir, model.info, asked)
        columns = [list(history)], [list(history.values())]
        rows = dict(zip(("items", "values"), map(np.array, columns), strict=True))
        endpoint, request = "recommend_example", {"inputs": examples.serialize(rows)}
        if user and model.knows_users:
            endpoint, request = "recommend_user", {"user": np.array([user])}
    with tempfile.TemporaryDirectory() as folder:
        top = signatures.make(model, data_dir, k, pathlib.Path(folder) / "titles.txt")
        answer = {name: value.numpy()[0] for name, value in top.ask(endpoint, request).items()}
    return "\n".join([*notes, layout(answer, data_dir)])


def stored(
    data_dir: pathlib.Path, info: DatasetInfo, user: str
) -> tuple[dict[str, float], list[str]]:
    """All that is known of a user: raw item id -> rating, and a note."""
    row = records.find_row(data_dir, info, position(data_dir, user), PARTS)
    ids = vocabulary.read(data_dir / ITEMS_FILE)
    history = {ids[i]: float(v) for i, v in zip(row["items"], row["values"], strict=True)}
    return history, [f"user {user}: {len(history)} rated items, left out below"]


def position(data_dir: pathlib.Path, user: str) -> int:
    """Position of a raw user id.

    Raises:
        ValueError: no such user.
    """
    users = vocabulary.read(data_dir / USERS_FILE)
    if user not in users:
        raise ValueError(
            f"--user={user}: no such user in {data_dir / USERS_FILE}, which knows {len(users):,} "
            f"(such as {', '.join(users[:3])}); for a new one give his history by --items"
        )
    return users.index(user)


def parse(
    data_dir: pathlib.Path, info: DatasetInfo, text: str
) -> tuple[dict[str, float], list[str]]:
    """Reads "item:rating,..." (a missing rating is the highest); names the unknown items.

    Raises:
        ValueError: not of that form, an item twice, a rating that the data does not allow, or
            nothing known in it.
    """
    history: dict[str, float] = {}
    for entry in text.split(","):
        item, colon, value = entry.strip().rpartition(":")
        item, value = (item, value) if colon else (value, str(info.rating_max))
        if not item or not _is_number(value):
            raise ValueError(f"--items: {entry!r} is not of the form item:rating")
        if item in history:
            raise ValueError(f"--items: item {item} is given twice; leave one out")
        history[item] = float(value)
        if not info.rating_min <= history[item] <= info.rating_max:
            raise ValueError(
                f"--items: {value} for item {item} is no rating of {info.name}: they go from "
                f"{info.rating_min:g} to {info.rating_max:g}"
            )
    known = set(vocabulary.read(data_dir / ITEMS_FILE))
    unknown = [item for item in history if item not in known]
    if len(unknown) == len(history):
        raise ValueError(f"--items: none of {', '.join(unknown)} is in {data_dir / ITEMS_FILE}")
    notes = [f"unknown items, ignored: {', '.join(unknown)}"] if unknown else []
    return history, notes


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def layout(answer: dict[str, np.ndarray], data_dir: pathlib.Path) -> str:
    """The answer as aligned columns."""
    genres: dict[str, str] = {}
    if (data_dir / ITEM_FIELDS_FILE).exists():
        fields = vocabulary.read_table(data_dir / ITEM_FIELDS_FILE)
        if "genres" in fields:
            genres = dict(zip(fields["item"], fields["genres"], strict=True))
    wide = max(8, *(len(item.decode()) for item in answer["items"]))
    lines = [f"{'':>4} {'item':>{wide}} {'score':>8}  {'title':48} {'genres' if genres else ''}"]
    for rank, (item, title, score) in enumerate(
        zip(answer["items"], answer["titles"], answer["scores"], strict=True), 1
    ):
        if item:
            name = title.decode()[:48]
            about = genres.get(item.decode(), "")
            lines.append(f"{rank:>4} {item.decode():>{wide}} {score:>8.3f}  {name:48} {about}")
    return "\n".join(line.rstrip() for line in lines)

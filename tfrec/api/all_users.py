"""Recommendations for all users, written block by block to a Parquet file."""

import itertools
import json
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tqdm import tqdm

from tfrec import aside, locks
from tfrec.data import vocabulary
from tfrec.schema import ITEMS_FILE, USERS_FILE
from tfrec.serving.top_k import TopK

_BLOCK = 8192  # users of one part, which is written atomically
_MARK = "made_of.json"


def write(
    answers: TopK, path: pathlib.Path, made_of: dict, batch_size: int = 512, progress: bool = True
) -> int:
    """Writes the k best items of every user to `path`.

    Finished parts are kept in `PATH.partial` until all are done: an interrupted call is resumed
    after them. Memory does not grow with the number of users.

    Args:
        answers: Signatures of a model; they determine k.
        path: The Parquet file: `user, rank, item, score, title`, users in the data's order.
        made_of: JSON types that identify the model and the call.
        batch_size: Number of users scored at once.
        progress: Show a progress bar on stderr, on a terminal.

    Returns:
        The number of users.

    Raises:
        ValueError: another process is writing `path`.
    """
    partial = path.with_name(f"{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    busy = f"another process is writing {path}: wait for its end, or give another file"
    with locks.held(path.with_name(f".{path.name}.lock"), busy):
        _begin(partial, made_of)
        n = answers.model.info.n_users
        with tqdm(total=n, unit=" users", disable=None if progress else True) as bar:
            users = sum(bar.update(m) or m for m in _parts(answers, partial, batch_size))
        _join(partial, path)
        shutil.rmtree(partial)
    return users


def _begin(partial: pathlib.Path, made_of: dict) -> None:
    """Keeps the parts of an earlier, equal call, and removes others."""
    mark = partial / _MARK
    if partial.exists() and not (mark.exists() and json.loads(mark.read_text()) == made_of):
        shutil.rmtree(partial)
    if not partial.exists():
        partial.mkdir()
        mark.write_text(json.dumps(made_of))


def _parts(answers: TopK, partial: pathlib.Path, batch_size: int) -> Iterator[int]:
    """Writes the missing parts; yields the number of users of each part."""
    batches_a_part = max(1, _BLOCK // batch_size)
    done = sorted(partial.glob("part-*.parquet"))
    for file in done:
        yield _users_of(file)
    table = _Table(answers)
    batches = iter(answers.rows(batch_size).skip(len(done) * batches_a_part))
    for number in itertools.count(len(done)):
        found = [table.of(row) for row in itertools.islice(batches, batches_a_part)]
        if not found:
            return
        n = sum(users for _, users in found)
        part = pa.concat_tables([rows for rows, _ in found])
        file = partial / f"part-{number:06}.parquet"
        with aside.file(file) as writing:
            pq.write_table(part.replace_schema_metadata({"users": str(n)}), writing)
        yield n


def _users_of(file: pathlib.Path) -> int:
    return int(pq.read_schema(file).metadata[b"users"])


class _Table:
    """Batches of `TopK.rows` as tables of raw ids."""

    def __init__(self, answers: TopK):
        spec = answers.rows(1).element_spec
        free = {n: tf.TensorSpec([None] * len(s.shape), s.dtype) for n, s in spec.items()}
        self.top_of = tf.function(answers.top_of, input_signature=[free], autograph=False)
        self.users = np.array(vocabulary.read(answers.data_dir / USERS_FILE), object)
        self.items = np.array([*vocabulary.read(answers.data_dir / ITEMS_FILE), ""], object)
        titles = answers.titles.lookup(tf.range(len(self.items) - 1, dtype=tf.int64)).numpy()
        self.titles = np.array([*(title.decode().strip() for title in titles), ""], object)

    def of(self, row: dict[str, tf.Tensor]) -> tuple[pa.Table, int]:
        """The batch's table, and its number of users."""
        positions = row["user"].numpy()
        scores, top = (x.numpy()[positions >= 0] for x in self.top_of(row))
        positions = positions[positions >= 0]
        owner, column = np.nonzero(top >= 0)
        items = top[owner, column]
        columns = {
            "user": pa.array(self.users[positions[owner]], pa.string()),
            "rank": pa.array(column + 1, pa.int32()),
            "item": pa.array(self.items[items], pa.string()),
            "score": pa.array(scores[owner, column], pa.float32()),
            "title": pa.array(self.titles[items], pa.string()),
        }
        return pa.table(columns), len(positions)


def _join(partial: pathlib.Path, path: pathlib.Path) -> None:
    """Joins all parts into one file, with one part at a time in memory."""
    files = sorted(partial.glob("part-*.parquet"))
    whole = partial / "whole.writing"  # not next to `path`: a killed call leaves nothing there
    schema = pq.read_schema(files[0]).remove_metadata()
    with pq.ParquetWriter(whole, schema) as writer:
        for file in files:
            writer.write_table(pq.read_table(file).replace_schema_metadata())
    whole.rename(path)

"""tf.data readers: rows as padded histories, or flattened to events.

Both batch the serialized records first and parse a batch with one op that reads only the
features needed, which is several times faster than parsing record by record. Batches are flat
dicts of dense tensors that share their first dimension, so that they can be distributed.
"""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfrec import schema
from tfrec.data import parsing, records
from tfrec.schema import DatasetInfo

_BUFFER = 10_000  # serialized records in the shuffle buffer; the files are shuffled already
_BLOCK = 512  # records filtered in one step where rows without ratings are left out
_WINDOW = 1 << 20  # events shuffled together
_SCORES = 1 << 23  # of a batch in evaluation; ranking them takes several times this memory
_POOL = 32  # batches whose rows are sorted by length together

_SPLITS = {
    # split: (parts of the input, parts of the targets)
    "train": (("history",), ("history",)),
    "train+validation": (("history", "validation"), ("history", "validation")),
    "validation": (("history",), ("validation",)),
    "test": (None, ("test",)),  # the input is what info.test_history allows
    "all": (schema.PARTS, schema.PARTS),
}


def rows_to_score(info: DatasetInfo, most: int) -> int:
    """How many rows to evaluate at once, at least 1: fewer than `most` where they are wide."""
    return max(1, min(most, _SCORES // max(1, info.n_columns)))


@tf.autograph.experimental.do_not_convert
def histories(
    data_dir: str | pathlib.Path,
    info: DatasetInfo,
    split: str,
    batch_size: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
    by_length: int | None = None,
    fill: bool = False,
    times: bool = False,
) -> tf.data.Dataset:
    """Reads rows as padded histories.

    Rows with nothing to train on (training) or without targets (evaluation) are left out.

    Args:
        data_dir: A prepared directory.
        info: Its info.
        split: "train": input and targets are the training history. "train+validation": the
            same with the validation ratings merged in, in time order. "validation": input is
            the history, targets the validation ratings. "test": input is the parts that
            `info.test_history` allows, targets the test ratings. "all": input and targets are
            everything known; for serving, never for evaluation.
        batch_size: Rows a batch, over all replicas. Training drops the last, smaller batch
            and lowers a `batch_size` above the number of rows; evaluation fills the last
            batch up with empty rows (user -1, all items -1).
        shuffle: Shuffle the rows.
        seed: With `epoch`, seeds the shuffling: equal pairs give equal orders.
        epoch: Number of the pass; each has its own order.
        by_length: Batch rows of similar length, where longer ones count as this long: sequence
            models then compute little on padding.
        fill: Fill the last batch in training too.
        times: Read times, too.

    Returns:
        Batches of `(features, targets)`: features "user" int32 `[B]`, "items" int32
        `[B, L]` (padding -1), "values" float32 `[B, L]` (padding 0); targets "target_items"
        int32 `[B, M]`, "target_values" float32 `[B, M]`, padded alike. With `times` two more
        features: "times" int64 `[B, L]`, seconds since 1970 (padding `schema.NO_TIME`), and
        "ask_time" int64 `[B]`, the time of asking: of held-out rows with `--data ask_time=true`
        the time of the target, else `schema.NO_TIME`.

    Raises:
        ValueError: unknown split, or it has no rows here.
    """
    inputs, targets = _parts(info, split)
    fill = fill or not split.startswith("train")
    batch_size = _batch_size(info, split, batch_size, fill)
    asked_then = inputs != targets and info.config.get("ask_time", False)

    def batch(serialized: tf.Tensor) -> tuple[dict, dict]:
        parsed = tf.io.parse_example(serialized, parsing.spec(inputs, targets, times=times))

        def lists(parts: Sequence[str]) -> list[tf.Tensor]:
            return [parsing.padded(x, batch_size) for x in parsing.merged(parsed, parts, times)]

        columns = lists(inputs)
        features = {"user": parsing.filled(parsed["user"], batch_size)}
        features |= dict(zip(("items", "values", "times"), columns, strict=False))
        if inputs != targets:
            columns = lists(targets)
        if times:
            unknown = tf.fill([batch_size], tf.constant(schema.NO_TIME, tf.int64))
            features["ask_time"] = tf.reduce_max(columns[2], axis=1) if asked_then else unknown
        return features, {"target_items": columns[0], "target_values": columns[1]}

    rows = _rows(data_dir, info, split, shuffle, seed, epoch)
    if by_length:
        rows = _of_like_length(rows, inputs, batch_size, by_length, _mix(seed, epoch))
    rows = rows.batch(batch_size, drop_remainder=not fill)
    return _finish(rows.map(batch, tf.data.AUTOTUNE), info.row_counts[split], batch_size, fill)


@tf.autograph.experimental.do_not_convert
def events(
    data_dir: str | pathlib.Path,
    info: DatasetInfo,
    split: str,
    batch_size: int,
    *,
    shuffle: bool = False,
    seed: int = 0,
    epoch: int = 0,
    fill: bool = False,
    context: Sequence[str] = (),
) -> tf.data.Dataset:
    """Reads the ratings of a split one by one: each target of `histories` is an event.

    Shuffling takes the rows in shuffled order, flattens windows of them to about a million
    events and permutes each window: exact for data sets up to that size, and for larger
    ones a batch still mixes the rows of a whole window.

    Args:
        data_dir: A prepared directory.
        info: Its info.
        split: As for `histories`.
        batch_size: Events a batch; the last batch as for `histories` (filled up with user
            -1, item -1, value 0).
        shuffle: Shuffle the events.
        seed: As for `histories`.
        epoch: As for `histories`.
        fill: Fill the last batch in training too.
        context: Further features to read of each event: "time", or the event's own fields.

    Returns:
        Batches of `(features, targets)`: features "user" and "item" int32 `[B]` and those of
        `context` (times int64, codes int32, numbers float32; 0 in fillers), targets "value"
        float32 `[B]`. "user" is always a user, also in data with rows by item.

    Raises:
        ValueError: unknown split, or it has no rows here.
    """
    _, parts = _parts(info, split)
    fill = fill or not split.startswith("train")
    n_events = _n_events(info, split)
    if not fill:
        batch_size = min(batch_size, n_events)
    names = ("user", "item") if info.rows == "user" else ("item", "user")
    spec = parsing.flat_spec(info, parts, context)

    def batch(row: tf.Tensor, column: tf.Tensor, value: tf.Tensor, *more) -> tuple[dict, dict]:
        return dict(zip((*names, *context), (row, column, *more), strict=True)), {"value": value}

    def window(index: tf.Tensor, serialized: tf.Tensor) -> tuple[dict, dict]:
        columns = parsing.flat(tf.io.parse_example(serialized, spec), parts, context)
        if shuffle:
            order = tf.range(tf.size(columns[0]))
            order = tf.random.experimental.stateless_shuffle(order, [_mix(seed, epoch), index])
            columns = [tf.gather(column, order) for column in columns]
        return batch(*columns)

    rows = _rows(data_dir, info, split, shuffle, seed, epoch)
    per_row = max(1, n_events // info.row_counts[split])
    windows = rows.batch(max(1, _WINDOW // per_row)).enumerate().map(window, tf.data.AUTOTUNE)
    missing = -n_events % batch_size
    if fill and missing:
        pad = tf.fill([missing], schema.PAD)
        zeros = [tf.zeros([missing], x.dtype) for x in tf.nest.flatten(windows.element_spec)]
        filler = tf.nest.pack_sequence_as(windows.element_spec, zeros)
        filler[0].update({"user": pad, "item": pad})
        windows = windows.concatenate(tf.data.Dataset.from_tensors(filler))
    return _finish(windows.rebatch(batch_size, drop_remainder=True), n_events, batch_size, fill)


def _parts(info: DatasetInfo, split: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The parts of a row that are input, and those that are targets."""
    if split not in _SPLITS:
        raise ValueError(f"split {split!r}: known: {', '.join(_SPLITS)}")
    if not info.row_counts.get(split):
        raise ValueError(
            f"{info.name} has no {split} ratings ({info.protocol}); prepare it with other "
            "--data test and validation"
        )
    inputs, targets = _SPLITS[split]
    return inputs or info.test_history, targets


def _batch_size(info: DatasetInfo, split: str, batch_size: int, fill: bool) -> int:
    return batch_size if fill else min(batch_size, info.row_counts[split])


def _n_events(info: DatasetInfo, split: str) -> int:
    n = info.n_ratings
    if split == "all":
        return sum(n.values())
    if split == "train+validation":
        return n["train"] + n["validation"] + n.get("validation_fold_in", 0)
    return n[split]


def _groups(info: DatasetInfo, split: str) -> Sequence[str]:
    """The file groups that hold a split's rows."""
    wanted = split.split("+")
    return [group for group in wanted if group in info.groups] or info.groups


def _rows(
    data_dir: str | pathlib.Path,
    info: DatasetInfo,
    split: str,
    shuffle: bool,
    seed: int,
    epoch: int,
) -> tf.data.Dataset:
    """Serialized rows of the split, one an element, without those that have no ratings in it."""
    paths = records.files(data_dir, info, _groups(info, split))
    if shuffle:
        paths = np.random.default_rng(_mix(seed, epoch)).permutation(paths).tolist()
    # One file after the other: interleaving takes twice the time from a local disk and does not
    # mix better, since each file is a random sample of all rows.
    rows = tf.data.TFRecordDataset(paths)
    # Nothing to filter where all rows are in use, or rows of the group cannot be empty.
    cut_by_user = len(info.groups) > 1 and split.startswith("train")
    if info.row_counts[split] < info.n_rows and not cut_by_user:
        keep = _keep(_parts(info, split)[1])
        rows = rows.batch(_BLOCK).map(keep, tf.data.AUTOTUNE).unbatch()
    if shuffle:
        rows = rows.shuffle(_BUFFER, seed=_mix(seed, epoch), reshuffle_each_iteration=False)
    return rows


def _of_like_length(
    rows: tf.data.Dataset, parts: Sequence[str], batch_size: int, longest: int, seed: int
) -> tf.data.Dataset:
    """Reorders rows so that batches hold rows of similar length, and batches are shuffled.

    Pools of `_POOL` batches are sorted by length and cut into batches, which are shuffled.
    """
    names = [schema.feature_names(part)[0] for part in parts]
    spec = {name: tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64) for name in names}

    def reorder(index: tf.Tensor, serialized: tf.Tensor) -> tf.Tensor:
        parsed = tf.io.parse_example(serialized, spec)
        lengths = tf.add_n([parsed[name].row_lengths() for name in names])
        n_batches = tf.size(lengths) // batch_size
        whole = n_batches * batch_size  # the rest, too few for a batch, comes last
        order = tf.argsort(tf.minimum(lengths[:whole], longest), stable=True)
        order = tf.random.experimental.stateless_shuffle(
            tf.reshape(order, [n_batches, batch_size]), [seed, index]
        )
        order = tf.concat([tf.reshape(order, [-1]), tf.range(whole, tf.size(lengths))], 0)
        return tf.gather(serialized, order)

    pools = rows.batch(_POOL * batch_size).enumerate()
    return pools.map(reorder, tf.data.AUTOTUNE).unbatch()


def _keep(parts: Sequence[str]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes the function that leaves out rows without ratings in all of `parts`."""
    names = [schema.feature_names(part)[1] for part in parts]
    spec = {name: tf.io.RaggedFeature(tf.float32, row_splits_dtype=tf.int64) for name in names}

    def keep(serialized: tf.Tensor) -> tf.Tensor:
        parsed = tf.io.parse_example(serialized, spec)
        n = tf.add_n([parsed[name].row_lengths() for name in names])
        return tf.boolean_mask(serialized, n > 0)

    return keep


def _mix(seed: int, epoch: int) -> int:
    """The seed of one epoch's order; neighbouring seeds and epochs share none."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0] >> 1)


def _finish(batches: tf.data.Dataset, n: int, batch_size: int, fill: bool) -> tf.data.Dataset:
    """Prefetches, and shards by batches instead of by files where there are several workers.

    The number of batches is asserted, since Keras complains where it is unknown.
    """
    batches = batches.apply(
        tf.data.experimental.assert_cardinality(-(-n // batch_size) if fill else n // batch_size)
    )
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)

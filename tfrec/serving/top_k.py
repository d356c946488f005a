"""The k best items for any history: from raw ids to raw ids in one graph."""

import pathlib

import numpy as np
import tensorflow as tf

from tfrec import ranking
from tfrec.data import inputs, vocabulary
from tfrec.models import top_items
from tfrec.schema import ITEMS_FILE, PAD
from tfrec.serving import examples, explain
from tfrec.serving.answers import EXAMPLES, INPUTS, LOWEST, Answers, strings, usable
from tfrec.serving.histories import (
    as_long,
    features,
    history,
    newest,
    no_lists,
    time_features,
    without_repeats,
)
from tfrec.serving.tables import UNKNOWN, line_table, position_table

SAMPLE_LENGTH = 20
HISTORY = {"items": tf.string, "values": tf.float32}  # features of a history in an Example
TIMES = {"times": tf.int64, "ask_time": tf.int64}  # for a model that reads times
TIME, STEP = 1_600_000_000, 90_000  # seconds, of samples: about a day between two items


class TopK(Answers):
    """Returns the k best items with raw ids, titles and scores.

    Args:
        model: A trained model.
        data_dir: The directory of its prepared data, with vocabularies and titles.
        k: Number of items of an answer. Fixed, because a server that batches requests cannot
            batch a scalar input; clients slice.
        titles_file: The file to which the titles are written, one per line; an asset of the
            export.
    """

    def __init__(self, model, data_dir, k: int, titles_file: pathlib.Path):
        super().__init__(model, data_dir)
        self.k = min(k, model.info.n_items)
        write_titles(self.data_dir, titles_file)
        self.positions = position_table(self.data_dir / ITEMS_FILE)
        self.raw_ids = line_table(self.data_dir / ITEMS_FILE)
        self.titles = line_table(titles_file)

    def add_all(self, user_inputs: dict[str, tf.TensorSpec]) -> None:
        """Adds the signatures that all subclasses have, by their methods.

        Args:
            user_inputs: Specs of the inputs that identify the user: an id, or a history.
        """
        lists = strings("exclude", None) | strings("allow", None)
        self.add("serving_default", self.recommend_all, user_inputs)
        self.add("recommend", self.recommend, user_inputs | lists)
        self.add("recommend_example", self.recommend_example, INPUTS)
        self.add("rate", self.rate, user_inputs | strings("candidates", None))
        self.add("rate_example", self.rate_example, INPUTS)
        self.add("classify", self.classify, INPUTS)
        for name in self.model.task_object.item_signatures:
            self.add(name, getattr(self, name), INPUTS)

    def rows(self, batch_size: int) -> tf.data.Dataset:
        """Features of all users, as `top_of` takes them, in a fixed order."""
        raise NotImplementedError

    def top_of(self, row: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and item positions `[batch, k]`, best first, for a batch of `rows`.

        The same answers as by `recommend`, without raw ids.
        """
        raise NotImplementedError

    def classify(self, inputs) -> dict[str, tf.Tensor]:
        """`recommend_example` in the format of TF Serving's Classify."""
        answer = self.call("recommend_example", inputs=inputs)
        return {"classes": answer["items"], "scores": answer["scores"]}

    def excluded(self, seen: tf.Tensor, exclude: tf.Tensor) -> tf.Tensor:
        """Positions of seen items and of the raw ids `exclude`, int32 `[batch, length]`."""
        return without_repeats(tf.concat([seen, self.positions.lookup(exclude)], axis=1))

    def allowed(self, allow: tf.Tensor) -> tf.Tensor:
        """Positions of raw ids; unknown ones are n_items, to distinguish them from padding."""
        positions = self.positions.lookup(allow)
        unknown = (positions == PAD) & (allow != UNKNOWN)
        return tf.where(unknown, self.model.info.n_items, positions)

    def best(self, scores, seen, history, values=None, allowed=None) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores as shown in lists, and positions, `[batch, k]`, of the k best items.

        Args:
            scores: `[batch, n_items]`.
            seen: As for `ranking.top_k`.
            history: As for `ListOrder`; rows of padding get popular items.
            values: As for `ListOrder`.
            allowed: As for `ranking.top_k`.
        """
        order = self.model.list_order(scores, history, values)
        return self.shown(*ranking.top_k(scores, seen, self.k, allowed, order))

    def shown(self, scores: tf.Tensor, top: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores of items `top` as shown in lists: predicted ratings are clipped to their range."""
        predicted = self.model.task_object.in_lists(scores, self.model.info)
        return tf.where(top != PAD, predicted, scores), top

    def with_ids(self, scores: tf.Tensor, top: tf.Tensor) -> dict[str, tf.Tensor]:
        """The answer, with raw ids and titles, for scores and positions of `ranking.top_k`.

        Empty positions, if fewer than k items are left, have the lowest finite score.
        """
        positions = tf.cast(top, tf.int64)
        return {
            "items": self.raw_ids.lookup(positions),
            "titles": tf.strings.strip(self.titles.lookup(positions)),
            "scores": tf.maximum(scores, LOWEST),
        }

    def of_candidates(self, scores: tf.Tensor, candidates: tf.Tensor) -> dict[str, tf.Tensor]:
        """Predictions for raw ids `[batch, n]`, from the scores of all items `[batch, n_items]`."""
        positions = self.positions.lookup(candidates)
        picked = tf.gather(scores, tf.maximum(positions, 0), batch_dims=1)
        is_scored = (positions >= 0) & (picked > -float("inf"))
        return {"scores": tf.where(is_scored, self.predictions(picked), LOWEST)}

    def rated(self, candidates: tf.RaggedTensor, **user_inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Ids and predictions of candidates, in the format of TF Serving's Classify.

        Shorter rows are padded with "" and the lowest finite score, so that clients can
        distinguish candidates from padding.

        Args:
            candidates: Raw ids, string `[batch, (n)]`.
            user_inputs: The other inputs of `rate`.

        Returns:
            classes, string `[batch, longest]`, and scores, float32 `[batch, longest]`.
        """
        classes = examples.dense(candidates)
        return {"classes": classes} | self.call("rate", **user_inputs, candidates=classes)

    def item_samples(self) -> dict[str, np.ndarray]:
        """Sample values of the inputs that are lists of items."""
        ids, n = vocabulary.read(self.data_dir / ITEMS_FILE), EXAMPLES + 1
        exclude = [[*ids[:2], "no such item"] if row % 2 else [""] * 3 for row in range(n)]
        some = ids[: max(1, min(50, len(ids) // 2))]
        allow = [some if row % 3 else [""] * len(some) for row in range(n)]
        candidates = [[*ids[:5], "no such item", ""]] * n
        item = [*(ids[row % len(ids)] for row in range(EXAMPLES)), "no such item"]
        lists = {"exclude": exclude, "allow": allow, "candidates": candidates, "item": item}
        return {name: np.array(rows) for name, rows in lists.items()}


class HistoryTopK(TopK):
    """The k best items for any history."""

    kind = "history"

    def __init__(self, model, data_dir, k, titles_file):
        super().__init__(model, data_dir, k, titles_file)
        values = tf.TensorSpec([None, None], tf.float32, name="values")
        user_inputs = strings("items", None) | {"values": values}
        self.add_all(user_inputs)
        self.add("explain", self.explain, user_inputs | strings("candidates", None))
        if model.reads_times:
            times = tf.TensorSpec([None, None], tf.int64, name="times")
            ask_time = tf.TensorSpec([None], tf.int64, name="ask_time")
            lists = strings("exclude", None) | strings("allow", None)
            user_inputs = user_inputs | {"times": times, "ask_time": ask_time}
            self.add("recommend_at", self.recommend_at, user_inputs | lists)

    def recommend(self, items, values, exclude, allow) -> dict[str, tf.Tensor]:
        """Top k for histories.

        Args:
            items: Raw ids, string `[batch, length]`, padding "", from oldest to newest for models
                of sequences. Unknown ids are ignored; of a repeated item the first rating is used.
                Rows without a known id get the most popular items.
            values: Ratings, float32 `[batch, any]`; see `ratings`.
            exclude: Raw ids of more items to leave out, string `[batch, n]`, padding "".
            allow: Raw ids to choose from, string `[batch, m]`, padding ""; a row of padding allows
                all items.

        Returns:
            items and titles, string `[batch, k]`, and scores, float32 `[batch, k]`.
        """
        positions = without_repeats(self.positions.lookup(items))
        history, seen = self.read(positions, values), self.excluded(positions, exclude)
        return self.with_ids(*self.top(history, seen, self.allowed(allow)))

    def recommend_at(self, items, values, times, ask_time, exclude, allow) -> dict[str, tf.Tensor]:
        """`recommend` with times, by a model that reads them.

        Args:
            items: As for `recommend`.
            values: As for `recommend`.
            times: When each item was chosen, int64 `[batch, any]`, in seconds since 1970 or in the
                unit of the training data; 0: unknown. Missing ones are the row's first, further
                ones are ignored.
            ask_time: The time for which the items are wanted, int64 `[batch]`; 0: that of the
                newest known item.
            exclude: As for `recommend`.
            allow: As for `recommend`.

        Returns:
            As `recommend`.
        """
        positions = without_repeats(self.positions.lookup(items))
        history = self.read(positions, values, times, ask_time)
        seen = self.excluded(positions, exclude)
        return self.with_ids(*self.top(history, seen, self.allowed(allow)))

    def read(self, positions, values, times=None, ask_time=None) -> dict[str, tf.Tensor]:
        """The model's features for histories of positions without repeats."""
        entries = [self.ratings(values, positions)]
        if times is not None:
            entries.append(as_long(times, tf.shape(positions)[1], 0))
        if self.model.max_items:
            positions, *entries = newest(self.model.max_items, positions, *entries)
        found = features(positions, entries[0])
        if times is not None:
            found |= time_features(positions, entries[1], ask_time)
        return found

    def top(self, history, seen, allowed=None) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions of the k best items for histories as features."""
        read = history["items"], history["values"]
        if not top_items.by_blocks(self.model):
            return self.best(self.score_of(history), seen, *read, allowed)
        score = top_items.scorer(self.model, history)

        def order(scores, items=None):
            return self.model.list_order(scores, *read, items=items)

        n = self.model.info.n_items
        top = top_items.best(lambda *x: usable(score(*x)), order, n, seen, self.k, allowed)
        return self.shown(*top)

    def rows(self, batch_size):
        rows = inputs.histories(
            *(self.data_dir, self.model.info, "all", batch_size),
            fill=True,
            times=self.model.reads_times,
        )
        return rows.map(lambda features, targets: features)

    def top_of(self, row):
        times = {name: row[name] for name in TIMES if name in row}
        return self.top(features(row["items"], row["values"]) | times, row["items"])

    def recommend_all(self, items, values) -> dict[str, tf.Tensor]:
        """`recommend` without `exclude` and `allow`."""
        return self.call("recommend", items=items, values=values, **no_lists(items))

    def rate(self, items, values, candidates) -> dict[str, tf.Tensor]:
        """Predictions for `candidates`, string `[batch, n]`, as scores `[batch, n]`."""
        positions = without_repeats(self.positions.lookup(items))
        return self.of_candidates(self.score_of(self.read(positions, values)), candidates)

    def explain(self, items, values, candidates) -> dict[str, tf.Tensor]:
        """Contributions of the items of a history to scores; see `explain.of_histories`."""
        return explain.of_histories(self, items, values, candidates)

    def recommend_example(self, inputs) -> dict[str, tf.Tensor]:
        """`recommend` for serialized Examples, string `[batch]`; `recommend_at` if there is one."""
        times = TIMES if self.model.reads_times else {}
        limits = dict.fromkeys(["exclude", "allow"], tf.string)
        lists = examples.parse(inputs, HISTORY | times | limits)
        request = history(lists) | {name: examples.dense(lists[name]) for name in limits}
        if not times:
            return self.call("recommend", **request)
        ask_time = examples.single(lists["ask_time"])
        return self.call("recommend_at", **request, ask_time=ask_time)

    def rate_example(self, inputs) -> dict[str, tf.Tensor]:
        """`rate` for each Example's `candidates`; see `TopK.rated`."""
        lists = examples.parse(inputs, HISTORY | {"candidates": tf.string})
        return self.rated(lists["candidates"], **history(lists))

    def regress(self, inputs) -> dict[str, tf.Tensor]:
        """Predictions for `item` of Examples, in the format of TF Serving's Regress: `[batch]`."""
        lists = examples.parse(inputs, HISTORY | {"item": tf.string})
        candidates = examples.single(lists["item"])[:, tf.newaxis]
        rated = self.call("rate", **history(lists), candidates=candidates)
        return {"outputs": rated["scores"][:, 0]}

    def ratings(self, values: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        """A rating for each position, float32 `[batch, length]`.

        Missing ratings get the first rating of the row, with which a server that batches pads
        them. NaN, infinite ones and those of a row without ratings are replaced by the model's
        `usual_value`; ratings beyond the items are ignored.
        """
        values = as_long(values, tf.shape(positions)[1], float("nan"))
        return tf.where(tf.math.is_finite(values), values, self.model.usual_value)

    def samples(self):
        """Random items and ratings of decreasing length, so the export has no real history."""
        info, rng = self.model.info, np.random.default_rng(0)
        width = max(1, min(SAMPLE_LENGTH, info.n_items // 2))
        ids = vocabulary.read(self.data_dir / ITEMS_FILE)
        n_ratings = 1 + round((info.rating_max - info.rating_min) / (info.rating_step or 1))
        ratings = np.linspace(info.rating_min, info.rating_max, n_ratings)
        items, values = [], np.zeros([EXAMPLES + 1, width], np.float32)
        for row in range(EXAMPLES + 1):  # the last one is empty
            n = width * (EXAMPLES - row) // EXAMPLES
            drawn = [ids[item] for item in rng.choice(info.n_items, n, replace=False)]
            items.append(drawn + [UNKNOWN] * (width - n))
            values[row, :n] = rng.choice(ratings, n)
        found = self.item_samples() | {"items": np.array(items), "values": values}
        if self.model.reads_times:
            days = TIME + STEP * np.arange(width)
            found["times"] = np.where(found["items"] == UNKNOWN, 0, days)
            found["ask_time"] = np.append(days[-1] + STEP * np.arange(EXAMPLES), 0)
        return found


def write_titles(data_dir: pathlib.Path, path: pathlib.Path) -> None:
    """Writes the items' titles in vocabulary order, one per line; a space if unknown.

    Lookup tables cannot be read from a file with empty lines.
    """
    titles = vocabulary.titles(data_dir)
    path.write_text("".join((" ".join(t.split()) or " ") + "\n" for t in titles))

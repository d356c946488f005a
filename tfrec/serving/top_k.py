"""The k best items for anybody's history: raw ids in, raw ids out, all in one graph."""

import pathlib

import numpy as np
import tensorflow as tf

from tfrec import ranking
from tfrec.data import inputs, vocabulary
from tfrec.schema import ITEMS_FILE, PAD
from tfrec.serving import examples
from tfrec.serving.answers import EXAMPLES, INPUTS, LOWEST, Answers, strings
from tfrec.serving.tables import UNKNOWN, line_table, position_table

SAMPLE_LENGTH = 20
HISTORY = {"items": tf.string, "values": tf.float32}  # a history, as an Example holds it


class TopK(Answers):
    """Names the k best items, with raw ids and titles.

    Args:
        model: A trained model.
        data_dir: Where its data was prepared: vocabularies and titles.
        k: How many items an answer holds. Fixed, because a server that batches requests
            can not batch scalars; clients slice.
        titles_file: Where the titles are written, one a line; an asset of the export.
    """

    def __init__(self, model, data_dir, k: int, titles_file: pathlib.Path):
        super().__init__(model, data_dir)
        self.k = min(k, model.info.n_items)
        write_titles(self.data_dir, titles_file)
        self.positions = position_table(self.data_dir / ITEMS_FILE)
        self.raw_ids = line_table(self.data_dir / ITEMS_FILE)
        self.titles = line_table(titles_file)

    def add_all(self, whose: dict[str, tf.TensorSpec]) -> None:
        """The signatures that all have, by a subclass's methods.

        Args:
            whose: The inputs that say whose items are wanted.
        """
        lists = strings("exclude", None) | strings("allow", None)
        self.add("serving_default", self.recommend_all, whose)
        self.add("recommend", self.recommend, whose | lists)
        self.add("recommend_example", self.recommend_example, INPUTS)
        self.add("rate", self.rate, whose | strings("candidates", None))
        self.add("classify", self.classify, INPUTS)
        for name in self.model.task_object.item_signatures:
            self.add(name, getattr(self, name), INPUTS)

    def rows(self, batch_size: int) -> tf.data.Dataset:
        """Features of all users, in an order that does not change: what `top_of` takes."""
        raise NotImplementedError

    def top_of(self, row: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and item positions `[batch, k]`, best first, for a batch of `rows`.

        The same answers as of `recommend` for these users, without raw ids on the way.
        """
        raise NotImplementedError

    def classify(self, inputs) -> dict[str, tf.Tensor]:
        """`recommend_example` as a server's Classify wants it."""
        answer = self.call("recommend_example", inputs=inputs)
        return {"classes": answer["items"], "scores": answer["scores"]}

    def struck_out(self, seen: tf.Tensor, exclude: tf.Tensor) -> tf.Tensor:
        """Positions `[batch, length]` of what was seen, with those of raw ids `exclude`."""
        return without_repeats(tf.concat([seen, self.positions.lookup(exclude)], axis=1))

    def allowed(self, allow: tf.Tensor) -> tf.Tensor:
        """Positions of raw ids; an unknown one is n_items, so that it is not taken for padding."""
        positions = self.positions.lookup(allow)
        unknown = (positions == PAD) & (allow != UNKNOWN)
        return tf.where(unknown, self.model.info.n_items, positions)

    def named(self, scores: tf.Tensor, top: tf.Tensor) -> dict[str, tf.Tensor]:
        """The answer for scores and positions `[batch, k]` of `ranking.top_k`.

        A place that no item fills has the lowest finite score.
        """
        places = tf.cast(top, tf.int64)
        return {
            "items": self.raw_ids.lookup(places),
            "titles": tf.strings.strip(self.titles.lookup(places)),
            "scores": tf.maximum(scores, LOWEST),
        }

    def of_candidates(self, scores: tf.Tensor, candidates: tf.Tensor) -> dict[str, tf.Tensor]:
        """Predictions for raw ids `[batch, n]` out of all scores `[batch, n_items]`."""
        positions = self.positions.lookup(candidates)
        picked = tf.gather(scores, tf.maximum(positions, 0), batch_dims=1)
        is_scored = (positions >= 0) & (picked > -float("inf"))
        return {"scores": tf.where(is_scored, self.predictions(picked), LOWEST)}

    def item_samples(self) -> dict[str, np.ndarray]:
        """Samples of the lists of items that any request may hold."""
        ids, n = vocabulary.read(self.data_dir / ITEMS_FILE), EXAMPLES + 1
        exclude = [[*ids[:2], "no such item"] if row % 2 else [""] * 3 for row in range(n)]
        some = ids[: max(1, min(50, len(ids) // 2))]
        allow = [some if row % 3 else [""] * len(some) for row in range(n)]
        candidates = [[*ids[:5], "no such item", ""]] * n
        item = [*(ids[row % len(ids)] for row in range(EXAMPLES)), "no such item"]
        lists = {"exclude": exclude, "allow": allow, "candidates": candidates, "item": item}
        return {name: np.array(rows) for name, rows in lists.items()}


class HistoryTopK(TopK):
    """The k best items for anybody's history."""

    kind = "history"

    def __init__(self, model, data_dir, k, titles_file):
        super().__init__(model, data_dir, k, titles_file)
        length = model.max_items
        history = strings("items", length) | {
            "values": tf.TensorSpec([None, length], tf.float32, name="values")
        }
        self.add_all(history)

    def recommend(self, items, values, exclude, allow) -> dict[str, tf.Tensor]:
        """Top k for histories.

        Args:
            items: Raw ids, string `[batch, length]`, padding "". Unknown ids are ignored,
                of an item sent twice the first rating counts.
            values: Ratings, float32 `[batch, length]`; see `ratings`.
            exclude: Raw ids to strike out besides, string `[batch, n]`, padding "".
            allow: Raw ids to choose from, string `[batch, m]`; a row of padding: all.

        Returns:
            items and titles, string `[batch, k]`, and scores, float32 `[batch, k]`.
        """
        positions = without_repeats(self.positions.lookup(items))
        history = features(positions, self.ratings(values, positions))
        seen = self.struck_out(positions, exclude)
        return self.named(*self.top(history, seen, self.allowed(allow)))

    def top(self, history, seen, allowed=None) -> tuple[tf.Tensor, tf.Tensor]:
        """Scores and positions of the k best, of histories as features."""
        return ranking.top_k(self.score_of(history), seen, self.k, allowed)

    def rows(self, batch_size):
        rows = inputs.histories(self.data_dir, self.model.info, "all", batch_size, fill=True)
        return rows.map(lambda features, targets: features)

    def top_of(self, row):
        return self.top(features(row["items"], row["values"]), row["items"])

    def recommend_all(self, items, values) -> dict[str, tf.Tensor]:
        """`recommend` without lists."""
        return self.call("recommend", items=items, values=values, **no_lists(items))

    def rate(self, items, values, candidates) -> dict[str, tf.Tensor]:
        """What the model thinks of `candidates`, string `[batch, n]`: scores `[batch, n]`."""
        positions = without_repeats(self.positions.lookup(items))
        scores = self.score_of(features(positions, self.ratings(values, positions)))
        return self.of_candidates(scores, candidates)

    def recommend_example(self, inputs) -> dict[str, tf.Tensor]:
        """`recommend` for serialized Examples, string `[batch]`."""
        lists = examples.parse(inputs, HISTORY | dict.fromkeys(["exclude", "allow"], tf.string))
        items, exclude, allow = (examples.dense(lists[n]) for n in ("items", "exclude", "allow"))
        exclude = tf.concat([items, exclude], axis=1)  # whatever is too old
        return self.call("recommend", **self.history(lists), exclude=exclude, allow=allow)

    def regress(self, inputs) -> dict[str, tf.Tensor]:
        """The rating of each Example's `item`, as a server's Regress wants it: `[batch]`."""
        lists = examples.parse(inputs, HISTORY | {"item": tf.string})
        candidates = examples.single(lists["item"])[:, tf.newaxis]
        rated = self.call("rate", **self.history(lists), candidates=candidates)
        return {"outputs": rated["scores"][:, 0]}

    def ratings(self, values: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        """A rating for each position, float32 `[batch, length]`.

        One that is missing, NaN or infinite is the highest; ratings without an item are ignored.
        """
        highest, missing = self.model.info.rating_max, tf.shape(positions)[1] - tf.shape(values)[1]
        values = tf.where(tf.math.is_finite(values), values, highest)
        filled = tf.pad(values, [[0, 0], [0, tf.maximum(0, missing)]], constant_values=highest)
        return filled[:, : tf.shape(positions)[1]]

    def history(self, lists: dict[str, tf.RaggedTensor]) -> dict[str, tf.Tensor]:
        """Items and values of Examples, the newest that the model can take."""
        items = examples.dense(lists["items"])
        values = lists["values"].to_tensor(self.model.info.rating_max, shape=tf.shape(items))
        if self.model.max_items:
            known = without_repeats(self.positions.lookup(items)) != PAD
            items, values = newest(items, values, known, self.model.max_items)
        return {"items": items, "values": values}

    def samples(self):
        """Items and ratings by chance, shorter from row to row: the export shows no real user's."""
        info, rng = self.model.info, np.random.default_rng(0)
        longest = max(1, min(self.model.max_items or SAMPLE_LENGTH, info.n_items // 2))
        width = self.model.max_items or longest
        ids = vocabulary.read(self.data_dir / ITEMS_FILE)
        n_ratings = 1 + round((info.rating_max - info.rating_min) / (info.rating_step or 1))
        ratings = np.linspace(info.rating_min, info.rating_max, n_ratings)
        items, values = [], np.zeros([EXAMPLES + 1, width], np.float32)
        for row in range(EXAMPLES + 1):  # the last one is empty
            n = longest * (EXAMPLES - row) // EXAMPLES
            drawn = [ids[item] for item in rng.choice(info.n_items, n, replace=False)]
            items.append([UNKNOWN] * (width - n) + drawn)
            values[row, width - n :] = rng.choice(ratings, n)
        return self.item_samples() | {"items": np.array(items), "values": values}


def features(positions: tf.Tensor, values: tf.Tensor) -> dict[str, tf.Tensor]:
    """What a model of histories reads, of nobody it knows."""
    values = tf.where(positions != PAD, values, 0.0)
    return {"user": tf.fill(tf.shape(positions)[:1], PAD), "items": positions, "values": values}


def no_lists(like: tf.Tensor) -> dict[str, tf.Tensor]:
    """Empty lists for as many rows as `like` has: nothing is excluded, everything allowed."""
    nothing = tf.fill([tf.shape(like)[0], 0], UNKNOWN)
    return {"exclude": nothing, "allow": nothing}


def without_repeats(positions: tf.Tensor) -> tf.Tensor:
    """int32 `[batch, length]` with all but the first of equal positions in a row padded."""
    order = tf.argsort(positions, axis=1, stable=True)
    ordered = tf.gather(positions, order, batch_dims=1)
    repeated = tf.concat(
        [tf.zeros_like(ordered[:, :1], tf.bool), ordered[:, 1:] == ordered[:, :-1]], axis=1
    )
    back = tf.argsort(order, axis=1)
    return tf.where(tf.gather(repeated, back, batch_dims=1), PAD, positions)


def newest(
    items: tf.Tensor, values: tf.Tensor, known: tf.Tensor, n: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The last n known ones of each row, `[batch, n]`, padded on the left.

    Args:
        items: string `[batch, length]`.
        values: float32 `[batch, length]`.
        known: bool `[batch, length]`.
        n: How many.
    """
    items, values = tf.where(known, items, UNKNOWN), tf.where(known, values, 0.0)
    order = tf.argsort(tf.cast(known, tf.int32), axis=1, stable=True)[:, -n:]
    missing = [[0, 0], [n - tf.shape(order)[1], 0]]
    items, values = (
        tf.pad(tf.gather(x, order, batch_dims=1), missing, constant_values=padding)
        for x, padding in ((items, UNKNOWN), (values, 0.0))
    )
    return tf.ensure_shape(items, [None, n]), tf.ensure_shape(values, [None, n])


def write_titles(data_dir: pathlib.Path, path: pathlib.Path) -> None:
    """Writes the items' titles in vocabulary order, one a line; a blank where unknown.

    A table is not read from a file with empty lines.
    """
    titles = vocabulary.titles(data_dir)
    path.write_text("".join((" ".join(t.split()) or " ") + "\n" for t in titles))

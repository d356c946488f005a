"""A run, as returned by `tfrec.fit` and `tfrec.load`."""

import functools
import hashlib
import pathlib
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import cast

import numpy as np
import pandas as pd

from tfrec.api import all_users, recommending, similar
from tfrec.api.known_users import KnownUsers
from tfrec.api.prepared_data import PathLike
from tfrec.data import vocabulary
from tfrec.models.base import Recommender
from tfrec.models.capabilities import ItemRows
from tfrec.schema import ITEMS_FILE, DatasetInfo
from tfrec.serving import approximate, export, signatures, tfrs_index, two_stage
from tfrec.serving.answers import Answers
from tfrec.serving.local import InMemory
from tfrec.serving.predictor import History
from tfrec.serving.top_k import TopK
from tfrec.training import evaluation, runs


def load(run_dir: PathLike) -> "Run":
    """Loads the run in a directory; arguments and errors as in `Run`."""
    return Run(run_dir)


INDEXES: dict[str, Callable[..., Answers]] = {
    "exact": signatures.make,
    "ivf": approximate.make,
    "tfrs": tfrs_index.make,
}


class Run(recommending.Recommends):
    """A trained model with its data and its metrics.

    Args:
        run_dir: The run directory.

    Attributes:
        path: The run directory.
        config: The configuration of the run.

    Raises:
        FileNotFoundError: no run is there.
        ValueError: a file is damaged, or the data has changed since.
    """

    def __init__(self, run_dir: PathLike):
        self._dir = runs.RunDir(run_dir)
        self.path = self._dir.path
        self.config = self._dir.config()
        self._made: InMemory | None = None  # its signatures, made when first needed

    def __repr__(self) -> str:
        test = self.metrics.get("test") or self.metrics["validation"]
        names = self.config.task.figures(self.config.train.monitor)
        figures = ", ".join(f"{name} {test[name]:.4f}" for name in names if name in test)
        return f"{self.config.model} in {self.path}: {figures}\n{self.metrics['protocol']}"

    @functools.cached_property
    def model(self) -> Recommender:
        """The Keras model of the best epoch."""
        return self._dir.load_model()

    @functools.cached_property
    def data_dir(self) -> pathlib.Path:
        """The prepared data that it was trained on."""
        return self._dir.data_dir()

    @property
    def info(self) -> DatasetInfo:
        """Info of the prepared data."""
        return self.model.info

    @property
    def metrics(self) -> dict:
        """The metrics: `validation`, `test`, the protocol, seconds and memory."""
        return self._dir.metrics()

    @property
    def record(self) -> dict:
        """The result as data: config, data, protocol, versions, machine, metrics, intervals, cost.

        Empty for runs of older versions.
        """
        return self._dir.record()

    @property
    def history(self) -> pd.DataFrame:
        """A row for each epoch: training logs, validation metrics with the prefix `val_`, the cost.

        `seconds` and `cpu_seconds` are of training alone.
        """
        return self._dir.history()

    def evaluate(self, part: str = "test", sampled: str = "") -> dict[str, float]:
        """Evaluates the model again.

        Args:
            part: "validation" or "test".
            sampled: Rank among sampled items, as in older papers: "uniform-100", "popularity-100".
        """
        return evaluation.evaluate_run(str(self.path), part, sampled)[0]

    def _asked(
        self,
        users: Sequence[str] | None,
        histories: Sequence[History] | Mapping[str, History] | None,
        k: int,
    ) -> recommending.Asked:
        """Known users are replaced by their stored histories for models of histories only.

        A model of known users answers for unknown users, too: with popular items.
        """
        asking = self._asking(k)
        if histories is not None and not asking.takes_histories:
            raise ValueError(self._no_histories())
        if users is None:
            return recommending.Asked(asking, None, histories)
        users = [str(user) for user in recommending.as_list(users, "users")]
        if not asking.takes_histories:
            return recommending.Asked(asking, users, histories)
        positions = self._known.positions(users)
        if asking.knows_users:
            return recommending.Asked(asking, users, histories)
        if asking.reads_times:
            histories, times = self._known.timed_histories(positions)
        else:
            histories, times = self._known.histories(positions), None
        return recommending.Asked(asking, None, histories, users, times)

    def recommend_all(
        self, path: PathLike, k: int = 10, batch_size: int = 512, progress: bool = True
    ) -> int:
        """Writes the best items of all users to a Parquet file; an interrupted call can be resumed.

        Args:
            path: The file: `user, rank, item, score, title`, a row for each item.
            k: Number of items for each user.
            batch_size: Number of users scored at once; memory depends on it, not on the number of
                users.
            progress: Show a progress bar on stderr, on a terminal.

        Returns:
            The number of users, without those whose interactions were all dropped.
        """
        answers = cast(TopK, self._asking(k, exactly=True).answers)
        model = hashlib.sha256(self._dir.model.read_bytes()).hexdigest()
        made_of = {"model": model, "data": self.info.fingerprint, "k": k, "batch": batch_size}
        return all_users.write(answers, pathlib.Path(path), made_of, batch_size, progress)

    def score(self, pairs: pd.DataFrame | Iterable[tuple[str, str]]) -> pd.DataFrame:
        """Scores of pairs of known users and items.

        Args:
            pairs: A frame with the columns `user` and `item`, or pairs; raw ids.

        Returns:
            `user, item, score`, in the order of `pairs`: ratings within their range,
            probabilities of clicks, or scores that are only ordered; NaN for an unknown item.

        Raises:
            ValueError: an unknown user.
        """
        frame = pd.DataFrame(pairs, columns=["user", "item"]).astype(str).reset_index(drop=True)
        asking = self._asking(1)
        groups = {user: rows.index for user, rows in frame.groupby("user", sort=False)}
        users = list(groups)
        positions = self._known.positions(users)
        by_id = asking.knows_users and not asking.takes_histories
        whose = users if by_id else self._known.histories(positions)
        candidates = [frame["item"][index].tolist() for index in groups.values()]
        scores = np.full(len(frame), np.nan)
        for index, found in zip(groups.values(), asking.rate(whose, candidates), strict=True):
            scores[index] = found
        known = frame["item"].isin(self.items)
        return frame.assign(score=np.where(known, scores, np.nan))

    def similar(self, items: Sequence[str], k: int = 10, titles: bool = True) -> pd.DataFrame:
        """The items most similar to each of `items`, by `tfrec.api.similar.similarity`.

        Args:
            items: Raw ids.
            k: Number of similar items for each.
            titles: Whether to add the column `title`.

        Returns:
            `item, rank, similar, score, title`, most similar first; `title` is that of `similar`.

        Raises:
            ValueError: an unknown item, or a model without item vectors that scores no histories.
        """
        names = [str(item) for item in recommending.as_list(items, "items")]
        known = {item: position for position, item in enumerate(self.items)}
        for name in names:
            if name not in known:
                raise ValueError(
                    f"no item {name!r} in {self.data_dir / ITEMS_FILE}, which knows {len(known):,}"
                )
        positions = np.array([known[name] for name in names], np.int64)
        scores = similar.similarity(self.model, self.data_dir, positions)
        scores[np.arange(len(names)), positions] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, : min(k, len(known) - 1)]
        rows = [
            (name, rank, self.items[other], float(row[other]))
            for name, row, others in zip(names, scores, best, strict=True)
            for rank, other in enumerate(others, 1)
        ]
        found = pd.DataFrame(rows, columns=["item", "rank", "similar", "score"])
        return found.assign(title=found["similar"].map(self.titles)) if titles else found

    def export(
        self, export_dir: PathLike, k: int = 20, index: str = "exact", recall: float = 0.95
    ) -> pathlib.Path:
        """Writes the next version of a SavedModel for TF Serving, verified in a fresh process.

        Args:
            export_dir: The model's base path, which has a folder for each version.
            k: Number of items of an answer.
            index: "exact"; "ivf" for an approximate index of inverted lists; or "tfrs" for
                TensorFlow Recommenders' brute force, which is exact, too.
            recall: ivf: share of the exact top k that answers must contain.

        Returns:
            The version's folder.
        """
        make = INDEXES[index]
        if index == "ivf":
            make = functools.partial(make, recall=recall)
        return export.export(self.model, str(self.data_dir), str(export_dir), k, make)

    def export_ranking(
        self,
        retrievers: Sequence["Run"],
        export_dir: PathLike,
        k: int = 20,
        candidates: int = 200,
    ) -> pathlib.Path:
        """Writes a SavedModel in which this run's model ranks candidates that other runs retrieve.

        Args:
            retrievers: Runs of models of histories or of known users, on the same data.
            export_dir: As in `export`.
            k: Number of items of an answer.
            candidates: Number of candidates of each retriever.

        Returns:
            The version's folder.

        Raises:
            ValueError: this model scores no events, or the runs have other users or items.
        """
        models = [(run.model, run.data_dir) for run in retrievers]
        make = functools.partial(two_stage.make, retrievers=models, candidates=candidates)
        return export.export(self.model, str(self.data_dir), str(export_dir), k, make)

    def report(
        self,
        path: PathLike,
        against: Sequence["Run"] = (),
        users: Sequence[str] = (),
        n_users: int = 4,
        seed: int = 0,
    ) -> None:
        """Writes a self-contained HTML report of the run's metrics, also by slices.

        It evaluates the test set once more, for what the run's files do not contain.

        Args:
            path: The file.
            against: Other runs on the same data, to compare with.
            users: Raw ids of test users whose lists are shown; none: `n_users` drawn by `seed`.
            n_users: Number of users to draw.
            seed: Seed of the draw.

        Raises:
            ValueError: no test values, runs that cannot be compared, or users without a list.
        """
        from tfrec.api import reporting  # imports this module

        reporting.write(self, path, against, users, n_users, seed)

    def _no_histories(self) -> str:
        """The error of a model of known users that is asked for histories."""
        by_item = self.info.rows == "item" and isinstance(self.model, ItemRows)
        name = self.config.model + (" with rows by item" if by_item else "")
        return (
            f"{name} knows users by weights of their own and cannot score a new history; ask for "
            "users (--user; one that it does not know gets popular items)"
            + (", or train it with rows=user (--set rows=user)" if by_item else "")
        )

    def _asking(self, k: int, exactly: bool = False) -> InMemory:
        """The model's signatures, with answers of at least k items; kept for the next call.

        Raises:
            ValueError: the data has no ids of users and items.
        """
        if not self.info.has_ids:
            raise ValueError(
                f"{self.info.name} has no ids of users and items: there is nothing to recommend; "
                "ask the exported SavedModel for the scores of events"
            )
        made = self._made
        due = min(k, self.info.n_items)
        length = cast(TopK, made.answers).k if made else 0
        if made is None or length < due or (exactly and length != due):
            with tempfile.TemporaryDirectory() as folder:
                titles = pathlib.Path(folder) / "titles.txt"
                made = InMemory(signatures.make(self.model, self.data_dir, k, titles))
            self._made = made
        return made

    @functools.cached_property
    def _known(self) -> KnownUsers:
        return KnownUsers(self.data_dir, self.info)

    @property
    def users(self) -> dict[str, int]:
        """Positions of the users of the data by raw id."""
        return self._known.users

    @property
    def items(self) -> list[str]:
        """Raw ids of the items that the model knows."""
        return self._known.items

    @functools.cached_property
    def titles(self) -> dict[str, str]:
        """Titles by raw item id; "" where the data has none."""
        return dict(zip(self.items, vocabulary.titles(self.data_dir), strict=True))

    def histories(self, users: Sequence[str]) -> list[dict[str, float]]:
        """All stored interactions of users: raw item id -> rating, in time order.

        Raises:
            ValueError: an unknown user.
        """
        return self._known.histories(self._known.positions(users))

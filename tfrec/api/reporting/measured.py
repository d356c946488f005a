"""The data of a report: the files of a run, and results of one more pass over the test set."""

import dataclasses
import functools
import typing
from collections.abc import Sequence

import numpy as np
import scipy.sparse

from tfrec.api.comparing import names_of
from tfrec.data import pairs, vocabulary
from tfrec.metrics import Report, SavedValues, comparable
from tfrec.metrics.exposure import Exposure, diversity, of_lists
from tfrec.metrics.kept_lists import LENGTH, KeptLists
from tfrec.models.base import Recommender
from tfrec.models.popularity import Popularity
from tfrec.schema import PAD, USERS_FILE, DatasetInfo
from tfrec.training import evaluation, lists
from tfrec.training.runs import RunDir

if typing.TYPE_CHECKING:
    from tfrec.api.run import Run


@dataclasses.dataclass(frozen=True)
class TestRows:
    """The test rows of users.

    Attributes:
        users: `[n]` int64, positions of the users with a test row, ascending.
        lengths: `[n]` int64, number of interactions in their input.
        owner: `[N]` int64, the user of each held-out interaction.
        item: `[N]` int64, its item.
        wanted: `[N]` bool, whether it is a hit for a list: for models that do not rank, only if
            the user liked it.
    """

    users: np.ndarray
    lengths: np.ndarray
    owner: np.ndarray
    item: np.ndarray
    wanted: np.ndarray


@dataclasses.dataclass(frozen=True)
class Listed:
    """The ranked lists of one model for test users.

    Attributes:
        name: Name of the model, or of its run.
        users: `[n]` int64, positions of their users, ascending.
        top: `[n, k]` int, positions of items, -1 where a list is shorter.
        values: Metrics of the lists by user.
        exposure: Which items they recommend.
        diversity: As of `tfrec.metrics.exposure.diversity`.
    """

    name: str
    users: np.ndarray
    top: np.ndarray
    values: SavedValues
    exposure: Exposure
    diversity: float


class Measured:
    """A run and the data of its report, read or computed when first used.

    Args:
        run: A finished run with test values.
        against: Runs with the same users and items.

    Raises:
        ValueError: a run of `against` has other users or items.
    """

    def __init__(self, run: "Run", against: Sequence["Run"]):
        self.run, self.against = run, list(against)
        self.info: DatasetInfo = run.info
        self.task = run.model.task_object
        self.names = names_of([run, *against])
        self.test: dict[str, float] = run.metrics["test"]
        for other in against:
            _refuse_other_ids(run, other)

    @functools.cached_property
    def saved(self) -> SavedValues:
        """The saved test metrics by user."""
        return RunDir(self.run.path).load_per_user()

    @functools.cached_property
    def figures(self) -> list[str]:
        """Metrics by user of the task's summary, the monitored one first."""
        known = comparable(self.saved)
        wanted = dict.fromkeys((self.task.monitor, *self.task.figures()))
        return [name for name in wanted if name in known] or known[:3]

    @functools.cached_property
    def interactions(self) -> dict[str, np.ndarray] | None:
        """As in `Report.per_interaction`."""
        if self.task.keeps_predictions:
            return RunDir(self.run.path).load_predictions("test")
        report = self.task.new_report(self.info)
        if type(report).per_interaction is Report.per_interaction:
            return None
        self._measure(self.run.model, report)
        return report.per_interaction()

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """Number of training interactions of each item, `[n_items]`."""
        return np.asarray(self.run.model.list_order.counts)

    @functools.cached_property
    def trained(self) -> scipy.sparse.csr_matrix:
        """The interactions that the model was trained on, `[n_users, n_items]`."""
        users, items = pairs.read_all(self.run.data_dir, self.info, self.trained_on)
        shape = self.info.n_users, self.info.n_items
        return scipy.sparse.csr_matrix((np.ones(len(users), np.float32), (users, items)), shape)

    @property
    def trained_users(self) -> np.ndarray:
        """Which users the model was trained on, bool `[n_users]`."""
        return np.diff(self.trained.indptr) > 0

    @property
    def trained_on(self) -> str:
        """The split that the kept model was trained on."""
        refit = self.run.config.train.refit and self.info.n_ratings.get("validation", 0)
        return "train+validation" if refit else "train"

    @functools.cached_property
    def test_rows(self) -> TestRows:
        """Test rows by user, even where rows of the data are by item."""
        users, lengths, owners, items, values = [], [], [], [], []
        for features, targets in self._held_out.rows:
            user, target = features["user"].numpy(), targets["target_items"].numpy()
            row, column = np.nonzero((target != PAD) & (user != PAD)[:, np.newaxis])
            users.append(user[user != PAD])
            lengths.append((features["items"].numpy() != PAD).sum(1)[user != PAD])
            owners.append(user[row])
            items.append(target[row, column])
            values.append(targets["target_values"].numpy()[row, column])
        user, length, owner, item = (
            np.concatenate(part).astype(np.int64) for part in (users, lengths, owners, items)
        )
        order = np.argsort(user)
        liked = np.concatenate(values) >= lists.liked_from(self.info)
        return TestRows(user[order], length[order], owner, item, liked | self._by_ranks)

    @functools.cached_property
    def listed(self) -> list[Listed]:
        """Lists of the run, of `against` and of Popularity; none where they cannot be evaluated."""
        if not self.info.has_ids:
            return []
        popular = Popularity.create(lists.of_users(self.info))
        popular.counts.assign(self.counts)
        runs = [self.run, *self.against]
        models = dict(zip(self.names, (run.model for run in runs), strict=True))
        if self.run.config.model != "popularity":
            models["popularity"] = popular
        found = [self._lists(name, model) for name, model in models.items()]
        return [each for each in found if each] if found[0] else []

    @property
    def _by_ranks(self) -> bool:
        """Whether lists are measured by all that is held out, as models that rank are."""
        return self.task.ranks and self.info.rows == "user"

    @functools.cached_property
    def _held_out(self) -> lists.HeldOut:
        return lists.HeldOut(self.run.data_dir, "test")

    def _measure(self, model: Recommender, report: Report) -> None:
        """Feeds a report with the test set of the run's data."""
        evaluation.measure(model, self.run.data_dir, "test", report, self.run.config.train)

    def _lists(self, name: str, model: Recommender) -> Listed | None:
        """A model's lists, measured as the run's task does; None where there is none."""
        if self._by_ranks and model.task_object.ranks:
            report = KeptLists(self.info, (*self.run.config.train.cuts, LENGTH, 100))
            self._measure(model, report)
        else:
            made = lists.reports(model, self._held_out, make=KeptLists)
            if not made:
                return None
            report = made[0]
        users, top = report.lists()
        values = SavedValues(report.users, report.per_user(), "")
        shown = of_lists(top, self.counts, int(self.trained_users.sum()))
        return Listed(name, users, top, values, shown, diversity(top, self.trained))

    def rows_of(self, users: Sequence[int]) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Items and values of the input, and held-out items, of test users by position."""
        found = {}
        for features, targets in self._held_out.rows:
            user = features["user"].numpy()
            for row in np.flatnonzero(np.isin(user, users) & (user != PAD)):
                items, target = features["items"][row].numpy(), targets["target_items"][row].numpy()
                values = features["values"][row].numpy()[items != PAD]
                found[int(user[row])] = items[items != PAD], values, target[target != PAD]
        return found


def _refuse_other_ids(run: "Run", other: "Run") -> None:
    ours, theirs = (
        (r.items, vocabulary.read(r.data_dir / USERS_FILE)) if r.info.has_ids else ()
        for r in (run, other)
    )
    if ours != theirs:
        raise ValueError(
            f"--against={other.path} was trained on other users or items than {run.path}: give "
            f"runs on --data_dir={run.data_dir}"
        )

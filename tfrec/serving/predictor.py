"""Recommendations by signatures: of a server, a SavedModel or a model in memory."""

import abc
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfrec.serving import arrays
from tfrec.serving.reasons import Reason, reasons

DEFAULT, RECOMMEND, RECOMMEND_AT, RECOMMEND_USER, RATE, EXPLAIN = (
    *("serving_default", "recommend", "recommend_at", "recommend_user"),
    *("rate", "explain"),
)
History = Mapping[str, float] | Iterable[tuple[str, float]] | Iterable[str]


class Recommendation(NamedTuple):
    """A recommended item."""

    item: str
    title: str
    score: float


class Calls(NamedTuple):
    """Requests to one signature, and the function that reads their answers."""

    signature: str
    requests: Iterator[dict[str, np.ndarray]]
    read: Callable[[list[dict[str, np.ndarray]]], Any]


class BasePredictor(abc.ABC):
    """Calls signatures with raw ids; a subclass lists the signatures and runs the calls.

    Attributes:
        rating: The rating of items that are given without one.
        batch_size: Maximum number of rows of a request; longer inputs are sent in several.
    """

    rating: float
    batch_size: int

    @abc.abstractmethod
    def signatures(self) -> Mapping[str, Mapping[str, arrays.Spec]]:
        """Signature -> input -> dtype and shape."""

    @abc.abstractmethod
    def run(self, calls: Calls, timeout: float | None) -> Any:
        """Sends the requests; returns `calls.read` of their answers."""

    def specs(self, signature: str) -> Mapping[str, arrays.Spec]:
        """Specs of a signature's inputs.

        Raises:
            ValueError: there is no such signature.
        """
        found = self.signatures()
        if signature not in found:
            known = ", ".join(sorted(found))
            raise ValueError(f'signature key "{signature}" not found. known: {known}')
        return found[signature]

    @property
    def knows_users(self) -> bool:
        """Whether the model recommends to users by raw id."""
        found = self.signatures()
        return RECOMMEND_USER in found or "user" in found.get(DEFAULT, {})

    @property
    def takes_histories(self) -> bool:
        """Whether the model recommends to any history."""
        return "items" in self.signatures().get(DEFAULT, {})

    @property
    def reads_times(self) -> bool:
        """Whether the model recommends by the times of a history and the time of asking."""
        return RECOMMEND_AT in self.signatures()

    def recommend(
        self,
        histories: Sequence[History],
        k: int | None = None,
        *,
        exclude: Sequence[Iterable[str]] | None = None,
        allow: Sequence[Iterable[str]] | None = None,
        times: Sequence[Iterable[int]] | None = None,
        ask_time: Sequence[int] | None = None,
        timeout: float | None = None,
    ) -> list[list[Recommendation]]:
        """The best items for any histories, without the items that they contain.

        Args:
            histories: Mappings of raw item id -> rating, or lists of such pairs, or of ids, which
                get the client's `rating`; ordered from oldest to newest for models of sequences.
            k: Number of items, at most the k of the export (default).
            exclude: For each history, items to leave out.
            allow: For each history, the items to choose from; an empty list allows all.
            times: For each history, the time of each item, for models that read times: seconds
                since 1970, or the unit of the training data; 0 if unknown.
            ask_time: For each history, the time for which the items are wanted; default that of
                its newest item.
            timeout: In seconds; default the client's.

        Returns:
            A list for each history, best first.

        Raises:
            RequestError: the server returned an error.
            ValueError: times that do not fit the histories, or a model that reads no times.
        """
        pairs = [history_pairs(history, self.rating) for history in histories]
        lists = _columns(pairs)
        limits = _limits(exclude, allow, len(pairs))
        if times is not None or ask_time is not None:
            asked = list(ask_time) if ask_time is not None else [0] * len(pairs)
            when = {"times": self._times(pairs, times), "ask_time": asked}
            return self._recommended(RECOMMEND_AT, lists | when | limits, k, timeout)
        if exclude is None and allow is None:
            return self._recommended(DEFAULT, lists, k, timeout)
        return self._recommended(RECOMMEND, lists | limits, k, timeout)

    def recommend_users(
        self,
        users: Sequence[str],
        k: int | None = None,
        *,
        exclude: Sequence[Iterable[str]] | None = None,
        allow: Sequence[Iterable[str]] | None = None,
        timeout: float | None = None,
    ) -> list[list[Recommendation]]:
        """The best items for known users by raw id; see `recommend`."""
        lists: dict[str, list] = {"user": list(users)}
        if exclude is None and allow is None:
            specs = self.signatures()
            name = RECOMMEND_USER if RECOMMEND_USER in specs else DEFAULT
            return self._recommended(name, lists, k, timeout)
        return self._recommended(RECOMMEND, lists | _limits(exclude, allow, len(users)), k, timeout)

    def rate(
        self,
        histories_or_users: Sequence[History] | Sequence[str],
        candidates: Sequence[Sequence[str]],
        *,
        timeout: float | None = None,
    ) -> list[list[float]]:
        """Predictions for given items: ratings, probabilities or scores.

        Args:
            histories_or_users: Histories as in `recommend`, or raw user ids if the model knows
                users by id.
            candidates: For each of them, a list of raw item ids.
            timeout: In seconds; default the client's.

        Returns:
            For each of them a list, in the order of the candidates.
        """
        lists: dict[str, list] = {"candidates": [list(row) for row in candidates]}
        if "user" in self.signatures().get(RATE, {}):
            lists["user"] = list(histories_or_users)
        else:
            lists |= _columns([history_pairs(h, self.rating) for h in histories_or_users])

        def read(answers: list[dict[str, np.ndarray]]) -> list[list[float]]:
            scores = [row for answer in answers for row in answer["scores"].tolist()]
            # The first column is padding: see `arrays.pad`.
            return [row[1 : 1 + len(c)] for row, c in zip(scores, candidates, strict=True)]

        return self.run(Calls(RATE, self._requests(RATE, lists), read), timeout)

    def explain(
        self,
        histories: Sequence[History],
        candidates: Sequence[Sequence[str]],
        most: int = 3,
        *,
        timeout: float | None = None,
    ) -> list[list[list[Reason]]]:
        """The items of histories that contribute most to the scores of given items.

        Args:
            histories: As in `recommend`.
            candidates: For each history, a list of raw item ids.
            most: Maximum number of reasons.
            timeout: In seconds; default the client's.

        Returns:
            For each history a list for each candidate, largest contribution first.

        Raises:
            ValueError: the model takes no histories, or was exported without the signature.
        """
        pairs = [history_pairs(history, self.rating) for history in histories]
        lists = _columns(pairs) | {"candidates": [list(row) for row in candidates]}

        def read(answers: list[dict[str, np.ndarray]]) -> list[list[list[Reason]]]:
            found, start = [], 0
            for answer in answers:
                stop = start + len(answer["titles"])
                sent = (lists[name][start:stop] for name in ("items", "candidates"))
                found += reasons(answer, *sent, most)
                start = stop
            return found

        return self.run(Calls(EXPLAIN, self._requests(EXPLAIN, lists), read), timeout)

    def _times(self, pairs: list[list], times: Sequence[Iterable[int]] | None) -> list[list[int]]:
        """The times of histories; refuses those that do not fit, or a model that reads none."""
        if not self.reads_times:
            raise ValueError("this model reads no times: leave out times and ask_time")
        if times is None:
            raise ValueError("ask_time needs the times of the histories: give times, too")
        found = [list(row) for row in times]
        lengths = [len(row) for row in pairs], [len(row) for row in found]
        if lengths[0] != lengths[1]:
            raise ValueError(
                f"the histories have {lengths[0]} items and {lengths[1]} times: give one time for "
                "each item, 0 where it is unknown"
            )
        return found

    def _recommended(self, signature: str, lists, k, timeout) -> list[list[Recommendation]]:
        def read(answers: list[dict[str, np.ndarray]]) -> list[list[Recommendation]]:
            return [row for answer in answers for row in recommendations(answer, k)]

        return self.run(Calls(signature, self._requests(signature, lists), read), timeout)

    def _requests(self, signature: str, lists: dict[str, list]) -> Iterator[dict[str, np.ndarray]]:
        """Splits the rows into requests of at most `batch_size`."""
        n = {len(rows) for rows in lists.values()}
        if len(n) > 1:
            raise ValueError(f"give lists with the same number of rows, not {sorted(n)}")
        specs = self.specs(signature)
        if set(lists) != set(specs):
            raise ValueError(
                f"signature {signature!r} takes {', '.join(sorted(specs))}, not "
                f"{', '.join(sorted(lists))}: models take histories (`recommend`) or users "
                "(`recommend_users`)"
            )
        for start in range(0, n.pop(), self.batch_size):
            yield {
                name: arrays.pad(rows[start : start + self.batch_size], specs[name])
                for name, rows in lists.items()
            }


class Predictor(BasePredictor):
    """Runs calls synchronously; a subclass sends a request to its signature."""

    @abc.abstractmethod
    def predict(
        self,
        inputs: Mapping[str, np.ndarray | list],
        signature: str = DEFAULT,
        *,
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """The outputs of a signature by name, strings as bytes."""

    def run(self, calls: Calls, timeout: float | None) -> Any:
        """Sends the requests one after the other."""
        name = calls.signature
        return calls.read([self.predict(r, name, timeout=timeout) for r in calls.requests])


def _columns(pairs: Sequence[Sequence[tuple[str, float]]]) -> dict[str, list]:
    """The inputs `items` and `values` of histories, as `history_pairs` returns them."""
    return {
        "items": [[item for item, _ in row] for row in pairs],
        "values": [[value for _, value in row] for row in pairs],
    }


def _limits(
    exclude: Sequence[Iterable[str]] | None, allow: Sequence[Iterable[str]] | None, n: int
) -> dict[str, list[list[str]]]:
    """The inputs `exclude` and `allow` of n rows; None is no limit."""
    given = {"exclude": exclude, "allow": allow}
    return {name: [list(row) for row in rows or [()] * n] for name, rows in given.items()}


def recommendations(
    answer: Mapping[str, np.ndarray], k: int | None
) -> Iterator[list[Recommendation]]:
    """The rows of an answer, without empty positions, at most `k` items each."""
    items, scores = answer["items"], answer["scores"].tolist()
    titles = answer.get("titles", np.full(items.shape, b"", object))
    for row in zip(items, titles, scores, strict=True):
        ranked = (
            Recommendation(item.decode(), title.decode(), score)
            for item, title, score in zip(*row, strict=True)
            if item
        )
        yield list(itertools.islice(ranked, k))


def history_pairs(history: History, rating: float) -> list[tuple[str, float]]:
    """A history as pairs (raw item id, rating)."""
    if isinstance(history, str):
        raise ValueError(f"{history!r} is one string: a history is a list of ids, or id -> rating")
    entries = history.items() if isinstance(history, Mapping) else history
    pairs = [(e, rating) if isinstance(e, str) else (e[0], float(e[1])) for e in entries]
    for item, _ in pairs:
        if not isinstance(item, str):
            raise ValueError(f"item {item!r}: raw ids are strings")
    return pairs

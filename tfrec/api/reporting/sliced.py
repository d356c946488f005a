"""Sections of metrics by group: length of history, popularity of items, new users and items."""

import numpy as np

from tfrec.api.reporting.measured import Measured
from tfrec.metrics import SavedValues, comparable, interval, slices
from tfrec.metrics.exposure import GROUPS, groups
from tfrec.metrics.kept_lists import LENGTH
from tfrec.pages import Plot, Section, Table, chart
from tfrec.training.runs import RunDir

Groups = dict[str, np.ndarray]  # positions of users, or a mask of interactions, by label
_MOST = 2  # maximum number of metrics in a table


def sections(m: Measured) -> list[Section]:
    """The sections that the data allows."""
    if not m.info.has_ids:
        return []
    found = [_by_history(m)] if m.info.rows == "user" or not m.task.ranks else []
    return [*found, _by_popularity(m), _new(m)]


def _by_history(m: Measured) -> Section:
    """Metrics of users by the length of their input."""
    rows = m.test_rows
    groups: Groups = {}
    for low, high in slices.length_groups(rows.lengths[np.isin(rows.users, m.saved.users)]):
        label = f"{low:,}" if low == high else f"{low:,} to {high:,}"
        groups[label] = rows.users[(rows.lengths >= low) & (rows.lengths <= high)]
    others = _others(m)
    table = _table("Test users by length of history", "interactions", m, groups, others)
    shown = {m.names[0]: m.saved, **others}
    name = m.figures[0]
    series = {
        each: [_value(slices.of_users(saved, users), name) for users in groups.values()]
        for each, saved in shown.items()
    }
    drawn = chart.bars(f"{name} by length of history", [*groups], series, "interactions", name)
    return Section("Slices by history", [table, Plot(drawn)])


def _by_popularity(m: Measured) -> Section:
    """Prediction errors, and recall of lists, by popularity of the held-out items."""
    group = groups(m.counts)
    blocks = []
    if m.interactions is not None:
        masks = {name: group[m.interactions["item"]] == g for g, name in enumerate(GROUPS)}
        blocks.append(_of_predictions("Predictions by popularity of the item", m, masks))
    if m.listed:
        masks = {name: group[m.test_rows.item] == g for g, name in enumerate(GROUPS)}
        blocks.append(_of_lists(f"Recall of the best {LENGTH} by popularity", m, masks))
    note = (
        "Head: the most popular items with a third of all training interactions; middle: those "
        "with the next third; tail: the others; new: items without any."
    )
    rows = [
        (name, f"{(group == g).sum():,}", f"{int(m.counts[group == g].sum()):,}")
        for g, name in enumerate(GROUPS)
    ]
    blocks.append(Table("Groups", ("group", "items", "training interactions"), rows, note=note))
    return Section("Slices by popularity", blocks)


def _new(m: Measured) -> Section:
    """Metrics for users and items without training interactions."""
    known = m.counts > 0

    def masks(user: np.ndarray, item: np.ndarray) -> Groups:
        return {
            "known users": m.trained_users[user],
            "new users": ~m.trained_users[user],
            "known items": known[item],
            "new items": ~known[item],
        }

    blocks = []
    if m.interactions is not None:
        found = masks(m.interactions["user"], m.interactions["item"])
        blocks.append(_of_predictions("Predictions for new users and items", m, found))
    if m.listed:
        found = masks(m.test_rows.owner, m.test_rows.item)
        blocks.append(_of_lists(f"Recall of the best {LENGTH} for new users and items", m, found))
    return Section("New users and items", blocks)


def _of_predictions(caption: str, m: Measured, masks: Groups) -> Table:
    """Prediction metrics by group of held-out interactions."""
    found, rows = m.interactions or {}, []
    for label, mask in masks.items():
        user, value, prediction = (found[n][mask] for n in ("user", "value", "prediction"))
        saved = slices.of_interactions(m.task.report, user, value, prediction)
        names = comparable(saved)
        rows.append((label, f"{mask.sum():,}", *(_with_interval(saved, name) for name in names)))
    return Table(caption, ("group", "interactions", *names), rows)


def _of_lists(caption: str, m: Measured, masks: Groups) -> Table:
    """Recall of the lists of all models by group of held-out interactions."""
    rows = []
    for label, mask in masks.items():
        mask = mask & m.test_rows.wanted
        owner, item = m.test_rows.owner[mask], m.test_rows.item[mask]
        cells = [
            _with_interval(
                slices.recall(each.users, each.top, owner, item, m.info.n_items),
                f"recall@{each.top.shape[1]}",
            )
            for each in m.listed
        ]
        rows.append((label, f"{mask.sum():,}", *cells))
    liked = "" if m.test_rows.wanted.all() else ", those that the user liked,"
    note = (
        f"Share of a user's held-out interactions of the group{liked} that are in the list; mean "
        "over users."
    )
    head = ("group", "interactions", *(each.name for each in m.listed))
    return Table(caption, head, rows, note=note)


def _table(
    caption: str, first: str, m: Measured, groups: Groups, others: dict[str, SavedValues]
) -> Table:
    """Metrics by group of users, and the first metric of the other models."""
    rows, names = [], m.figures[:_MOST]
    for label, users in groups.items():
        saved = slices.of_users(m.saved, users)
        cells = [_with_interval(saved, name) for name in names]
        cells += [_with_interval(slices.of_users(o, users), names[0]) for o in others.values()]
        rows.append((label, f"{len(saved.users):,}", *cells))
    columns = (f"{other}: {names[0]}" for other in others)
    note = "With 95 % intervals, bootstrap over the users of the group."
    return Table(caption, (first, "users", *names, *columns), rows, note=note)


def _others(m: Measured) -> dict[str, SavedValues]:
    """Values by user of the other models that have the same metric."""
    name = m.figures[0]
    found = dict(
        zip(m.names[1:], (RunDir(run.path).load_per_user() for run in m.against), strict=True)
    )
    found |= {each.name: each.values for each in m.listed if each.name == "popularity"}
    return {each: saved for each, saved in found.items() if name in comparable(saved)}


def _with_interval(saved: SavedValues, name: str) -> str:
    """A metric with its interval; "-" without users."""
    if not len(saved.users):
        return "-"
    found = interval(saved, name)
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _value(saved: SavedValues, name: str) -> float:
    return interval(saved, name, draws=1).value if len(saved.users) else 0.0

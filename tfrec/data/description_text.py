"""A description as text: a table of statistics, and the checks for leaks."""

import datetime

import numpy as np

from tfrec.data.description import Description

PART_NAMES = {"history": "train", "validation": "validation", "test": "test"}
_SHARES = (0.01, 0.1, 0.5)  # of the columns, most rated first
TIES = "the order inside ties decides (--data tie_order=file or random, with split=last)"
_LATER = ("time", "month")  # splits whose test comes after all training


def table(description: Description) -> str:
    """All numbers, with the checks at the end."""
    lines = [f"{name:14} {value}" for name, value in rows(description)]
    lines += ["", "leaks"]
    lines += [f"  {verdict:5} {sentence}" for verdict, sentence in checks(description)]
    return "\n".join(lines)


def rows(description: Description) -> list[tuple[str, str]]:
    """Name and value of each line of the table."""
    d, info = description, description.info
    columns = "items" if info.rows == "user" else "users"
    return [
        ("data", f"{info.name}, {info.n_users:,} users, {info.n_items:,} items"),
        ("protocol", info.protocol),
        ("ratings", _ratings(d)),
        ("values", _values(d)),
        ("sparsity", f"{100 * info.sparsity:.3f} % of all pairs of user and item have no rating"),
        (_each(info.rows), _spread(d.row_counts)),
        (_each(columns[:-1]), _spread(d.column_counts)),
        ("long tail", _tail(d.column_counts, columns)),
        *(("time", text) for text in _times(d)),
        *(("ties", text) for text in _ties(d)),
        ("fields", ", ".join(f"{f.name} ({f.of}, {f.kind})" for f in info.fields) or "none"),
        ("dropped", ", ".join(f"{n:,} {why}" for why, n in info.dropped.items()) or "none"),
    ]


def checks(description: Description) -> list[tuple[str, str]]:
    """Verdict ("ok", "note" or "LEAK") and sentence of each check."""
    d, info = description, description.info
    n_test = int(d.test_counts.sum())
    found = []
    for where, n in d.twice.items():
        what = "are both in" if " and " in where else "are twice in"
        found.append(("LEAK", f"{n:,} pairs of user and item {what} {where}"))
    if not d.twice:
        found.append(("ok", "no pair of user and item is in two parts, or twice in one"))
    if d.rows_twice:
        found.append(("LEAK", f"{d.rows_twice:,} {info.rows}s are stored more than once"))
    if not n_test:
        return [*found, ("note", "nothing is held out for test")]
    if d.has_times:
        found.append(_by_time(d, n_test))
        found.append(
            _note(
                d.tied_with_own,
                f"{d.tied_with_own:,} of {n_test:,} test ratings have the time of their "
                f"{d.info.rows}'s last input: {TIES}",
            )
        )
    cold, on_them = d.cold_columns
    column = "items" if info.rows == "user" else "users"
    found.append(
        _note(on_them, f"{on_them:,} of {n_test:,} test ratings are on {cold:,} cold {column}")
    )
    found.append(
        _note(d.without_history, f"{d.without_history:,} {info.rows}s are tested without any input")
    )
    return found


def _note(n: int, sentence: str) -> tuple[str, str]:
    return ("note" if n else "ok", sentence)


def _by_time(d: Description, n_test: int) -> tuple[str, str]:
    """Whether test comes after training, which is a leak only where the split promises it."""
    split = d.info.config.get("split", "")
    if split in _LATER:
        n, what = d.before_train, "earlier than the last training rating"
    else:
        n, what = d.before_own, f"earlier than the last input of their {d.info.rows}"
    share = f"{n:,} of {n_test:,} test ratings are {what}"
    if not n:
        return "ok", share
    if split in (*_LATER, "last"):
        return "LEAK", share
    return "note", f"{share}: split={split} does not go by time (time, month and last do)"


def by_part(description: Description) -> dict[str, int]:
    """Ratings by part: train, validation, test, and their fold-ins."""
    n = description.info.n_ratings
    names = [name for part in PART_NAMES.values() for name in sorted(n) if name.startswith(part)]
    return {name.replace("_", " "): n[name] for name in names}


def _ratings(d: Description) -> str:
    parts = ", ".join(f"{n:,} {name}" for name, n in by_part(d).items())
    return f"{int(d.row_counts.sum()):,}: {parts}"


def _values(d: Description) -> str:
    counts = d.values.sum(0)
    middles = (d.edges[1:] + d.edges[:-1]) / 2
    middles[np.abs(middles) < 1e-6 * np.ptp(d.edges)] = 0  # rounding errors
    total = max(1, counts.sum())
    if len(counts) > 10:
        mean = d.info.rating_mean
        return f"{d.info.rating_min:g} to {d.info.rating_max:g}, mean {mean:.3f} in training"
    some = (f"{v:g}: {100 * n / total:.1f} %" for v, n in zip(middles, counts, strict=True) if n)
    return ", ".join(some)


def _spread(counts: np.ndarray) -> str:
    low, half, high, most = np.quantile(counts, [0.1, 0.5, 0.9, 1]).astype(int)
    return f"{half:,} ratings (median), 10 % up to {low:,}, 10 % from {high:,}, at most {most:,}"


def _tail(counts: np.ndarray, columns: str) -> str:
    ordered = np.sort(counts)[::-1]
    share = np.cumsum(ordered) / max(1, ordered.sum())
    at = [(s, share[max(1, round(s * len(ordered))) - 1]) for s in _SHARES]
    some = ", ".join(f"{100 * s:g} %: {100 * x:.1f} %" for s, x in at)
    return f"share of the ratings that the most rated {columns} have: {some}"


def _times(d: Description) -> list[str]:
    if not d.has_times:
        return ["none known"]
    return [
        f"{'' if len(d.info.groups) == 1 else group + ' rows, '}{PART_NAMES[part]}: "
        f"{_day(first)} to {_day(d.last[group, part])}"
        for (group, part), first in d.first.items()
    ]


def _ties(d: Description) -> list[str]:
    if not d.neighbours:
        return []
    tied, n = d.neighbours_tied, d.neighbours
    text = f"{tied:,} of {n:,} neighbouring ratings of a {d.info.rows} have one time"
    if 2 * tied > n:
        text += ": times of writing rather than of choosing"
    return [f"{text} ({100 * tied / n:.1f} %)"]


def _day(seconds: int) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M}"


def _each(what: str) -> str:
    return "an item has" if what == "item" else "a user has"

"""Prepared data as text, from its info."""

from tfrec.schema import DatasetInfo


def of(info: DatasetInfo) -> str:
    """The prepared data, in two lines."""
    counts = ", ".join(f"{n:,} {part}" for part, n in info.n_ratings.items() if n)
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in info.dropped.items() if n)
    ids = f"{info.n_users:,} users, {info.n_items:,} items; ratings" if info.has_ids else "rows"
    return (
        f"data:  {info.protocol}\n"
        f"       {ids}: {counts}; dropped: {dropped or 'none'}{_unknown(info)}"
    )


def _unknown(info: DatasetInfo) -> str:
    """Numbers of unknown values by field, the largest first."""
    found = sorted((f for f in info.fields if f.unknown), key=lambda f: -f.unknown)
    if not found:
        return ""
    some = ", ".join(f"{f.unknown:,} of {f.name}" for f in found[:5])
    more = f" and of {len(found) - 5} more fields" if len(found) > 5 else ""
    return f"\n       unknown to training, or too rare there: {some}{more}"

"""`Sources`: the files and frames that a data set is read from."""

import dataclasses
import pathlib
import typing

if typing.TYPE_CHECKING:
    import pandas


@dataclasses.dataclass(frozen=True)
class Sources:
    """Paths of the interactions, and paths or frames of side tables.

    Attributes:
        raw: The interactions, if they are not split.
        train: The training interactions, if the parts are given.
        validation: The validation interactions; if None, a share of `train` is drawn.
        test: The test interactions.
        users: A table of users, a row a user.
        items: A table of items.
    """

    raw: str | pathlib.Path | None = None
    train: str | pathlib.Path | None = None
    validation: str | pathlib.Path | None = None
    test: str | pathlib.Path | None = None
    users: "str | pathlib.Path | pandas.DataFrame | None" = None
    items: "str | pathlib.Path | pandas.DataFrame | None" = None

    @property
    def parts(self) -> dict[int, str | pathlib.Path]:
        """The given parts by code: 0 training, 1 test, 2 validation.

        Raises:
            ValueError: training or test is missing, or `raw` is given too.
        """
        parts = {0: self.train, 1: self.test, 2: self.validation}
        found = {code: path for code, path in parts.items() if path}
        if found and not (self.train and self.test):
            raise ValueError("--train_raw and --test_raw go together; give both")
        if found and self.raw:
            raise ValueError(f"--raw={self.raw} with --train_raw and --test_raw: leave one out")
        return found

    @property
    def own_flags(self) -> list[str]:
        """The flags in use that are only for a user's own tables."""
        names = ("train", "validation", "test", "users", "items")
        given = [name for name in names if getattr(self, name) is not None]
        return [f"--{n}" if n in ("users", "items") else f"--{n}_raw" for n in given]


def of(raw: "str | pathlib.Path | Sources | None") -> Sources:
    """`Sources` of a path or of None; sources are returned as they are."""
    return raw if isinstance(raw, Sources) else Sources(raw)


def identity(raw: "str | pathlib.Path | Sources | None") -> str:
    """A text that distinguishes a user's own tables, which share one name, by their paths."""
    found = of(raw)
    paths = [getattr(found, field.name) for field in dataclasses.fields(found)]
    if not any(paths[1:]):
        return str(pathlib.Path(found.raw or "").absolute())
    return "\n".join("" if p is None else str(pathlib.Path(str(p)).absolute()) for p in paths)

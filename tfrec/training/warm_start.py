"""Warm start: a model that knew other users and items goes on where it was.

Rows of weights and of optimizer slots are carried over by raw id; users and items that the old
model did not know keep what a new model starts them with (slots: nothing gathered yet).

Which axes of a variable run over users or items is not guessed from its size: the model is
made once more for data with a few more users and another few more items, and the axes that
grow by just that many are theirs. An axis that grows by anything else, such as one over users
and items together (FM), makes the model refuse.
"""

import dataclasses
import filecmp
import pathlib
from collections.abc import Sequence

import keras
import numpy as np

from tfrec.config import TrainConfig
from tfrec.data import vocabulary
from tfrec.models.base import Recommender
from tfrec.schema import ITEMS_FILE, USERS_FILE, DatasetInfo, vocabulary_file
from tfrec.training import optimizers
from tfrec.training.runs import RunDir

_MORE = {"user": 7, "item": 13}  # no sum of several of these is one of them
_FILES = {"user": USERS_FILE, "item": ITEMS_FILE}


@dataclasses.dataclass(frozen=True)
class Moved:
    """Where the ids of one kind went.

    Attributes:
        old: Positions in the old vocabulary of the ids that both have.
        new: Their positions in the new one.
        n_old: Size of the old vocabulary.
        n_new: Size of the new one.
    """

    old: np.ndarray
    new: np.ndarray
    n_old: int
    n_new: int


def moved(old_ids: Sequence[str], new_ids: Sequence[str]) -> Moved:
    """Matches two vocabularies by raw id."""
    place = {raw_id: position for position, raw_id in enumerate(old_ids)}
    pairs = [(place[x], n) for n, x in enumerate(new_ids) if x in place]
    old, new = np.array(pairs, np.int64).reshape(-1, 2).T
    return Moved(old, new, len(old_ids), len(new_ids))


def start(model: Recommender, data_dir: str, run_dir: str, train: TrainConfig) -> str:
    """Gives a model, and its optimizer where both have one, what an earlier run has learned.

    Args:
        model: Made for the data in `data_dir`; compiled, its optimizer built.
        data_dir: Prepared data.
        run_dir: The earlier run, of the same model with the same settings.
        train: How `model` is trained.

    Returns:
        What was carried over, in words.

    Raises:
        ValueError: the models differ, or hold something that can not be carried over.
    """
    if model.closed_form:
        raise ValueError(
            f"--warm_start: {type(model).__name__} is solved in one pass and starts from nothing; "
            "leave it out"
        )
    run = RunDir(run_dir)
    old = run.load_model(compiled=True)
    ids = transfer(old, model, run.data_dir(), data_dir)
    said = (
        f"warm start from {run_dir}: knew {len(ids['user'].old):,} of {ids['user'].n_new:,} users, "
        f"{len(ids['item'].old):,} of {ids['item'].n_new:,} items"
    )
    same = type(old.optimizer).__name__ == type(model.optimizer).__name__
    if train.optimizer == "lbfgs" or not same or not getattr(old.optimizer, "built", False):
        return f"{said}; its optimizer starts anew"
    probe = _probe(model)
    optimizer = optimizers.make(train)
    optimizer.build(probe.trainable_variables)
    variables = model.optimizer.variables
    axes = [_axes(v, p) for v, p in zip(variables, optimizer.variables, strict=True)]
    _carry(old.optimizer.variables, variables, axes, ids)
    return said


def transfer(
    old: Recommender, new: Recommender, old_dir: str | pathlib.Path, new_dir: str | pathlib.Path
) -> dict[str, Moved]:
    """Carries the weights of `old` over to `new`; returns how the ids moved.

    Args:
        old: A trained model.
        new: A model of the same class and settings on other data.
        old_dir: Prepared data of `old`, for its vocabularies.
        new_dir: Prepared data of `new`.

    Raises:
        ValueError: as `start`.
    """
    if type(old) is not type(new) or old.config != new.config:
        raise ValueError(
            f"--warm_start: the earlier run is {type(old).__name__} with {old.config}, this one "
            f"{type(new).__name__} with {new.config}; give the same --model and --set"
        )
    if old.info.rows != new.info.rows:
        raise ValueError(f"--warm_start: rows were by {old.info.rows}, are by {new.info.rows}")
    _refuse_other_fields(old.info, new, pathlib.Path(old_dir), pathlib.Path(new_dir))
    ids = {
        kind: moved(*(vocabulary.read(pathlib.Path(d) / file) for d in (old_dir, new_dir)))
        for kind, file in _FILES.items()
    }
    probe = _probe(new)
    axes = [_axes(v, p) for v, p in zip(new.variables, probe.variables, strict=True)]
    _carry(old.variables, new.variables, axes, ids)
    return ids


def _probe(model: Recommender) -> Recommender:
    """The same model for data with more users and more items."""
    more = {f"n_{kind}s": getattr(model.info, f"n_{kind}s") + n for kind, n in _MORE.items()}
    return type(model).create(dataclasses.replace(model.info, **more), model.config)


def _axes(variable, probed) -> list[str]:
    """What each axis runs over: "user", "item" or "", for neither.

    Raises:
        ValueError: an axis grows by another number.
    """
    kinds = {0: "", **{n: kind for kind, n in _MORE.items()}}
    grown = [q - p for p, q in zip(variable.shape, probed.shape, strict=True)]
    if any(n not in kinds for n in grown):
        raise ValueError(
            f"--warm_start: weight {variable.path} {list(variable.shape)} has an axis over users "
            "and items together, whose rows can not be told apart; train this model anew"
        )
    return [kinds[n] for n in grown]


def _carry(old: Sequence, new: Sequence, axes: Sequence[list[str]], ids: dict[str, Moved]) -> None:
    """Copies the rows of known ids from one list of variables to another."""
    if len(old) != len(new):
        raise ValueError(f"--warm_start: the earlier run has {len(old)} variables, not {len(new)}")
    for source, target, kinds in zip(old, new, axes, strict=True):
        if target.name == "seed_generator_state":  # the new run's own seed; not in `.keras` files
            continue
        places = [
            _places(source.path, kind, n_old, n_new, ids)
            for kind, n_old, n_new in zip(kinds, source.shape, target.shape, strict=True)
        ]
        values = keras.ops.convert_to_numpy(target).copy()
        taken = keras.ops.convert_to_numpy(source)
        values[np.ix_(*(new for _, new in places))] = taken[np.ix_(*(old for old, _ in places))]
        target.assign(values)


def _places(
    name: str, kind: str, n_old: int, n_new: int, ids: dict[str, Moved]
) -> tuple[np.ndarray, np.ndarray]:
    """Places on an old axis and on the new one that belong together.

    Places beyond the ids, such as the one of whoever is not known, belong together in order.
    """
    if kind:
        known = ids[kind]
        rest = n_new - known.n_new
        if rest == n_old - known.n_old:
            ends = np.arange(rest)
            return np.append(known.old, ends + known.n_old), np.append(
                known.new, ends + known.n_new
            )
    elif n_old == n_new:
        return np.arange(n_old), np.arange(n_new)
    raise ValueError(
        f"--warm_start: weight {name} has an axis of {n_old}, now {n_new}, which depends on the "
        "data in another way than by its users and items; train this model anew"
    )


def _refuse_other_fields(
    old: DatasetInfo, new: Recommender, old_dir: pathlib.Path, new_dir: pathlib.Path
) -> None:
    """Codes of side tables mean the same only where their vocabularies are the same."""
    if not any(variable.name.startswith("table") for variable in new.variables):
        return
    names = [vocabulary_file(field.name) for field in new.info.fields]
    files = [name for name in names if (new_dir / name).exists() or (old_dir / name).exists()]
    _, other, missing = filecmp.cmpfiles(old_dir, new_dir, files, shallow=False)
    if old.fields != new.info.fields or other or missing:
        raise ValueError(
            f"--warm_start: the side tables of {type(new).__name__} have other categories than "
            "those of the earlier run; train it anew"
        )

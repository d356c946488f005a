"""Warm start: continues the training of a model on data with other users and items.

Rows of weights and of optimizer slots are carried over by raw id, those of side information by
category; users, items and categories that the old model did not know keep the initial values of a
new model (slots: zeros; a moving average: the weights).

Which axes of a variable run over users, items or a field's codes is not guessed from its size: a
probe of the model is made for data with a few more of each, and the axes that grow by exactly that
many are theirs. A model with an axis that grows by another number is refused.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfrec.config import TrainConfig
from tfrec.models.base import Recommender
from tfrec.models.capabilities import SideTables
from tfrec.schema import Field
from tfrec.training import methods, moves, optimizers
from tfrec.training.runs import RunDir

_MORE = {"user": 7, "item": 13}
_MORE_CODES = 101  # of the first field, 102 of the second ...
_GROWS = ("category", "set", "bucket", "text", "day")  # fields whose size depends on the data
_CODES = "codes"  # the kind of an axis over the concatenated codes of all fields

Pair = tuple[np.ndarray, np.ndarray]  # positions on an old axis, and on the new one


def start(model: Recommender, data_dir: str, run_dir: str, train: TrainConfig) -> str:
    """Initializes a model, and its optimizer where both have one, from an earlier run.

    Args:
        model: A model for the data in `data_dir`, compiled, with a built optimizer.
        data_dir: Prepared data.
        run_dir: The earlier run, of the same model with the same settings.
        train: Training settings of `model`.

    Returns:
        A message about what was carried over.

    Raises:
        ValueError: the models differ, or have weights that cannot be carried over.
    """
    method = methods.method(type(model), model.config, train)
    if method is methods.ClosedForm:
        raise ValueError(
            f"--warm_start: {type(model).__name__} is solved in one pass, without initial "
            "weights; leave it out"
        )
    run = RunDir(run_dir)
    old = run.load_model(compiled=True)
    carry = transfer(old, model, run.data_dir(), data_dir)
    message = f"warm start from {run_dir}: {carry.message()}"
    if method is not methods.Steps or not _same_slots(old.optimizer, model.optimizer):
        return f"{message}; its optimizer starts from scratch"
    if train.average:
        _start_averages(model)
    optimizer = optimizers.make(train, carry.probe)
    optimizer.build(carry.probe.trainable_variables)
    carry(old.optimizer.variables, model.optimizer.variables, optimizer.variables)
    return message


def _same_slots(old: keras.Optimizer | None, new: keras.Optimizer) -> bool:
    """Whether two optimizers have the same slots."""
    return (
        old is not None
        and type(old).__name__ == type(new).__name__
        and type(_inner(old)).__name__ == type(_inner(new)).__name__
        and old.built
        and len(old.variables) == len(new.variables)
    )


def _inner(optimizer: keras.Optimizer) -> keras.Optimizer:
    """The optimizer itself, without a wrapper for loss scaling."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _start_averages(model: Recommender) -> None:
    """Starts the moving averages at the weights.

    Keras starts them at 0 and sets them in its first step, which the earlier run took.
    """
    averages = _inner(model.optimizer)._model_variables_moving_average
    for weight, average in zip(model.trainable_variables, averages, strict=True):
        average.assign(weight.numpy())


def transfer(
    old: Recommender, new: Recommender, old_dir: str | pathlib.Path, new_dir: str | pathlib.Path
) -> "Carry":
    """Carries the weights of `old` over to `new`; returns a `Carry` for their optimizers' slots.

    Args:
        old: A trained model.
        new: A model of the same class and settings on other data.
        old_dir: Prepared data of `old`, for its vocabularies.
        new_dir: Prepared data of `new`.

    Raises:
        ValueError: as in `start`.
    """
    if type(old) is not type(new) or old.config != new.config:
        raise ValueError(
            f"--warm_start: the earlier run is {type(old).__name__} with {old.config}, this one "
            f"{type(new).__name__} with {new.config}; give the same --model and --set"
        )
    if old.info.rows != new.info.rows:
        raise ValueError(f"--warm_start: rows were by {old.info.rows}, are by {new.info.rows}")
    names = [[(f.of, f.name, f.kind) for f in _fields(model)] for model in (old, new)]
    if names[0] != names[1]:
        olds, news = (", ".join(name for _, name, _ in side) for side in names)
        raise ValueError(
            f"--warm_start: the fields of the earlier run are {olds}, those of this one {news}, or "
            "of another kind; prepare the data with the same fields, or train this model from "
            "the start"
        )
    carry = Carry(old, new, pathlib.Path(old_dir), pathlib.Path(new_dir))
    given = {id(weight) for weight in new.data_weights}
    triples = zip(old.variables, new.variables, carry.probe.variables, strict=True)
    carry(*zip(*(t for t in triples if id(t[1]) not in given), strict=True))
    return carry


class Carry:
    """Copies the rows of known users, items and categories from one model's variables to another's.

    Args:
        old: A trained model.
        new: A model of the same class and settings on other data.
        old_dir: Prepared data of `old`.
        new_dir: Prepared data of `new`.
    """

    def __init__(
        self, old: Recommender, new: Recommender, old_dir: pathlib.Path, new_dir: pathlib.Path
    ):
        self.old, self.new = old, new
        self.moved = moves.read(old.info, new.info, old_dir, new_dir)
        self.more = _more(new)
        self.probe = _probe(new, self.more)

    def message(self) -> str:
        """What the earlier model knew, as text."""
        known = [
            f"{len(self.moved[kind].old):,} of {self.moved[kind].n_new:,} {kind}s"
            for kind in ("user", "item")
        ]
        lost = [
            field.name
            for field in _fields(self.new)
            if field.name in self.more and not len(self.moved[field.name].old)
        ]
        return f"knew {', '.join(known)}" + (
            f"; with other codes than before, so not carried over: {', '.join(lost)}"
            if lost
            else ""
        )

    def __call__(self, old: Sequence, new: Sequence, probed: Sequence) -> None:
        """Copies the matching rows.

        Args:
            old: Variables of the earlier model or of its optimizer.
            new: Those of the new one, in the same order.
            probed: Those of `probe`.

        Raises:
            ValueError: an axis depends on the data by more than users, items and categories.
        """
        for source, target, grown in zip(old, new, probed, strict=True):
            if target.name == "seed_generator_state":  # the new run's own; not in `.keras` files
                continue
            pairs = [self._pair(source, target, grown, axis) for axis in range(len(target.shape))]
            values = keras.ops.convert_to_numpy(target).copy()
            taken = keras.ops.convert_to_numpy(source)
            values[np.ix_(*(new for _, new in pairs))] = taken[np.ix_(*(old for old, _ in pairs))]
            target.assign(values)

    def _pair(self, source: Any, target: Any, grown: Any, axis: int) -> Pair:
        """The matching positions on an axis of a variable, before and now."""
        kind = self._kind(target, grown, axis)
        before, now = source.shape[axis], target.shape[axis]
        if kind == _CODES:
            return moves.of_codes(self.old.codes, self.new.codes, self.moved)
        if not kind and before == now:
            return np.arange(now), np.arange(now)
        if kind:
            # The unknown code of a field comes first, that of users and items without fields last.
            first = kind not in ("user", "item") or bool(_fields(self.new))
            pair = self.moved[kind].on_axis(before, now, first)
            if pair:
                return pair
        raise ValueError(
            f"--warm_start: weight {source.path} has an axis of {before}, now {now}, which depends "
            "on the data in another way than by its users, items and categories; train this model "
            "from the start"
        )

    def _kind(self, variable: Any, grown: Any, axis: int) -> str:
        """What an axis runs over: "user", "item", a field's name, all codes, or "" for neither.

        Raises:
            ValueError: it grows by another number.
        """
        now, then = variable.shape[axis], grown.shape[axis]
        if _fields(self.new) and (now, then) == (self.new.codes.size, self.probe.codes.size):
            return _CODES
        kinds = {0: "", **{n: kind for kind, n in self.more.items()}}
        if then - now not in kinds:
            raise ValueError(
                f"--warm_start: weight {variable.path} {list(variable.shape)} has an axis over "
                "users and items together, whose rows cannot be distinguished; train this model "
                "from the start"
            )
        return kinds[then - now]


def _fields(model: Recommender) -> tuple[Field, ...]:
    """The fields that a model reads as codes; () for all others."""
    return model.codes.fields if isinstance(model, SideTables) and model.codes else ()


def _more(model: Recommender) -> dict[str, int]:
    """Numbers of additional users, items and codes of each field of the probe."""
    growing = [field.name for field in model.info.fields if field.kind in _GROWS]
    return _MORE | {name: n for n, name in enumerate(growing, _MORE_CODES)}


def _probe(model: Recommender, more: dict[str, int]) -> Recommender:
    """The same model for data with that many more users, items and codes."""
    info = model.info
    fields = tuple(
        dataclasses.replace(field, size=field.size + more.get(field.name, 0))
        for field in info.fields
    )
    sizes = {f"n_{kind}s": getattr(info, f"n_{kind}s") + more[kind] for kind in _MORE}
    return type(model).create(dataclasses.replace(info, fields=fields, **sizes), model.config)

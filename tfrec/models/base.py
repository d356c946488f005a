"""What every model owes, and what it gets for it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfrec import config as config_lib
from tfrec import tasks
from tfrec.config import Search, Settings, TrainConfig
from tfrec.layers.list_order import ListOrder
from tfrec.layers.scoped import Scoped
from tfrec.models import clipping  # noqa: F401  so that saved optimizers load
from tfrec.models.capabilities import ItemRows
from tfrec.models.memory_estimate import MemoryEstimate
from tfrec.models.training_logs import TrainingLogs, float32
from tfrec.schema import PAD, DatasetInfo
from tfrec.tasks import Task

Features = Mapping[str, tf.Tensor]


class Recommender(MemoryEstimate, TrainingLogs, keras.Model):
    """A Keras model with a loss of its own, plus five conventions; `compile` takes the optimizer.

    A subclass says what it is (the class attributes), brings its numbers (a frozen
    `Config` and a `TrainConfig`), maps features to scores (`call`) and scores to one loss a
    row (`objective`). Where the loss needs more than scores, `forward` gives it. A subclass may
    override `train_step`, or `fit` if it needs no gradient.

    Features are a flat dict of dense tensors: `user` int32 `[batch]` (-1: nobody the model
    knows; in training and evaluation an empty row that fills the last batch), `items` int32
    `[batch, length]` (padding -1) and `values` float32 `[batch, length]`. Targets are
    `target_items` and `target_values`, `[batch, length]`; in training they are the row itself.

    Attributes:
        task: "rating", "ranking", "ctr" or a `Task`: how it is measured and served; where it
            depends on the settings, `task_for` says it. Of a model, the task's name.
        reads: "histories" or, of an `EventModel`, "events": picks the reader.
        max_items: How many of a history's newest items the model looks at, or None for all:
            training batches hold rows of like length, counted up to this.
        needs_ids: Whether the data must name users and items.
        knows_users: Whether a model of histories has weights of known users, too.
        closed_form: True where `fit` solves instead of descending.
        defaults: Training settings that work across data sets; a class that gives only `paper` has
            those.
        paper: Training settings of the paper, which presets start from.
        paper_settings: The paper's values of settings whose default in `Config` is another.
        search: Where `tfrec.tune` looks for settings of training, and for settings of the model's
            that are not to be searched for where `setting` says; None: it keeps its default.
        list_order: Of a model: what lists of the best items are ordered by, from its scores.
    """

    task: str | Task = "rating"
    reads: ClassVar[str] = "histories"
    max_items: ClassVar[int | None] = None
    needs_ids: ClassVar[bool] = True
    knows_users: ClassVar[bool] = False
    closed_form: ClassVar[bool] = False
    defaults: ClassVar[TrainConfig] = TrainConfig()
    paper: ClassVar[TrainConfig] = TrainConfig()
    paper_settings: ClassVar[Mapping[str, Any]] = {}
    search: ClassVar[Mapping[str, Search | None]] = {}

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """The model's numbers; the defaults are what works across data sets."""

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if "paper" in vars(cls) and "defaults" not in vars(cls):
            cls.defaults = cls.paper

    def __init__(self, info: DatasetInfo, config: Any = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.info = info
        self.config = self.settled(config or self.Config(), info)
        task = self.task_for(self.config)
        self.task = task.name if isinstance(task, Task) else task
        scale = (info.rating_min, info.rating_max) if self.task == "rating" else None
        self.list_order = ListOrder(info.n_items, scale, name="list_order")

    @classmethod
    def settled(cls, config: Any, info: DatasetInfo) -> Any:
        """The settings with those decided that say "auto", which leaves them to the data."""
        return config

    @classmethod
    def rows(cls, config: Any) -> str:
        """What a row is for this model, "user" or, of some `ItemRows`, "item".

        It must match the prepared data.
        """
        return "user"

    @classmethod
    def full_batch(cls, config: Any) -> bool:
        """Whether L-BFGS may minimise the loss over all rows (`--train optimizer=lbfgs`).

        With these settings the loss must draw no random numbers, in training either.
        """
        return False

    @classmethod
    def task_for(cls, config: Any) -> str | Task:
        """The task of this model with these settings, or its name; by default `task`."""
        return cls.task

    @property
    def task_object(self) -> Task:
        """All that depends on the task."""
        return tasks.get(self.task_for(self.config))

    @classmethod
    def create(cls, info: DatasetInfo, config: Any = None, **kwargs: Any) -> "Recommender":
        """Builds the model and makes its variables by real calls, one for scores, one for training.

        Raises:
            ValueError: the data was prepared with rows of the other kind, has no ids, or does not
                fit the task, such as ratings that are all the same.
        """
        if cls.needs_ids and not info.has_ids:
            raise ValueError(
                f"{cls.__name__} learns users and items, {info.name} names neither: use a model of "
                "fields, such as --model=deepfm"
            )
        model = cls(info, config, **kwargs)
        wanted = cls.rows(model.config)
        if wanted != info.rows:
            raise ValueError(
                f"{cls.__name__} with these settings reads rows by {wanted}, the data is prepared "
                f"with rows by {info.rows}: prepare another --data_dir with --data rows={wanted}"
                + (f", or train with --set rows={info.rows}" if isinstance(model, ItemRows) else "")
            )
        model.task_object.check(info, cls.__name__, hasattr(model.config, "task"))
        model(model.empty_features())
        model.run_forward(model.empty_features())  # may have variables that scores do without
        return model

    @staticmethod
    def empty_features(batch: int = 1) -> dict[str, tf.Tensor]:
        """Features of `batch` rows without any rating."""
        return {
            "user": tf.fill([batch], PAD),
            "items": tf.fill([batch, 1], PAD),
            "values": tf.zeros([batch, 1]),
        }

    @property
    def undecayed(self) -> list[keras.Variable]:
        """Trainable weights that `--train weight_decay` spares.

        Biases hold means, and the gains and shifts of normalization a scale: 0 is no sensible value
        of theirs. By default these are all weights with "bias" in the name or fewer than two axes.
        """
        return [w for w in self.trainable_variables if "bias" in w.name or len(w.shape) < 2]

    @property
    def given(self) -> list[keras.Variable]:
        """Weights that hold data, nothing learned: a warm start leaves the new model's own."""
        return []

    @property
    def uses_values(self) -> bool:
        """Whether values of interactions count, or only that there are any: then a run says so.

        By default models of rankings do not use them; one that does has `uses_values = True`.
        """
        return not self.task_object.ranks

    @property
    def usual_value(self) -> float:
        """The value of an item that a request names without one."""
        return self.info.rating_max

    @property
    def training_rows(self) -> int:
        """Rows with something to train on, at least 1: what a loss summed over rows is divided by.

        A model that is trained again on train + validation (`--train refit`) keeps those of train.
        """
        return max(1, self.info.row_counts.get("train", self.info.n_rows))

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        """Scores of all columns, `[batch, n_columns]`; by default the first part of `forward`."""
        return self.forward(features, training)[0]

    def forward(self, features: Features, training: bool = False) -> Any:
        """All that `objective` needs; by default what `call` gives.

        Where training needs more than scores (states at positions, KL terms, scores of sampled
        items), it is a tuple of tensors. Others than `call` run it by `run_forward`.
        """
        if type(self).call is Recommender.call:
            raise NotImplementedError(f"{type(self).__name__} has neither `call` nor `forward`")
        return self(features, training=training)

    def run_forward(self, features: Features, training: bool = False) -> Any:
        """`forward` as Keras runs `call`: under mixed precision with its casts."""
        run = Scoped(self.forward, dtype=self.dtype_policy, name=self.name)
        return run(features, training=training)

    def objective(self, features: Features, targets: Features, scores: Any) -> tf.Tensor:
        """One loss a row, float32 `[batch]`; `scores` is all that `forward` gave, in float32."""
        raise NotImplementedError

    def begin_epoch(self, epoch: int, rows: tf.data.Dataset) -> None:
        """Called by the loop before each pass; most models have nothing to do here.

        Args:
            epoch: From 0; a resumed run goes on where it was.
            rows: All training rows, not yet distributed; the last batch may be filled up. In Keras'
                own `fit` the batches that it was given.
        """

    def fit(
        self,
        x: Any = None,
        *args: Any,
        callbacks: Sequence[keras.callbacks.Callback] | None = (),
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Keras' `fit`, which calls `begin_epoch` as tfrec's loop does.

        Some models read `x` in it: it must end.
        """
        begin = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: self.begin_epoch(epoch, x)
        )
        return super().fit(x, *args, callbacks=[*(callbacks or ()), begin], **kwargs)

    def score(self, features: Features) -> tf.Tensor:
        """What evaluation and serving rank and report: `call`'s scores in float32."""
        return tf.cast(self(features, training=False), tf.float32)

    def item_vectors(self) -> tf.Tensor | None:
        """Vectors whose cosine says how alike items are, `[n_items, size]`; None: it has none."""
        return None

    def compile(
        self,
        optimizer: str | keras.Optimizer = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **options: Any,
    ) -> None:
        """Keras' `compile`, of the optimizer and how steps are run (`run_eagerly` and the like).

        Raises:
            ValueError: a loss or metrics are given.
        """
        given = {
            **{"loss": loss, "loss_weights": loss_weights},
            **{"metrics": metrics, "weighted_metrics": weighted_metrics},
        }
        for name, value in given.items():
            if value:
                raise ValueError(
                    f"compile({name}={value!r}): {type(self).__name__} has a loss of its own, and "
                    "reports measure it (Run.evaluate, tfrec.metrics): give the optimizer only"
                )
        super().compile(optimizer, **options)

    def compile_from_config(self, config: dict) -> None:
        """As Keras', which leaves a model with a `compile` of its own uncompiled."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Keras' step, with `forward` in the place of `call`."""
        features, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            outputs = self.run_forward(features, training=True)
            loss = self.compute_loss(features, targets, outputs)
            self._count_loss(loss, features)
            loss = self.optimizer.scale_loss(loss)
        weights = self.trainable_weights
        self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return self.training_logs(features, targets, outputs)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Keras' step, with `forward` in the place of `call`."""
        features, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        outputs = self.run_forward(features)
        self._count_loss(self.compute_loss(features, targets, outputs, training=False), features)
        return self.compute_metrics(features, targets, outputs)

    def _count_loss(self, loss: tf.Tensor, features: Features) -> None:
        """Adds this replica's loss to the mean that is logged."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        n_rows = tf.shape(features["user"])[0]
        self._loss_tracker.update_state(loss * replicas, sample_weight=n_rows)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Mean of `objective` over the real rows, plus `add_loss` terms, for this replica.

        Gradients are summed over replicas, so both are divided by their number here, once
        and for all models.
        """
        del sample_weight
        y_pred = tf.nest.map_structure(float32, y_pred)
        rows = self.objective(x, y, y_pred)
        real = tf.cast(x["user"] >= 0, tf.float32)
        mean = tf.math.divide_no_nan(tf.reduce_sum(rows * real), tf.reduce_sum(real))
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        terms = self.losses
        added = tf.add_n([0.0, *terms])
        if training and terms:
            self.logged_means["regularization"].update_state(added)
        return (mean + added) / replicas

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, tf.Tensor]:
        """The loss only: `training_logs` adds its parts, and reports are measured elsewhere."""
        return {"loss": self._loss_tracker.result()}

    def get_config(self) -> dict[str, Any]:
        """All that `from_config` needs: the data's `info.json` and the model's settings."""
        return {
            **super().get_config(),
            "info": self.info.to_dict(),
            "config": config_lib.to_dict(self.config),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict | None = None
    ) -> "Recommender":
        """The inverse of `get_config`; the model comes back built."""
        fields = dict(config)
        info = DatasetInfo.from_dict(fields.pop("info"))
        settings = config_lib.from_dict(cls.Config, fields.pop("config"))
        return cls.create(info, settings, **fields)

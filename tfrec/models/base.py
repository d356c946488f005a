"""The base class of all models."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfrec import config as config_lib
from tfrec import tasks
from tfrec.config import Search, Settings, TrainConfig
from tfrec.layers.function_layer import FunctionLayer
from tfrec.layers.list_order import ListOrder
from tfrec.models import clipping  # noqa: F401  so that saved optimizers load
from tfrec.models.capabilities import ItemRows
from tfrec.models.memory_estimate import MemoryEstimate
from tfrec.models.training_logs import TrainingLogs, float32
from tfrec.schema import PAD, DatasetInfo
from tfrec.tasks import Task

Features = Mapping[str, tf.Tensor]


class Recommender(MemoryEstimate, TrainingLogs, keras.Model):
    """A Keras model that defines its own loss; `compile` takes only the optimizer.

    A subclass sets the class attributes below, has its hyperparameters in a frozen dataclass
    `Config`, maps features to scores (`call`) and scores to one loss for each row (`objective`).
    Where the loss needs more than the scores, `forward` returns it. A subclass may override
    `train_step`, or `fit` if it is not trained by gradient descent.

    Features are a flat dict of dense tensors: `user` int32 `[batch]` (-1: an unknown user; in
    training and evaluation an empty row that fills up the last batch), `items` int32
    `[batch, length]` (padding -1) and `values` float32 `[batch, length]`; a model that reads times
    gets two more, see `reads_times`. Targets are `target_items` and `target_values`, `[batch,
    length]`; in training they are the row itself.

    Attributes:
        task: "rating", "ranking", "ctr" or a `Task`: how the model is evaluated and served. Where
            it depends on the settings, `task_for` returns it. On an instance, the task's name.
        reads: "histories" or, for an `EventModel`, "events": the kind of input.
        max_items: Maximum number of a history's newest items that the model reads, or None for all.
            Training batches hold rows of similar length, counted up to this.
        reads_times: Whether a model of histories reads times: features then have `times`, int64
            `[batch, length]` in seconds since 1970, and `ask_time`, int64 `[batch]`, the time for
            which scores are wanted. `schema.NO_TIME` is an unknown time, and the padding. Where
            the features have neither, as in a request without times, the model must score, too.
        needs_ids: Whether the data must have user and item ids.
        knows_users: Whether a model of histories also has weights for each known user.
        closed_form: Whether `fit` solves in closed form instead of by gradient descent.
        defaults: Training settings that work across data sets; by default `paper`.
        paper: Training settings of the paper, which presets start from.
        paper_settings: Settings of `Config` for which the paper has another value than the default.
        search: Search spaces of `tfrec.tune` by name, for training settings, and for the model's
            settings if they differ from those in `setting`; None: not searched.
        list_order: On an instance, the layer that orders recommendation lists from scores.
        exact_loss: On an instance, whether the loss is that of evaluation: of all items, where
            training samples some. Set by `compute_loss`, for `objective`.
    """

    task: str | Task = "rating"
    reads: ClassVar[str] = "histories"
    max_items: ClassVar[int | None] = None
    reads_times: ClassVar[bool] = False
    needs_ids: ClassVar[bool] = True
    knows_users: ClassVar[bool] = False
    closed_form: ClassVar[bool] = False
    defaults: ClassVar[TrainConfig] = TrainConfig()
    paper: ClassVar[TrainConfig] = TrainConfig()
    paper_settings: ClassVar[Mapping[str, Any]] = {}
    search: ClassVar[Mapping[str, Search | None]] = {}

    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        """The model's hyperparameters; the defaults work across data sets."""

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
        self.exact_loss = False

    @classmethod
    def settled(cls, config: Any, info: DatasetInfo) -> Any:
        """The settings, with "auto" replaced by values that depend on the data."""
        return config

    @classmethod
    def rows(cls, config: Any) -> str:
        """Whether rows are by "user" or, for some `ItemRows`, by "item".

        The prepared data must match.
        """
        return "user"

    @classmethod
    def full_batch(cls, config: Any) -> bool:
        """Whether L-BFGS may minimise the loss over all rows (`--train optimizer=lbfgs`).

        The loss must be deterministic with these settings, in training, too.
        """
        return False

    @classmethod
    def task_for(cls, config: Any) -> str | Task:
        """The task with these settings, or its name; by default `task`."""
        return cls.task

    @property
    def task_object(self) -> Task:
        """The task, as an object."""
        return tasks.get(self.task_for(self.config))

    @classmethod
    def create(cls, info: DatasetInfo, config: Any = None, **kwargs: Any) -> "Recommender":
        """Makes a model and builds its variables, by one call for scores and one for training.

        Raises:
            ValueError: the data has rows of the other kind, no ids, or no times that the model
                reads; or it does not fit the task, as where all ratings are the same.
        """
        if cls.needs_ids and not info.has_ids:
            raise ValueError(
                f"{cls.__name__} needs user and item ids, which {info.name} does not have: use a "
                "model of fields, such as --model=deepfm"
            )
        model = cls(info, config, **kwargs)
        wanted = cls.rows(model.config)
        if wanted != info.rows:
            raise ValueError(
                f"{cls.__name__} with these settings reads rows by {wanted}, the data is prepared "
                f"with rows by {info.rows}: prepare another --data_dir with --data rows={wanted}"
                + (f", or train with --set rows={info.rows}" if isinstance(model, ItemRows) else "")
            )
        if model.reads_times and not info.has_times:
            raise ValueError(
                f"{cls.__name__} with these settings reads times, which {info.name} does not have: "
                + ("train with --set time_bias=false, or " * hasattr(model.config, "time_bias"))
                + "prepare data with times"
            )
        model.task_object.check(info, cls.__name__, hasattr(model.config, "task"))
        model(model.empty_features())
        model.run_forward(model.empty_features())  # may have variables that scores do not need
        return model

    def build(self, input_shape: Any = None) -> None:
        """Nothing: the first call makes the variables. Keras would trace `call` for them before."""
        self.built = True

    @staticmethod
    def empty_features(batch: int = 1) -> dict[str, tf.Tensor]:
        """Features of `batch` empty rows."""
        return {
            "user": tf.fill([batch], PAD),
            "items": tf.fill([batch, 1], PAD),
            "values": tf.zeros([batch, 1]),
        }

    @property
    def undecayed(self) -> list[keras.Variable]:
        """Trainable weights that are excluded from weight decay.

        Biases, and the gains and shifts of normalization, should not shrink towards 0. By default
        these are all weights with "bias" in the name or fewer than two axes.
        """
        return [w for w in self.trainable_variables if "bias" in w.name or len(w.shape) < 2]

    @property
    def data_weights(self) -> list[keras.Variable]:
        """Weights that hold data, not learned values: a warm start keeps those of the new model."""
        return []

    @property
    def uses_values(self) -> bool:
        """Whether the values of interactions matter; if not, the protocol of a run says so.

        By default ranking models do not use them; one that does has `uses_values = True`.
        """
        return not self.task_object.ranks

    @property
    def usual_value(self) -> float:
        """The value of an item that a request gives without one."""
        return self.info.rating_max

    @property
    def training_rows(self) -> int:
        """Number of training rows, at least 1, by which a loss summed over rows is divided.

        With `--train refit` it stays that of train, although the model is trained on train +
        validation.
        """
        return max(1, self.info.row_counts.get("train", self.info.n_rows))

    def call(self, features: Features, training: bool = False) -> tf.Tensor:
        """Scores of all columns, `[batch, n_columns]`; by default the first output of `forward`."""
        return self.forward(features, training)[0]

    def forward(self, features: Features, training: bool = False) -> Any:
        """The outputs that `objective` needs; by default the scores.

        Where the loss needs more than scores (hidden states, KL terms, scores of sampled items), it
        is a tuple of tensors. Outside of `call` it is run by `run_forward`.
        """
        if type(self).call is Recommender.call:
            raise NotImplementedError(f"{type(self).__name__} has neither `call` nor `forward`")
        return self(features, training=training)

    def run_forward(self, features: Features, training: bool = False) -> Any:
        """`forward` under the model's dtype policy, as Keras runs `call`."""
        run = FunctionLayer(self.forward, dtype=self.dtype_policy, name=self.name)
        return run(features, training=training)

    def objective(self, features: Features, targets: Features, scores: Any) -> tf.Tensor:
        """The loss of each row, float32 `[batch]`, from the float32 outputs of `forward`."""
        raise NotImplementedError

    def begin_epoch(self, epoch: int, rows: tf.data.Dataset) -> None:
        """Called before each epoch; does nothing by default.

        Args:
            epoch: Counted from 0; a resumed run continues the count.
            rows: Batches of all training rows, not distributed over replicas; the last one may be
                filled up with empty rows. In Keras' own `fit`, its input.
        """

    def fit(
        self,
        x: Any = None,
        *args: Any,
        callbacks: Sequence[keras.callbacks.Callback] | None = (),
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """Keras' `fit`, with `begin_epoch` called before each epoch, as in tfrec's loop.

        Some models iterate over `x` there, so it must be finite.
        """
        begin = keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: self.begin_epoch(epoch, x)
        )
        return super().fit(x, *args, callbacks=[*(callbacks or ()), begin], **kwargs)

    def score(self, features: Features) -> tf.Tensor:
        """Scores for evaluation and serving: those of `call` in float32."""
        return tf.cast(self(features, training=False), tf.float32)

    def item_vectors(self) -> tf.Tensor | None:
        """Vectors for item similarity by cosine, `[n_items, size]`, or None if there are none."""
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
        """Keras' `compile`, for the optimizer and options such as `run_eagerly`.

        Raises:
            ValueError: a loss or metrics are given.
        """
        refused = dict(
            loss=loss,
            loss_weights=loss_weights,
            metrics=metrics,
            weighted_metrics=weighted_metrics,
        )
        for name, value in refused.items():
            if value:
                raise ValueError(
                    f"compile({name}={value!r}): {type(self).__name__} defines its own loss and "
                    "is measured by reports (Run.evaluate, tfrec.metrics): give the optimizer only"
                )
        super().compile(optimizer, **options)

    def compile_from_config(self, config: dict) -> None:
        """Compiles a loaded model; Keras' default skips classes that override `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Keras' step, with `forward` instead of `call`."""
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
        """Keras' step, with `forward` instead of `call`."""
        features, targets, _ = keras.utils.unpack_x_y_sample_weight(data)
        outputs = self.run_forward(features)
        self._count_loss(self.compute_loss(features, targets, outputs, training=False), features)
        return self.compute_metrics(features, targets, outputs)

    def _count_loss(self, loss: tf.Tensor, features: Features) -> None:
        """Adds this replica's loss to the logged mean."""
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

        Gradients are summed over replicas, so the loss is divided by their number here.
        """
        del sample_weight
        self.exact_loss = not training
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
        """Arguments of `from_config`: the data's `info.json` and the model's settings."""
        return {
            **super().get_config(),
            "info": self.info.to_dict(),
            "config": config_lib.to_dict(self.config),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict | None = None
    ) -> "Recommender":
        """The inverse of `get_config`; the model is built."""
        fields = dict(config)
        info = DatasetInfo.from_dict(fields.pop("info"))
        settings = config_lib.from_dict(cls.Config, fields.pop("config"))
        return cls.create(info, settings, **fields)

"""`--strategy`: one device, all devices of a machine, or several workers."""

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf

from tfrec.config import known_names

STRATEGIES = ("one", "mirrored", "multiworker")


def make(name: str = "one", replicas: int = 0) -> tf.distribute.Strategy:
    """Makes the strategy; call it once in a process, before any other call of TensorFlow.

    Args:
        name: "one", "mirrored" or "multiworker" (`TF_CONFIG` lists the workers).
        replicas: mirrored: number of devices, 0 for all GPUs. On a machine without a GPU the
            CPU is split into that many logical devices (0: 2), which is useful for tests only.

    Raises:
        ValueError: unknown name, or more replicas than GPUs.
    """
    if name == "one":
        return tf.distribute.get_strategy()
    if name == "multiworker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name != "mirrored":
        raise ValueError(f"--strategy={name!r} is unknown; " + known_names(name, STRATEGIES))
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if replicas > len(gpus):
            raise ValueError(f"--replicas={replicas}, but there are {len(gpus)} GPUs")
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(replicas or len(gpus))])
    names = split_cpu(replicas or 2)
    # The default collectives abort on logical CPUs as soon as two steps overlap.
    return tf.distribute.MirroredStrategy(
        names, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def split_cpu(parts: int) -> list[str]:
    """Splits the CPU into logical devices (if not done yet); returns their names."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    if not tf.config.get_logical_device_configuration(cpu):
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * parts
        )
    return [f"CPU:{i}" for i in range(parts)]


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes the files of the run."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    return resolver.task_type == "chief" or (
        resolver.task_type == "worker" and resolver.task_id == 0
    )


def is_multiworker(strategy: tf.distribute.Strategy) -> bool:
    """Whether the run has several workers."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Waits until all workers have called this."""
    if not is_multiworker(strategy):
        return

    sum_of_all(strategy, tf.constant(1.0))


def any_of_all(strategy: tf.distribute.Strategy, here: bool) -> bool:
    """Whether `here` is true in any worker; all workers must call it."""
    return bool(sum_of_all(strategy, tf.constant(float(here))) > 0)


def sum_of_all(strategy: tf.distribute.Strategy, value: tf.Tensor) -> tf.Tensor:
    """The sum of a tensor over all replicas; all workers must call it."""
    return _summing(strategy)(value)


@functools.lru_cache(maxsize=4)
def _summing(strategy: tf.distribute.Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function behind `sum_of_all`, traced once: it is called often."""

    @tf.function(autograph=False)
    def total(value: tf.Tensor) -> tf.Tensor:
        return strategy.reduce("SUM", strategy.run(lambda: value), axis=None)

    return total


@contextlib.contextmanager
def chief_first(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Runs the block in the chief's process, then in all others."""
    if not is_chief(strategy):
        wait_for_all(strategy)
    yield
    if is_chief(strategy):
        wait_for_all(strategy)


def distribute(strategy: tf.distribute.Strategy, dataset: tf.data.Dataset) -> Iterable:
    """The batches of a dataset, distributed to the devices.

    Strategies of several devices prefetch batches to them; this does the same for one GPU.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if strategy is tf.distribute.get_strategy() and gpus:
        return dataset.apply(tf.data.experimental.prefetch_to_device(gpus[0].name))
    return strategy.experimental_distribute_dataset(dataset)


def run_on_next(
    strategy: tf.distribute.Strategy,
    function: Callable,
    batches: Iterator,
    take: Callable[[Iterator], Any] = next,
) -> Any:
    """Calls `function` on each replica's next batch, in a graph, once the batch is available.

    The batch is `take(batches)`. Without the control dependency, ops that need no batch, such as a
    regularizer, are running when the end of the dataset aborts a step. In large graphs TensorFlow's
    memory optimizer gives sums temporary variables, which would then be left behind, and the next
    step fails: "Resource __per_step_0/.../tmp_var" exists already.
    """

    def on_replica(batch: Any) -> Any:
        with tf.control_dependencies(tf.nest.flatten(batch)):
            return function(batch)

    return strategy.run(on_replica, args=(take(batches),))


def steps(function: Callable[[Any], Any], batches: Iterable) -> Iterator[Any]:
    """Yields `function(iterator)`, which takes the next batch, until there are no more."""
    iterator = iter(batches)
    while True:
        try:
            yield function(iterator)
        except tf.errors.OutOfRangeError:
            return

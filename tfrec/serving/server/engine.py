"""One SavedModel in a session of its own: loaded, run, closed.

The loader is TensorFlow 1's, which restores what the C++ loader of TensorFlow Serving restores;
`tf.saved_model.load` would also answer from exports that fail there. A session feeds and fetches
by the names in the signature, has a time limit for a run, and frees all tables and variables
when it is closed.
"""

import dataclasses
import pathlib
import threading

import numpy as np
import tensorflow as tf

from tfrec.serving.server.errors import ServingError, invalid, of_tensorflow

DEFAULT_SIGNATURE = "serving_default"
INTERNAL = "__saved_model_"  # signatures that nobody asks


@dataclasses.dataclass(frozen=True)
class Call:
    """What is run: arrays under the graph's tensor names.

    Attributes:
        feeds: Names of the inputs, sorted by their aliases.
        arrays: As many.
        fetches: Names of the outputs.
    """

    feeds: tuple[str, ...]
    arrays: tuple[np.ndarray, ...]
    fetches: tuple[str, ...]


class SavedModel:
    """A loaded version.

    Args:
        path: The version's folder.
        tags: Of the graph to load.
        config: Of the session.

    Raises:
        ServingError: it can not be loaded.
    """

    def __init__(self, path: pathlib.Path, tags: list[str], config: tf.compat.v1.ConfigProto):
        self.path = path
        self._lock, self._callables = threading.Lock(), {}
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph, config=config)
        try:
            with graph.as_default():
                loaded = tf.compat.v1.saved_model.loader.load(self._session, tags, str(path))
        except tf.errors.OpError as error:
            self._session.close()
            raise of_tensorflow(error) from None
        except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
            self._session.close()
            raise ServingError("NOT_FOUND", f"{path} is no SavedModel: {error}") from None
        self.signatures = {
            name: signature
            for name, signature in loaded.signature_def.items()
            if not name.startswith(INTERNAL)
        }

    def _callable(self, feeds: tuple[str, ...], fetches: tuple[str, ...]):
        """The session's prepared run; as many as signatures and choices of outputs."""
        with self._lock:
            if (feeds, fetches) not in self._callables:
                self._callables[feeds, fetches] = self._session.make_callable(
                    list(fetches), list(feeds), accept_options=True
                )
            return self._callables[feeds, fetches]

    def run(self, call: Call, milliseconds: int | None = None) -> list[np.ndarray]:
        """Answers a call.

        Args:
            call: The call.
            milliseconds: Time limit.

        Returns:
            An array a fetch.

        Raises:
            ServingError: TensorFlow's own word.
        """
        options = milliseconds and tf.compat.v1.RunOptions(timeout_in_ms=milliseconds)
        try:
            return self._callable(call.feeds, call.fetches)(*call.arrays, options=options)
        except tf.errors.OpError as error:
            raise of_tensorflow(error) from None
        except (ValueError, TypeError) as error:  # Python's own check of shapes
            raise invalid(str(error)) from None

    def close(self) -> None:
        """Frees the session."""
        self._session.close()

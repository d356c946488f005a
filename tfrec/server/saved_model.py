"""Loads one SavedModel in its own session, runs and closes it.

The loader is that of TensorFlow 1, which restores what the C++ loader of TensorFlow Serving
restores; `tf.saved_model.load` would also run exports that fail there. Calls go to the C session
(`TF_SessionRun`) as in TensorFlow Serving: no check in Python refuses inputs that the graph
accepts, or hides its errors. A session has a time limit for a run, and frees all tables and
variables when it is closed.
"""

import contextlib
import dataclasses
import pathlib

import numpy as np
import tensorflow as tf
from tensorflow.python.client import pywrap_tf_session as c_api

from tfrec.server.errors import ServingError, invalid, of_tensorflow

DEFAULT_SIGNATURE = "serving_default"
INTERNAL = "__saved_model_"  # internal signatures


@dataclasses.dataclass(frozen=True)
class Call:
    """Inputs and outputs of a run, by the graph's tensor names.

    Attributes:
        feeds: Names of the inputs, sorted by their aliases.
        arrays: Their values.
        fetches: Names of the outputs.
    """

    feeds: tuple[str, ...]
    arrays: tuple[np.ndarray, ...]
    fetches: tuple[str, ...]


class SavedModel:
    """A loaded version.

    Args:
        path: The version's folder.
        tags: Tags of the graph to load.
        config: Configuration of the session.

    Raises:
        ServingError: it cannot be loaded.
    """

    def __init__(self, path: pathlib.Path, tags: list[str], config: tf.compat.v1.ConfigProto):
        self.path = path
        self._graph, self._tensors = tf.Graph(), {}
        self._session = tf.compat.v1.Session(graph=self._graph, config=config)
        try:
            with self._graph.as_default():
                loaded = tf.compat.v1.saved_model.loader.load(self._session, tags, str(path))
            self._session._extend_graph()  # passes the graph to the C session
        except tf.errors.OpError as error:
            self._session.close()
            raise of_tensorflow(error) from None
        except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
            self._session.close()
            raise ServingError("NOT_FOUND", f"{path} is not a SavedModel: {error}") from None
        self.signatures = {
            name: signature
            for name, signature in loaded.signature_def.items()
            if not name.startswith(INTERNAL)
        }

    def _tensor(self, name: str):
        """A tensor of the graph, in the form of the C session."""
        if name not in self._tensors:
            try:
                self._tensors[name] = self._graph.get_tensor_by_name(name)._as_tf_output()
            except (KeyError, ValueError):
                text = f"Tensor {name}, specified in either feed_devices or fetch_devices was not"
                raise invalid(f"{text} found in the Graph") from None
        return self._tensors[name]

    def run(self, call: Call, milliseconds: int | None = None) -> list[np.ndarray]:
        """Runs a call.

        Args:
            call: The call.
            milliseconds: Time limit.

        Returns:
            An array for each fetch.

        Raises:
            ServingError: with TensorFlow's message.
        """
        feeds = dict(zip(map(self._tensor, call.feeds), call.arrays, strict=True))
        fetches = [self._tensor(name) for name in call.fetches]
        with _options(milliseconds) as options:
            try:
                found = self._session._call_tf_sessionrun(options, feeds, fetches, [], None)
            except tf.errors.OpError as error:
                raise of_tensorflow(error) from None
            except UnicodeDecodeError as error:  # the message quotes bytes of the request
                raise invalid(error.object.decode(errors="replace")) from None
        return [_array(value) for value in found]

    def close(self) -> None:
        """Frees the session."""
        self._session.close()


@contextlib.contextmanager
def _options(milliseconds: int | None):
    """RunOptions in the form of the C session."""
    if milliseconds is None:
        yield None
        return
    serialized = tf.compat.v1.RunOptions(timeout_in_ms=milliseconds).SerializeToString()
    buffer = c_api.TF_NewBufferFromString(serialized)
    try:
        yield buffer
    finally:
        c_api.TF_DeleteBuffer(buffer)


def _array(value) -> np.ndarray:
    """A result as an array; scalars are Python or NumPy scalars."""
    if isinstance(value, np.ndarray):
        return value
    return np.array(value, object if isinstance(value, bytes) else None)

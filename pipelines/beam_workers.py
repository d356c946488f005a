"""Worker processes of Beam's in-process runner: if one dies, the run ends with an error.

Beam starts them for `direct_running_mode=multi_processing`, and waits for their responses. It does
not notice that a process has died (2.77), and would wait forever. The handler here does notice.
"""

import os
import shlex
import signal
import subprocess
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from google.protobuf import json_format, text_format

_EVERY = 0.2  # seconds
_CURE = (
    "Run the same command again: it resumes after the finished steps. If memory ran out, use fewer "
    "workers: --beam direct_num_workers=1"
)


def register() -> None:
    """Lets Beam's in-process runner start its worker processes with `WorkerProcess`."""
    registering = worker_handlers.WorkerHandler.register_environment
    registering(python_urns.SUBPROCESS_SDK, bytes)(WorkerProcess)


class WorkerProcess(worker_handlers.SubprocessSdkWorkerHandler):
    """A worker process and the connections to it.

    If it ends before the run does, all other workers of the run are killed, and all requests to
    them fail with a ChildProcessError.
    """

    _open: "list[WorkerProcess]" = []  # of all runs in this process

    def start_worker(self) -> None:
        self._ends, self._error = threading.Event(), None
        for connection, name in ((self.control_conn, "set_input"), (self.data_conn, "set_inputs")):
            self._wrap(connection, name)
        descriptors = {
            "CONTROL_API_SERVICE_DESCRIPTOR": self.control_api_service_descriptor(),
            "LOGGING_API_SERVICE_DESCRIPTOR": self.logging_api_service_descriptor(),
        }
        environment = {k: text_format.MessageToString(v) for k, v in descriptors.items()}
        options = self.provision_info.provision_info.pipeline_options
        environment |= {
            "PIPELINE_OPTIONS": json_format.MessageToJson(options),
            "WORKER_ID": self.worker_id,
        }
        command = shlex.split(self._worker_command_line.decode())
        self.process = subprocess.Popen(command, env=os.environ | environment)
        self._open.append(self)
        threading.Thread(target=self._watch, name="beam_worker_watch", daemon=True).start()

    def _wrap(self, connection: Any, name: str) -> None:
        """Reads a connection through `_until_broken`."""
        read = getattr(connection, name)
        setattr(connection, name, lambda messages: read(self._until_broken(messages)))

    def _until_broken(self, messages: Iterable[Any]) -> Iterator[Any]:
        """The messages of the process; a broken connection is reported by `_watch`, not by Beam."""
        try:
            yield from messages
        except grpc.RpcError:
            self.process.kill()
            self._ends.wait()

    def _watch(self) -> None:
        """Waits for the end of the process; the run fails if it is not finished by then."""
        status = self.process.wait()
        if self._ends.is_set():
            return
        error = self._error or ChildProcessError(
            f"a worker process of Beam (pid {self.process.pid}) {_how(status)} before its work was "
            f"done; its unfinished output is discarded. {_CURE}"
        )
        while not self._ends.wait(_EVERY):  # others may be started, or get requests, only now
            for other in self._open[:]:
                if other._grpc_server is self._grpc_server:
                    other._error = other._error or error
                    other.process.kill()
            self._answer(error)

    def _answer(self, error: Exception) -> None:
        """Fails all pending requests, for callers that wait and callers that poll."""
        answer = beam_fn_api_pb2.InstructionResponse(error=str(error))
        for future in list(self.control_conn._futures_by_id.values()):
            future.abort(error)
            future.set(answer)

    def stop_worker(self) -> None:
        self.process.wait()

    def close(self) -> None:
        self._ends.set()
        self._open.remove(self)
        super().close()


def _how(status: int) -> str:
    """A description of a process's exit status."""
    if status < 0:
        names = {int(one): one.name for one in signal.Signals}
        return f"was killed by {names.get(-status, f'signal {-status}')}"
    return f"ended with status {status}"

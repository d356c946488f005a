"""The versions of one model: those in its folder, those loaded and those available."""

import contextlib
import dataclasses
import pathlib
import re
import threading
import time
from collections.abc import Callable, Iterator

from tfrec.server.batching import Batcher
from tfrec.server.errors import ServingError
from tfrec.server.saved_model import Call, SavedModel

START, LOADING, AVAILABLE, UNLOADING, END = 10, 20, 30, 40, 50  # ModelVersionStatus.State


class Servable:
    """An available version.

    Its users hold leases; it is closed when the last lease ends.

    Args:
        name: The model's name.
        version: Number of the version.
        model: The loaded SavedModel.
        pool: Runs functions off the event loop: `await pool(function, *args)`.
    """

    def __init__(self, name: str, version: int, model: SavedModel, pool: Callable):
        self.name, self.version, self.model = name, version, model
        self.batcher: Batcher | None = None
        self._pool = pool
        self._leases, self._changed = 0, threading.Condition()

    def take(self) -> None:
        """Takes a lease."""
        with self._changed:
            self._leases += 1

    def give_back(self) -> None:
        """Ends a lease."""
        with self._changed:
            self._leases -= 1
            self._changed.notify_all()

    async def run(self, call: Call, deadline: float | None):
        """Runs a call, in a batch if batching is on.

        Args:
            call: The call.
            deadline: On the clock of `time.monotonic`, or None.

        Returns:
            An array for each fetch.
        """
        if self.batcher and call.arrays:
            return await self.batcher.run(call, deadline)
        return await self.run_now(call, milliseconds_to(deadline))

    async def run_now(self, call: Call, milliseconds: int | None):
        """Runs a call without batching."""
        # A run continues in its thread if the client disconnects, so it has its own lease.
        self.take()
        return await self._pool(self.model.run, call, milliseconds, after=self.give_back)

    def close(self) -> None:
        """Waits for the last lease and frees the model."""
        with self._changed:
            self._changed.wait_for(lambda: not self._leases)
        self.model.close()


def milliseconds_to(deadline: float | None) -> int | None:
    """The time left, in milliseconds.

    Raises:
        ServingError: the deadline has passed.
    """
    if deadline is None:
        return None
    left = int(1e3 * (deadline - time.monotonic()))
    if left <= 0:
        raise ServingError("DEADLINE_EXCEEDED", "Deadline Exceeded")
    return left


@dataclasses.dataclass
class Entry:
    """The state of a version."""

    state: int = START
    error: ServingError | None = None
    servable: Servable | None = None
    tries: int = 0
    next_try: float = 0.0


class Versions:
    """One model.

    Args:
        config: Its `ModelConfig`.
        load: `(path, version) -> Servable`; raises ServingError.
        submit: Runs a function in a loader thread.
        retries: Number of retries after a failed load.
        interval: Seconds between retries.
    """

    def __init__(self, config, load: Callable, submit: Callable, retries: int, interval: float):
        self.config = config
        self._load, self._submit = load, submit
        self._retries, self._interval = retries, interval
        self._entries: dict[int, Entry] = {}
        self._lock = threading.RLock()
        self._wanted: set[int] = set()
        self._gone = False

    def poll(self) -> None:
        """Lists the folder, and starts the loads and unloads that follow."""
        with self._lock:
            if not self._gone:
                found = stored(pathlib.Path(self.config.base_path))
                if found is not None:  # None: not readable for now; loaded versions stay
                    self._wanted = chosen(found, self.config.model_version_policy)
            self.step()

    def retire(self) -> None:
        """Unloads everything, as the model is no longer configured."""
        with self._lock:
            self._gone, self._wanted = True, set()
            self.step()

    def step(self) -> None:
        """Starts what is due; a new version is available before the old one is unloaded."""
        with self._lock:
            for version in sorted(self._wanted, reverse=True):
                self._load_if_due(version)
            answering = set(self.available())
            if not self._wanted or answering & self._wanted:
                for version in answering - self._wanted:
                    self._entries[version].state = UNLOADING
                    self._submit(self._unload_now, self._entries[version])

    def _load_if_due(self, version: int) -> None:
        entry = self._entries.get(version)
        if entry is None or (entry.state == END and entry.error is None):  # new, or unloaded
            entry = self._entries[version] = Entry()
        may_retry = entry.tries <= self._retries and time.monotonic() >= entry.next_try
        if entry.state == START and may_retry:
            entry.state = LOADING
            self._submit(self._load_now, version, entry)

    def _load_now(self, version: int, entry: Entry) -> None:
        if self._gone:
            entry.state = END
            return
        try:
            entry.servable = self._load(pathlib.Path(self.config.base_path), version)
        except ServingError as error:
            failed = error
        except Exception as error:  # a failed load must not end the loader thread
            failed = ServingError("INTERNAL", f"{type(error).__name__}: {error}")
        else:
            failed = None
        with self._lock:
            entry.error, entry.tries = failed, entry.tries + 1
            if failed is None and self._gone:  # meanwhile
                entry.servable.close()
                entry.servable, entry.state = None, END
            elif failed is None:
                entry.state = AVAILABLE
            elif entry.tries <= self._retries:
                entry.state, entry.next_try = START, time.monotonic() + self._interval
            else:
                entry.state = END
            self.step()

    def _unload_now(self, entry: Entry) -> None:
        entry.servable.close()
        entry.servable = None
        with self._lock:
            entry.state = END
            self.step()

    def ready(self) -> bool:
        """Whether a version is available, and no other is being loaded for the first time.

        Also true for a model that is no longer configured.
        """
        with self._lock:
            if self._gone:
                return True
            wanted = [self._entries[v] for v in self._wanted]
            untried = any(e.state in (START, LOADING) and not e.tries for e in wanted)
            return bool(self.available()) and not untried

    def failure(self) -> str:
        """Version and error of the newest version if all failed permanently, else ""."""
        with self._lock:
            failed = {v: self._entries[v] for v in self._wanted}
            if not failed or any(e.state != END or e.error is None for e in failed.values()):
                return ""
            version = max(failed)
            error = failed[version].error
            return f"version: {version}}} due to error: {error.code.name}: {error.message}"

    def empty(self) -> bool:
        """Whether there is no version to load."""
        return not self._wanted

    def available(self) -> list[int]:
        """Available versions, sorted."""
        with self._lock:
            return sorted(v for v, e in self._entries.items() if e.state == AVAILABLE)

    @contextlib.contextmanager
    def lease(self, version: int | None) -> Iterator[Servable | None]:
        """A version, by default the highest; None if it is not available."""
        with self._lock:
            answering = self.available()
            version = answering[-1] if version is None and answering else version
            servable = self._entries[version].servable if version in answering else None
            if servable:
                servable.take()
        try:
            yield servable
        finally:
            if servable:
                servable.give_back()

    def states(self) -> dict[int, tuple[int, ServingError | None]]:
        """State and error of all versions seen, newest first."""
        with self._lock:
            return {v: (e.state, e.error) for v, e in sorted(self._entries.items(), reverse=True)}


def stored(base: pathlib.Path) -> set[int] | None:
    """The versions in a folder: names that are numbers; None if it cannot be read."""
    try:
        names = [path.name for path in base.iterdir() if path.is_dir()]
    except OSError:
        return None
    return {int(name) for name in names if re.fullmatch(r"\d{1,18}", name, re.ASCII)}


def chosen(found: set[int], policy) -> set[int]:
    """The versions that a `ServableVersionPolicy` selects; by default the latest."""
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return found
    if kind == "specific":
        return found & set(policy.specific.versions)
    return set(sorted(found)[-max(1, policy.latest.num_versions) :])

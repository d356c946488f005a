"""All models: configuration, the thread that polls folders and files, and lookups."""

import contextlib
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import tensorflow as tf

from tfrec.server import config_files, configuration, warm_up
from tfrec.server.batching import Batcher
from tfrec.server.configuration import Config
from tfrec.server.errors import ServingError, invalid
from tfrec.server.options import Options
from tfrec.server.saved_model import SavedModel
from tfrec.server.versions import Servable, Versions

TICK = 0.05  # seconds between checks of the clock


class Models:
    """The models of the server.

    Args:
        options: The server's options.
        pool: Runs functions off the event loop.
        log: Called with a line of text.
    """

    def __init__(self, options: Options, pool: Callable, log: Callable):
        self._options, self._pool, self._log = options, pool, log
        self._models: dict[str, Versions] = {}
        self._labels: dict[str, dict[str, int]] = {}
        self._changing = threading.Lock()
        self._stopped = threading.Event()
        self._loads = ThreadPoolExecutor(max(1, options.num_load_threads), "tfrec-load")
        self._watch = threading.Thread(target=self._watch_files, name="tfrec-watch", daemon=True)
        self._batching = None
        if options.enable_batching:
            self._batching = configuration.batching_settings(options.batching_parameters_file)

    # -------------------------------------------------------------- life

    def start(self) -> None:
        """Reads the configuration and starts polling; returns when all models are available.

        Waits for models without a version, and for versions that failed to load and are retried.

        Raises:
            ValueError: a configuration that cannot be served, or a model that does not load.
        """
        self._watch.start()
        try:
            self.reload(self._first_config())
        except ServingError as error:
            where = self._options.model_config_file or "--model_base_path"
            raise ValueError(f"{where}: {error.message}") from None

    def _first_config(self) -> Config:
        options = self._options
        if options.model_config_file:
            return config_files.read(options.model_config_file, Config())
        base = pathlib.Path(options.model_base_path).absolute()
        if not base.is_dir():
            raise ValueError(f"--model_base_path={base} does not exist")
        config = Config()
        config.model_config_list.config.add(
            name=options.model_name, base_path=str(base), model_platform="tensorflow"
        )
        return config

    def stop(self) -> None:
        """Ends the threads and frees the models."""
        self._stopped.set()
        if self._watch.is_alive():
            self._watch.join()
        for versions in self._models.values():
            versions.retire()
        self._loads.shutdown(wait=True)

    def _watch_files(self) -> None:
        """Polls for versions and for a new configuration at their intervals."""
        options = self._options
        every = _seconds(options.file_system_poll_wait_seconds)
        file_every = _seconds(options.model_config_file_poll_wait_seconds)
        next_poll, next_file = time.monotonic() + every, time.monotonic() + file_every
        while not self._stopped.wait(TICK):
            if time.monotonic() >= next_poll:
                next_poll = time.monotonic() + every
                for versions in list(self._models.values()):
                    versions.poll()
            for versions in list(self._models.values()):
                versions.step()
            if options.model_config_file and time.monotonic() >= next_file:
                next_file = time.monotonic() + file_every
                self._reload_file()

    def _reload_file(self) -> None:
        try:
            config = config_files.read(self._options.model_config_file, Config())
            self.reload(config, wait=False)  # this thread also polls for versions
        except (OSError, ValueError) as error:
            self._log(f"{error}; the old configuration stays")
        except ServingError as error:
            self._log(f"{self._options.model_config_file}: {error.message}")

    # -------------------------------------------------------------- configuration

    def reload(self, config: Config, wait: bool = True) -> None:
        """Applies a new configuration: sets labels, then adds, changes and removes models.

        Args:
            config: The complete configuration.
            wait: Whether to wait until each new model is available; known models change later.

        Raises:
            ServingError: it is refused and nothing changes, or a new model failed to load.
        """
        configuration.check(config)
        configs = {model.name: model for model in config.model_config_list.config}
        with self._changing:
            self._labels = self._new_labels(configs)
            for name in set(self._models) - set(configs):
                self._models.pop(name).retire()
            new = {name: self._versions(configs[name]) for name in set(configs) - set(self._models)}
            self._models |= new
            for name, model in configs.items():
                self._models[name].config = model
                self._models[name].poll()
        if wait:
            self._wait_for(new)

    def _new_labels(self, configs) -> dict[str, dict[str, int]]:
        """Labels by model and name.

        Raises:
            ServingError: a label of a version that is not available. With the flag this is
                allowed for new labels; existing ones keep their version.
        """
        labels: dict[str, dict[str, int]] = {}
        for name, model in configs.items():
            available = self._models[name].available() if name in self._models else []
            for label, version in sorted(model.version_labels.items()):
                known = self._labels.get(name, {}).get(label, version)
                allowed = self._options.allow_version_labels_for_unavailable_models
                if version not in available and not (allowed and known == version):
                    raise ServingError(
                        "FAILED_PRECONDITION",
                        f"Request to assign label to version {version} of model {name}, "
                        "which is not currently available for inference",
                    )
                labels.setdefault(name, {})[label] = version
        return labels

    def _wait_for(self, models: dict[str, Versions]) -> None:
        """Waits until each of these is available.

        Raises:
            ServingError: one failed permanently.
        """
        failed: dict[str, str] = {}
        reported: set[str] = set()
        while not all(name in failed or model.ready() for name, model in models.items()):
            for name, model in models.items():
                if name not in failed and (failure := model.failure()):
                    failed[name] = failure
                elif model.empty() and name not in reported:
                    reported.add(name)
                    base = model.config.base_path
                    self._log(f"No versions of servable {name} found under base path {base}")
            if self._stopped.wait(TICK / 5):
                return
        if failed:
            listed = "".join(f"{{{{name: {name} {why}}}, " for name, why in sorted(failed.items()))
            text = f"{len(failed)} model(s) did not become available: {{{listed}}}"
            raise ServingError("UNKNOWN", text)

    # -------------------------------------------------------------- loading

    def _versions(self, config) -> Versions:
        options = self._options
        return Versions(
            config,
            lambda base, version: self._load(config.name, base, version),
            self._loads.submit,
            options.max_num_load_retries,
            options.load_retry_interval_micros / 1e6,
        )

    def _load(self, name: str, base: pathlib.Path, version: int) -> Servable:
        start = time.monotonic()
        path = folder_of(base, version)
        try:
            model = SavedModel(path, self._options.saved_model_tags.split(","), self._session())
            servable = self._servable(name, version, model)
        except ServingError as error:
            self._log(f"{name} version {version} failed to load: {error.message}")
            raise
        self._log(f"{name} version {version} answers, loaded in {time.monotonic() - start:.1f} s")
        return servable

    def _servable(self, name: str, version: int, model: SavedModel) -> Servable:
        """A loaded version, warmed up; closed again if that fails."""
        servable = Servable(name, version, model, self._pool)
        if self._batching:
            servable.batcher = Batcher(self._batching, servable.run_now)
        if self._options.enable_model_warmup:
            iterations = self._options.num_request_iterations_for_warmup
            try:
                warm_up.replay(model, iterations, servable.batcher)
            except Exception:
                model.close()
                raise
        return servable

    def _session(self) -> tf.compat.v1.ConfigProto:
        options = self._options
        both = options.tensorflow_session_parallelism
        return tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=both or options.tensorflow_intra_op_parallelism,
            inter_op_parallelism_threads=both or options.tensorflow_inter_op_parallelism,
        )

    # -------------------------------------------------------------- lookups

    @contextlib.contextmanager
    def lease(self, spec) -> Iterator[Servable]:
        """The version requested by a `ModelSpec`, leased until the block ends.

        Raises:
            ServingError: no name, unknown label, or no available version.
        """
        versions, version = self._find(spec)
        if versions is None:
            raise _not_found(spec.name, version)
        with versions.lease(version) as servable:
            if servable is None:
                raise _not_found(spec.name, version)
            yield servable

    def _find(self, spec) -> tuple[Versions | None, int | None]:
        if not spec.name:
            raise invalid("ModelSpec has no name specified.")
        version = spec.version.value if spec.HasField("version") else None
        if spec.version_label:
            version = self._labels.get(spec.name, {}).get(spec.version_label)
            if version is None:
                raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        return self._models.get(spec.name), version

    def states(self, spec) -> dict[int, tuple[int, ServingError | None]]:
        """State and error of a model's versions.

        Raises:
            ServingError: none is known.
        """
        versions, version = self._find(spec)
        states = versions.states() if versions else {}
        if not states:
            raise ServingError("NOT_FOUND", f"Could not find any versions of model {spec.name}")
        if version is None:
            return states
        if version not in states:
            raise ServingError(
                "NOT_FOUND", f"Could not find version {version} of model {spec.name}"
            )
        return {version: states[version]}

    def names(self) -> list[str]:
        """Names of all models."""
        return list(self._models)

    def known_name(self, request) -> str:
        """The requested model, or "(unknown)": metrics must not have names invented by clients."""
        tasks = getattr(request, "tasks", [request])
        name = tasks[0].model_spec.name if tasks else ""
        return name if name in self._models else "(unknown)"


def _seconds(wait: float) -> float:
    """The interval of polling; infinite for 0 and less."""
    return wait if wait > 0 else float("inf")


def _not_found(name: str, version: int | None) -> ServingError:
    wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
    return ServingError("NOT_FOUND", f"Servable not found for request: {wanted}")


def folder_of(base: pathlib.Path, version: int) -> pathlib.Path:
    """A version's folder; its name may have leading zeros."""
    plain = base / str(version)
    if plain.is_dir():
        return plain
    same = [p for p in base.iterdir() if p.name.isdigit() and int(p.name) == version]
    return same[0] if same else plain

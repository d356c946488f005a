"""Files for deploying `tensorflow/serving`: its configuration, docker compose, Kubernetes."""

import dataclasses
import itertools
import json
import pathlib
import re
import string
import textwrap
from collections.abc import Iterable, Mapping, Sequence

from google.protobuf import text_format

from tfrec import aside, damage
from tfrec.serving import messages, warmup

TEMPLATES = pathlib.Path(__file__).with_name("deploy_templates")
CONFIGURATION = ("models.config", "batching.config", "monitoring.config")
MODELS_IN_CONTAINER = "/models"
NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # used in URLs and YAML without quoting
MIB = 2**20
# Measured with TF Serving's loader: 370 MiB without models; 1.8 GB with two versions of 400 MiB
# during a request.
SERVER_MIB, COPIES = 768, 3


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of the deployment.

    Args:
        image: The container image, with a tag or digest.
        labels: Model -> label -> version; a model without labels serves its latest version.
        batch_sizes: Allowed batch sizes, increasing.
        batch_timeout_micros: Microseconds that a request waits for others to batch with.
        cpus: Of one replica; also the number of intra-op, inter-op and batch threads.
        memory_mib: Of one replica; 0: estimated from the sizes of the exports.
        replicas: Number of replicas in Kubernetes.
    """

    image: str
    labels: Mapping[str, Mapping[str, int]]
    batch_sizes: Sequence[int]
    batch_timeout_micros: int
    cpus: int
    memory_mib: int
    replicas: int

    def check(self) -> None:
        """Refuses batch sizes that TF Serving would refuse, and an image that is not pinned.

        Raises:
            ValueError: names the flag and the cure.
        """
        sizes = list(self.batch_sizes)
        if not sizes or sizes != sorted(set(sizes)) or sizes[0] < 1:
            raise ValueError(f"--batch_sizes={sizes} must be increasing numbers from 1 on")
        tag = self.image.rsplit("/", 1)[-1].partition(":")[2]
        if tag in ("", "latest"):
            raise ValueError(
                f"--image={self.image} may be another server tomorrow: give the tag that you have "
                "tested, such as tensorflow/serving:2.21.0"
            )


def files(export_dirs: Sequence[str], settings: Settings) -> dict[str, str]:
    """Contents of the files by name.

    Args:
        export_dirs: Base paths of the models; their last parts are the names.
        settings: Of the deployment.

    Raises:
        ValueError: no exports, duplicate names, invalid settings, or exports that the server would
            not load.
    """
    models = exports(export_dirs)
    settings.check()
    check_labels(models, settings.labels)
    served = {name: served_versions(p, settings.labels.get(name)) for name, p in models.items()}
    for folder in itertools.chain.from_iterable(served.values()):
        check_warmup(folder / warmup.FILE, settings.batch_sizes[-1])
    values = {
        "first": next(iter(models)),
        "image": json.dumps(settings.image),
        "sizes": ", ".join(map(str, settings.batch_sizes)),
        "largest": settings.batch_sizes[-1],
        "timeout_micros": settings.batch_timeout_micros,
        "cpus": settings.cpus,
        "memory_mib": settings.memory_mib or memory_mib(served.values()),
        "replicas": settings.replicas,
        "volumes": _volumes(models),
    }
    found = {"models.config": models_config(models, settings.labels)}
    for name in ("batching.config", "monitoring.config", "docker-compose.yml"):
        found[name] = _filled(name, values)
    configuration = "".join(
        f"{name}: |\n{textwrap.indent(found[name], '  ')}" for name in CONFIGURATION
    )
    values["configuration"] = textwrap.indent(configuration, "  ").rstrip()
    return {**found, "kubernetes.yaml": _filled("kubernetes.yaml", values)}


def exports(export_dirs: Sequence[str]) -> dict[str, pathlib.Path]:
    """Model name -> absolute base path.

    Raises:
        ValueError: names the folder and the cure.
    """
    found: dict[str, pathlib.Path] = {}
    for given in export_dirs:
        path = pathlib.Path(given).absolute()
        if not versions(path):
            raise ValueError(f"--export_dir={given} holds no version: tfrec.export makes one")
        if path.name in found:
            raise ValueError(f"--export_dir={given}: a model {path.name!r} is there already")
        if not NAME.fullmatch(path.name):
            raise ValueError(
                f"--export_dir={given}: {path.name!r} cannot be used in a URL; rename the "
                "folder to letters, digits, dashes and dots"
            )
        found[path.name] = path
    if not found:
        raise ValueError("--export_dir is missing: give the export of each model")
    return found


def versions(base: pathlib.Path) -> dict[int, pathlib.Path]:
    """Version -> its directory."""
    folders = (path.parent for path in base.glob("*/saved_model.pb"))
    return {int(folder.name): folder for folder in folders if folder.name.isdigit()}


def parse_labels(given: Sequence[str]) -> dict[str, dict[str, int]]:
    """Parses texts of the form `MODEL:LABEL=VERSION`; model -> label -> version.

    Raises:
        ValueError: a text of another form, or a label given twice.
    """
    found: dict[str, dict[str, int]] = {}
    for text in given:
        parts = re.fullmatch(r"([^:=]+):([^:=]+)=(\d+)", text)
        if not parts:
            raise ValueError(f"--label={text}: MODEL:LABEL=VERSION, such as deeprec:stable=1")
        model, label, version = parts.groups()
        if label in found.setdefault(model, {}):
            raise ValueError(f"--label={text}: {model} has a label {label!r} already")
        found[model][label] = int(version)
    return found


def check_labels(
    models: Mapping[str, pathlib.Path], labels: Mapping[str, Mapping[str, int]]
) -> None:
    """Refuses labels of unknown models and versions.

    Raises:
        ValueError: names the known ones.
    """
    for model, given in labels.items():
        if model not in models:
            raise ValueError(f"--label={model}: no such model; known are {', '.join(models)}")
        known = versions(models[model])
        for label, version in given.items():
            if version not in known:
                listed = ", ".join(map(str, sorted(known)))
                raise ValueError(
                    f"--label={model}:{label}={version}: {models[model]} has versions {listed}"
                )


def served_versions(base: pathlib.Path, labels: Mapping[str, int] | None) -> list[pathlib.Path]:
    """Directories of the versions that have labels, or of the latest version."""
    known = versions(base)
    return [known[version] for version in sorted(set((labels or {}).values())) or [max(known)]]


def check_warmup(path: pathlib.Path, largest: int) -> None:
    """Refuses a version that a server with batches of at most `largest` rows would not load.

    The server replays the version's warm-up records through its batching.

    Args:
        path: The file of the records, which may be missing.
        largest: The largest batch size.

    Raises:
        ValueError: names the file and the cure.
    """
    if not path.exists():
        return
    with damage.refused(path, "export the model again"):
        requests = list(warmup.predictions(path))
    for request in requests:
        where = f"{path}: the warm-up record of {request.model_spec.signature_name!r}"
        shapes = [[d.size for d in x.tensor_shape.dim] for x in request.inputs.values()]
        rows = {shape[0] if shape else None for shape in shapes}
        if None in rows or len(rows) > 1:
            raise ValueError(
                f"{where} has inputs without rows, or of different numbers of rows, so no server "
                "with batching loads this version: export the model again"
            )
        if max(rows, default=0) > largest:
            raise ValueError(
                f"{where} has {max(rows)} rows, so no server with --batch_sizes up to {largest} "
                f"loads this version: export the model again, or allow {max(rows)}"
            )


def memory_mib(served: Iterable[Sequence[pathlib.Path]]) -> int:
    """Memory for the served versions of each model, by their sizes; a multiple of 256 MiB."""
    sizes = [
        [sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) for folder in folders]
        for folders in served
    ]
    # While a version is being replaced, two of them are loaded.
    copies = sum(sum(one) + (COPIES - 1) * max(one) for one in sizes)
    return SERVER_MIB + 256 * -(-copies // (256 * MIB))


def models_config(names: Sequence[str], labels: Mapping[str, Mapping[str, int]]) -> str:
    """models.config of models in /models; those with labels serve the labelled versions."""
    config = messages.ModelServerConfig()
    for name in names:
        model = config.model_config_list.config.add(
            name=name, base_path=f"{MODELS_IN_CONTAINER}/{name}", model_platform="tensorflow"
        )
        given = labels.get(name, {})
        if given:
            model.model_version_policy.specific.versions.extend(sorted(set(given.values())))
        else:
            model.model_version_policy.latest.num_versions = 1
        model.version_labels.update(given)
    return text_format.MessageToString(config)


def _filled(name: str, values: Mapping) -> str:
    return string.Template((TEMPLATES / name).read_text()).substitute(values)


def _volumes(models: Mapping[str, pathlib.Path]) -> str:
    """Volumes in the compose file; JSON strings are valid YAML."""
    # Unescaped, a dollar sign would start a variable.
    mounts = [
        f"{str(path).replace('$', '$$')}:{MODELS_IN_CONTAINER}/{name}:ro"
        for name, path in models.items()
    ]
    return "\n".join(f"      - {json.dumps(mount)}" for mount in mounts)


def write(folder: str, content: Mapping[str, str], overwrite: bool) -> list[pathlib.Path]:
    """Writes the files, each under a temporary name first.

    Raises:
        ValueError: a file exists; nothing is written.
    """
    path = pathlib.Path(folder)
    there = [name for name in content if (path / name).exists()]
    if there and not overwrite:
        raise ValueError(f"{path} already holds {', '.join(there)}: --overwrite replaces them")
    path.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        with aside.file(path / name) as partial:
            partial.write_text(text)
    return [path / name for name in content]

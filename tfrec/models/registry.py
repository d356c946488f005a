"""Models by name, as `--model` takes it."""

import importlib
import sys

from tfrec.config import known_names
from tfrec.models.als import ALS
from tfrec.models.autoencoder import AutoEncoder
from tfrec.models.autorec import AutoRec
from tfrec.models.base import Recommender
from tfrec.models.bayesianfm import BayesianFM
from tfrec.models.bert4rec import BERT4Rec
from tfrec.models.bertrating import BertRating
from tfrec.models.biases import Biases
from tfrec.models.cdae import CDAE
from tfrec.models.chebycf import ChebyCF
from tfrec.models.dcn import DCN
from tfrec.models.deepfm import DeepFM
from tfrec.models.deeprec import DeepRec
from tfrec.models.ease import EASE
from tfrec.models.easevae import EASEVAE
from tfrec.models.esasrec import ESASRec
from tfrec.models.fm import FM
from tfrec.models.fuxi import FuXi
from tfrec.models.glocalk import GLocalK
from tfrec.models.gru4rec import GRU4Rec
from tfrec.models.hstu import HSTU
from tfrec.models.ials import IALS
from tfrec.models.mf import MF
from tfrec.models.multdae import MultDAE
from tfrec.models.multvae import MultVAE
from tfrec.models.popularity import Popularity
from tfrec.models.recvae import RecVAE
from tfrec.models.sasrec import SASRec
from tfrec.models.sequentialrules import SequentialRules
from tfrec.models.sparseease import SparseEASE
from tfrec.models.sparsefc import SparseFC
from tfrec.models.svae import SVAE
from tfrec.models.twotower import TwoTower
from tfrec.models.vae import VAE
from tfrec.models.weightedease import WeightedEASE

MODELS: dict[str, type[Recommender]] = {
    "deeprec": DeepRec,
    "autorec": AutoRec,
    "autoencoder": AutoEncoder,
    "vae": VAE,
    "multdae": MultDAE,
    "multvae": MultVAE,
    "recvae": RecVAE,
    "cdae": CDAE,
    "sparsefc": SparseFC,
    "glocalk": GLocalK,
    "svae": SVAE,
    "sequentialrules": SequentialRules,
    "gru4rec": GRU4Rec,
    "twotower": TwoTower,
    "sasrec": SASRec,
    "esasrec": ESASRec,
    "bert4rec": BERT4Rec,
    "hstu": HSTU,
    "fuxi": FuXi,
    "ease": EASE,
    "sparseease": SparseEASE,
    "weightedease": WeightedEASE,
    "easevae": EASEVAE,
    "chebycf": ChebyCF,
    "ials": IALS,
    "als": ALS,
    "mf": MF,
    "fm": FM,
    "deepfm": DeepFM,
    "dcn": DCN,
    "bertrating": BertRating,
    "bayesianfm": BayesianFM,
    "popularity": Popularity,
    "biases": Biases,
}
ENSEMBLE = "ensemble"  # of finished runs: `--model` does not take it


def model_class(name: str) -> type[Recommender]:
    """The class that `--model` names.

    Args:
        name: A key of `MODELS`, or "package.module:Class" of any subclass of `Recommender`.

    Raises:
        ValueError: there is no such model; the error lists the known ones.
    """
    if name == ENSEMBLE:
        name = "tfrec.models.ensemble:Ensemble"  # which imports this file
    if ":" in name:
        return _imported(name)
    if name not in MODELS:
        raise ValueError(
            f"--model={name!r} is unknown; {known_names(name, MODELS)}; or package.module:Class"
        )
    return MODELS[name]


def name_of(cls: type[Recommender]) -> str:
    """The name of a class for `model_class`: its key, or its import path."""
    keys = (key for key, known in MODELS.items() if known is cls)
    return next(keys, f"{cls.__module__}:{cls.__qualname__}")


def _imported(path: str) -> type[Recommender]:
    """The class with an import path."""
    module, _, name = path.partition(":")
    try:
        cls = getattr(sys.modules.get(module) or importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"--model={path} cannot be imported ({error}): its module must be installed, or lie "
            "in the current folder or in PYTHONPATH"
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, Recommender)):
        raise ValueError(f"--model={path} is no subclass of tfrec.models.Recommender")
    return cls

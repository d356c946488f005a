"""The models by the name that `--model` takes."""

from tfrec.config import known_names
from tfrec.models.autoencoder import AutoEncoder
from tfrec.models.autorec import AutoRec
from tfrec.models.base import Recommender
from tfrec.models.biases import Biases
from tfrec.models.deeprec import DeepRec
from tfrec.models.ease import EASE
from tfrec.models.multdae import MultDAE
from tfrec.models.multvae import MultVAE
from tfrec.models.popularity import Popularity
from tfrec.models.vae import VAE

MODELS: dict[str, type[Recommender]] = {
    "deeprec": DeepRec,
    "autorec": AutoRec,
    "autoencoder": AutoEncoder,
    "vae": VAE,
    "multdae": MultDAE,
    "multvae": MultVAE,
    "ease": EASE,
    "popularity": Popularity,
    "biases": Biases,
}


def model_class(name: str) -> type[Recommender]:
    """The class of `--model=name`.

    Raises:
        ValueError: no such model; lists the known ones.
    """
    if name not in MODELS:
        raise ValueError(f"--model={name!r} is unknown; " + known_names(name, MODELS))
    return MODELS[name]

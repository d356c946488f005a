"""Models: one file for each, named after its paper.

Importing this package registers all of them with Keras: after `import tfrec.models`,
`keras.models.load_model` can load a `model.keras`.
"""

from tfrec.models.base import Recommender
from tfrec.models.registry import MODELS

__all__ = ["MODELS", "Recommender"]

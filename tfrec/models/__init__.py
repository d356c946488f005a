"""Models: one file a model, after its paper.

Importing this package registers all of them with Keras: `keras.models.load_model` of a
`model.keras` works after `import tfrec.models`.
"""

from tfrec.models.base import Recommender
from tfrec.models.registry import MODELS

__all__ = ["MODELS", "Recommender"]

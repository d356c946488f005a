"""The TFX-style pipeline from raw files to a pushed SavedModel, with TFX's components and order."""

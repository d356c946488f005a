"""The TFX-style pipeline: raw files in, a pushed SavedModel out, in TFX's words and order."""

"""The TFX-style input pipeline: not built yet, see CHANGELOG.md."""

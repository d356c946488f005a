"""SavedModels that TF Serving answers from."""

"""The one training loop, its strategies, and what lies in a run directory."""

"""The training loop, distribution strategies, evaluation, and run directories."""

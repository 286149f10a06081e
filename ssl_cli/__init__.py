"""Self-supervised pre-training against label budgets, from the command line."""

__version__ = "0.1.0"

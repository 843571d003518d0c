"""The command line ``batchcorder``."""

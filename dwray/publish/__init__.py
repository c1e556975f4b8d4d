"""Runs and reports for Weights & Biases, made from a run's Parquet files by a process of its own."""

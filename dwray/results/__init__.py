"""Typed records, their Parquet files, and the paper's tables made of them."""

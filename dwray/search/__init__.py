"""The linear search and the plan of a sweep: pure Python, without Ray or torch."""

"""What DAGs, triggers and tools import, as `include.<package>`: the repository's root is on PYTHONPATH."""

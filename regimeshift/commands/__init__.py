"""One thin module per command. Heavy imports are inside `run`, so that ``--help`` is fast."""

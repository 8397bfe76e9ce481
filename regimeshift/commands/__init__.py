"""One thin module a command. Heavy imports stand inside `run`, so that ``--help`` is quick."""

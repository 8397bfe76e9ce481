"""The command line of regimeshift: composes `markets`, `strategies`, `metalearner` and `backtests`; holds no logic."""

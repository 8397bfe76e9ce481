"""The command line of regimeshift: combines `markets`, `strategies`, `metalearner` and `backtests`, without logic of its own."""

"""How backtests are run: folds, jobs, and the check that nothing reads the future."""

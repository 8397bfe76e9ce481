"""How backtests are run: folds, jobs, their cache, and the check that nothing reads the future."""

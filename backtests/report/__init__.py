"""The page that shows a result. Plotly takes a second to import, so `backtests.report.page` is imported where it is needed."""

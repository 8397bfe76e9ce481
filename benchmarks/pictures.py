"""The pictures of README and docs, drawn again: the demo's report, regimes, adaptation curves, and a decision explained.

``python -m benchmarks.pictures`` needs chromium and takes about two minutes. Everything is run anew, but for the adaptation
curves, which are those of ``benchmarks/results/adaptation_curves.csv``.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from PIL import Image

from backtests.explain import counterfactual, explain
from backtests.explain.page import write_explanation
from benchmarks.common import RESULTS
from markets import load
from metalearner import load_meta
from metalearner.evaluation import recipes
from metalearner.evaluation.study import Study

DOCS = Path(__file__).parents[1] / "docs"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def screenshot(page: Path, picture: Path, width: int, height: int, top: int = 0) -> None:
    """Save what a browser shows of a page, without its first `top` pixels."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit("pictures: no browser was found; install chromium")
    with tempfile.TemporaryDirectory() as profile:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=20000"]
        size = [f"--window-size={width},{height}", f"--user-data-dir={profile}", f"--screenshot={picture}"]
        subprocess.run([browser, *flags, *size, page.as_uri()], check=True, capture_output=True, timeout=120)
    Image.open(picture).convert("RGB").crop((0, top, width, height)).save(picture, optimize=True)
    print(f"wrote {picture}")


def adaptation(page: Path) -> Path:
    """Write the page of the curves that the adaptation benchmark saved."""
    family, skip = recipes.FAMILIES["drift_momentum"]
    table = pd.read_csv(RESULTS / "adaptation_curves.csv").query("family == 'drift_momentum'").set_index("at")
    curves = {against: dict(list(rows.groupby("learner", sort=False))) for against, rows in table.groupby("against")}
    return Study(family, skip, {}, {}, curves["bars seen"], curves["gradient steps"], pd.DataFrame()).page(page)


def explained(folder: Path) -> Path:
    """Train on five stocks, and write the page of a decision in March 2020, with the whole tilt whatever validation says."""
    symbols = ["AAPL", "JNJ", "JPM", "PG", "XOM"]
    words = ["train", "stocks", "--symbols", *symbols, "--steps", "150", "--out", "five"]
    subprocess.run([sys.executable, "-m", "regimeshift", *words], cwd=folder, check=True)
    return explanation_page(folder / "five", folder / "explaining.html", symbols)


def explanation_page(model: Path, page: Path, symbols: list[str]) -> Path:
    """The page of what the model decided on the last day of March 2020."""
    bars = load("stocks", symbols=symbols, end="2020-03")
    strategy = load_meta(model).shrunk(1.0, "RL2").adapt(bars)
    found = explain(strategy, bars)
    symbol = found.most_moved
    return write_explanation(found, symbol, counterfactual(strategy, bars, symbol), page, f"RL2: why {symbol}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = [sys.executable, "-m", "regimeshift"]
        subprocess.run([*run, "demo", "--out", name], cwd=folder, check=True)
        screenshot(folder / "report.html", DOCS / "report.png", 1250, 1825)
        screenshot(folder / "report.html", DOCS / "equity.png", 1250, 1735, top=1190)
        for bars in ("stocks", "sp500"):
            subprocess.run([*run, "regimes", bars, "--page", f"{bars}.html"], cwd=folder, check=True)
            screenshot(folder / f"{bars}.html", DOCS / f"regimes_{bars}.png", 1180, 1580)
        screenshot(explained(folder), DOCS / "explaining.png", 1180, 1250)
        screenshot(adaptation(folder / "adaptation.html"), DOCS / "adaptation.png", 1300, 610, top=150)


if __name__ == "__main__":
    main()

"""`SwitchingCovariance`: the portfolio of least variance for one who filters the regime, in closed form.

With p the probability that the next bar is of regime 1, returns have the covariance ``Σ = (1 − p) Σ_0 + p Σ_1`` (both means are
zero), and the best portfolio is the one of least variance under it. Assets of a half are alike, so it holds them alike (the
problem is convex and symmetric), and what is left is the share a of the first half, of two portfolios with variances x and y and
covariance c: ``a = (y − c) / (x + y − 2c)``, cut to [0, 1].
"""

from __future__ import annotations

import numpy as np

from markets import Bars, Plan
from markets.synthetic import Episodes, SwitchingCovariance
from strategies.strategy import Strategy


class SwitchingCovarianceFilter(Strategy):
    """Strategy for `SwitchingCovariance` of one who knows both covariances and filters the regime: the ceiling.

    It restarts at each episode, counted from the first bar of the history.

    Parameters
    ----------
    family : SwitchingCovariance
    """

    name = "filter"

    def __init__(self, family: SwitchingCovariance):
        self.family = family

    def belief(self, returns: np.ndarray) -> np.ndarray:
        """Probability (n, T) after each of the returns (n, T, A) that the next bar is of regime 1: Bayes' rule."""
        stay, covariance = self.family.stay, self.family.covariance
        volume = np.linalg.slogdet(covariance)[1]
        square = [np.einsum("nti,ij,ntj->nt", returns, inverse, returns) for inverse in np.linalg.inv(covariance)]
        evidence = 0.5 * (square[0] - square[1] + volume[0] - volume[1])  # for regime 1, in nats
        found = np.empty(returns.shape[:2])
        ahead = np.full(len(returns), 0.5)
        for t in range(returns.shape[1]):
            odds = np.log(ahead / (1 - ahead)) + evidence[:, t]
            now = 0.5 * (1 + np.tanh(odds / 2))
            ahead = stay * now + (1 - stay) * (1 - now)
            found[:, t] = ahead
        return found

    def weights(self, belief: np.ndarray) -> np.ndarray:
        """Weights of least variance (..., A), given the probability (...) that the next bar is of regime 1.

        A belief of 0 or 1 is that of one who knows the regime, and one of ½ that of one who never looks: the best constant
        weights.
        """
        half = self.family.assets // 2
        p = np.asarray(belief, dtype=np.float64)
        x, y, c = ((1 - p) * first + p * second for first, second in zip(*self._halves(), strict=True))
        share = np.clip((y - c) / (x + y - 2 * c), 0.0, 1.0)[..., None]
        return np.concatenate([np.repeat(share, half, -1), np.repeat(1 - share, half, -1)], axis=-1) / half

    def _halves(self) -> np.ndarray:
        """Variances of the two halves, held equally, and their covariance, in each regime; shape (2, 3)."""
        half, covariance = self.family.assets // 2, self.family.covariance
        parts = covariance[:, :half, :half], covariance[:, half:, half:], covariance[:, :half, half:]
        return np.stack([part.mean(axis=(1, 2)) for part in parts], axis=1)

    def follow(self, episodes: Episodes) -> np.ndarray:
        """Optimal weights (n, T + 1, A) in `episodes`."""
        return self.weights(self.belief(episodes.returns))

    def plan(self, bars: Bars) -> Plan:
        close, length = bars.with_past().close, self.family.length + 1
        rows, assets = len(close) - 1, close.shape[1]
        episodes = -(-rows // length)
        # The last episode may be incomplete. It is padded with zeros, which cannot affect earlier rows.
        returns = np.zeros((episodes * length, assets))
        returns[:rows] = (close[1:] / close[:-1] - 1) / self.family.scale
        chosen = self.weights(self.belief(returns.reshape(episodes, length, assets)))
        aim = np.vstack([np.full((1, assets), 1 / assets), chosen.reshape(-1, assets)[:rows]])
        return Plan(aim[bars.past :])

import pytest

from markets import EnvConfig, InputError, MarketEnv


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fit_until": "2003"}, "fit_until is for episodes in one regime"),
        ({"detector": object()}, "detector is for episodes in one regime"),
        ({"episode_bars": 2.5}, "episode_bars is 2.5; it must be a whole number"),
        ({"features": [1]}, r"give Features\(\.\.\.\)"),
        ({"execution": None}, r"give Execution\(\.\.\.\)"),
    ],
)
def test_settings_that_would_be_ignored_or_cannot_be_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        EnvConfig(**settings)


def test_a_regime_in_the_place_of_the_settings_is_refused(bars):
    with pytest.raises(InputError, match='it must be an EnvConfig, or give settings by name, such as regime="crisis"'):
        MarketEnv(bars, "crisis")

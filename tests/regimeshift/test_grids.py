import pytest

from markets import InputError
from regimeshift.grids import grid_from_words


def test_ranges_end_before_their_stop_as_in_python():
    assert grid_from_words(["fast=5:20:5", "slow=3:6"]) == {"fast": (5, 10, 15), "slow": (3, 4, 5)}
    assert grid_from_words(["band=0:0.4:0.1"]) == {"band": (0.0, 0.1, 0.2, 0.3)}


def test_lists_hold_numbers_or_text():
    assert grid_from_words(["window=20,60", "band=.5", "kind=a,b"]) == {
        "window": (20, 60),
        "band": (0.5,),
        "kind": ("a", "b"),
    }


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("fast", "--grid fast: write name=start:stop:step"),
        ("=3", "write name"),
        ("fast=", "write name"),
        ("fast=1:2:3:4", "a range is start:stop:step"),
        ("fast=a:b", "a range is start:stop:step"),
        ("fast=5:5", "the stop above the start"),
        ("fast=5:9:0", "the step must be above 0"),
        ("fast=5:inf", "all finite"),
        ("fast=nan:9", "all finite"),
        ("window=20,nan", "a value is not finite"),
        ("window=20,,60", "a value is empty"),
    ],
)
def test_what_cannot_be_read_is_refused(word, message):
    with pytest.raises(InputError, match=message):
        grid_from_words([word])


def test_a_parameter_is_given_once():
    with pytest.raises(InputError, match="fast is there twice"):
        grid_from_words(["fast=1", "fast=2"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fast=1:100000", "slow=1:100000"], "--grid: 9,999,800,001 combinations; give larger steps"),
        (["fast=0:1e12:1"], "--grid fast=0:1e12:1: more than 1,000,000 values"),
        (["fast=0:inf:1"], "all finite"),
        (["fast=1:1000000000000"], "more than 1,000,000 values"),
    ],
)
def test_regression_a_grid_that_no_memory_holds_is_refused_at_once(words, message):
    """A slip in a range took all memory, a setting at a time."""
    with pytest.raises(InputError, match=message):
        grid_from_words(words)

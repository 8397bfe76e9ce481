import pytest

from markets import InputError
from markets.common.ranges import OneOf, Range
from regimeshift.searches import search_from_words


def test_words_become_ranges_and_choices():
    words = ("a.rate=1e-4:1e-2:log", "b=2:8", "c=1,2.5,none", "d=true,false", "e=gru,film", "f")
    assert search_from_words(words) == {
        "a.rate": Range(1e-4, 1e-2, log=True),
        "b": Range(2, 8),
        "c": OneOf((1, 2.5, None)),
        "d": OneOf((True, False)),
        "e": OneOf(("gru", "film")),
        "f": None,
    }
    assert search_from_words(()) is None


@pytest.mark.parametrize(
    "word", ["a=", "=1:2", "a=1:2:3", "a=1:", "a=x:y", "a=1:2:linear", "a=2:1", "a=0:1:log", "a=true:1"]
)
def test_what_cannot_be_read_names_the_word(word):
    with pytest.raises(InputError, match=f"--search {word}: "):
        search_from_words((word,))


def test_a_setting_is_there_once():
    with pytest.raises(InputError, match="a is there twice"):
        search_from_words(("a", "a=1,2"))

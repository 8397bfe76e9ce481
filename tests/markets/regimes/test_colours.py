from markets.regimes.colours import shade


def test_from_green_to_red_whatever_the_number_of_regimes():
    for count in (1, 2, 3, 5):
        colours = [shade(rank, count) for rank in range(count)]
        assert colours[0] == "rgb(196,228,196)"
        assert len(set(colours)) == count
    assert shade(2, 3) == shade(1, 2) == "rgb(240,176,168)"

from metalearner.evaluation.risk_share import risk_share


def test_a_seed_is_a_figure():
    few = {"steps": 3, "training": 1, "fresh": 2}
    assert risk_share(seed=3, **few) == risk_share(seed=3, **few) != risk_share(seed=4, **few)


def test_the_learner_reaches_most_of_the_optimum():
    found = risk_share(seed=3, steps=60, training=3, fresh=6)
    v = found.variance
    assert v["next regime known"] < v["filter"] < v["adaptive risk"] < v["static pool"] < v["best constant weights"]
    assert v["adaptive risk"] < v["unadapted"]
    assert 0.5 < found.share < 1 - found.error
    assert 0 < found.error < 0.1
    gained = v["best constant weights"] - v["adaptive risk"]
    assert abs(found.share - gained / (v["best constant weights"] - v["filter"])) < 1e-12

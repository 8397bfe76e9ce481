"""Jobs give the same on every backend, and a worker that is killed costs time alone."""

import os
from pathlib import Path

import numpy as np
import pytest
import samples
import walkers
from joblib import parallel_config

from backtests import walk_forward
from backtests.engine.parallel import run_all
from backtests.engine.task_cuts import WindowTasks


def result(dies_once="", **options):
    bars = samples.regime_bars(1500, 3, seed=1)
    return walk_forward(
        walkers.study(str(dies_once)), bars[1000:], every=40, retrain_every="6M", tasks=WindowTasks(40, 20, 60), controls=True,
        progress=False, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def local():
    return result()


def assert_same(one, other):
    for a, b in zip(one, other, strict=True):
        assert (a.name, a.folds, a.fingerprint) == (b.name, b.folds, b.fingerprint)
        assert list(map(repr, a.events)) == list(map(repr, b.events))
        for x, y in (
            (a.equity, b.equity),
            (a.weights, b.weights),
            (a.plan.aim, b.plan.aim),
            (a.plan.band, b.plan.band),
        ):
            np.testing.assert_array_equal(x, y)


@pytest.mark.process
def test_a_killed_process_is_only_time(local, tmp_path):
    assert_same(local, result(tmp_path / "dead", jobs=2))
    assert (tmp_path / "dead").exists()


@pytest.mark.process
def test_an_error_is_raised_as_it_is():
    with pytest.raises(ZeroDivisionError):
        run_all(divmod, [(1, 1), (1, 0)], lambda *_: None, jobs=2, progress=False)


def test_results_are_told_by_number():
    found = {}
    run_all(divmod, [(7, 2), (9, 4), (5, 5)], found.__setitem__, jobs=1, progress=False)
    assert found == {0: (3, 1), 1: (2, 1), 2: (1, 0)}


@pytest.mark.cluster
def test_dask_gives_the_same(local, tmp_path):
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None)
    with cluster, Client(cluster), parallel_config(backend="dask"):
        assert_same(local, result())
        assert_same(local, result(tmp_path / "dead"))
    assert (tmp_path / "dead").exists()


@pytest.mark.cluster
@pytest.mark.timeout(600)
def test_ray_gives_the_same(local, tmp_path, monkeypatch):
    import ray
    from ray.util.joblib import register_ray

    paths = (str(Path(samples.__file__).parent), os.environ["PYTHONPATH"])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))  # its workers import what this test does
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        register_ray()
        with parallel_config(backend="ray"):
            assert_same(local, result())
            assert_same(local, result(tmp_path / "dead"))
    finally:
        ray.shutdown()
    assert (tmp_path / "dead").exists()

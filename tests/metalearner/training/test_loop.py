import io
import os
import runpy
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import samples
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from markets import InputError, TaskSet
from metalearner import (
    MAML,
    RL2,
    FineTune,
    Latent,
    MeanVariance,
    Pathwise,
    Reptile,
    Scratch,
    Training,
    load_meta,
)
from metalearner.distributed import Ranks
from metalearner.learners.rl2 import QueryUtility
from metalearner.learners.tilt import select_shrinkage
from metalearner.training.loop import _clip_gradients
from strategies import Policy, PolicySettings

SHORT = Training(steps=9, evaluate_every=3, evidence=-1e9)


def weights(meta):
    return torch.cat([p.detach().flatten() for p in meta.policy.parameters()])


def fit(tasks, training=SHORT, objective=None, **options):
    learner = RL2(context=20, training=training, objective=objective or Pathwise())
    return learner.fit(*tasks, progress=False, **options)


def test_a_seed_gives_the_same_bits_and_another_seed_others(tasks):
    a, b, c = (fit(tasks, replace(SHORT, seed=s)) for s in (1, 1, 2))
    assert torch.equal(weights(a), weights(b))
    assert a.history.equals(b.history)
    assert not torch.equal(weights(a), weights(c))


def test_the_global_generator_is_left_alone(tasks):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    fit(tasks)
    assert torch.equal(torch.rand(1), expected)


class Stop(Exception):
    pass


@pytest.mark.parametrize("after", [3, 6])
def test_an_interrupted_training_ends_in_the_same_bits(tasks, tmp_path, after):
    whole = fit(tasks)

    def interrupt(_, step):
        if step == after:
            raise Stop

    path = tmp_path / "c.safetensors"
    with pytest.raises(Stop):
        fit(tasks, checkpoint=path, log=interrupt)
    resumed = fit(tasks, checkpoint=path, resume=True)
    assert torch.equal(weights(whole), weights(resumed))
    assert whole.history.equals(resumed.history)


def test_a_finished_training_resumes_to_itself(tasks, tmp_path):
    path = tmp_path / "c.safetensors"
    first = fit(tasks, checkpoint=path)
    assert torch.equal(weights(first), weights(fit(tasks, checkpoint=path, resume=True)))


def test_training_runs_in_the_threads_it_is_given_and_gives_them_back(tasks):
    """With torch's default of one thread per core, two parallel trainings took five times as long."""
    seen = []
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        fit(tasks, log=lambda *_: seen.append(torch.get_num_threads()))
        assert set(seen) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.process
@pytest.mark.parametrize("wanted", [1, pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])])
def test_kill_minus_nine_loses_nothing(tmp_path, monkeypatch, wanted):
    """A real process is killed at random moments until it is done; its weights equal those of an uninterrupted run.

    It prints each step, and waits for a line before its last one: however fast the machine, it is not done before it is killed.
    """
    steps = 30 * wanted
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, samples\n"
        "from markets import HiddenMarkovRegimes, TaskSet\n"
        "from metalearner import RL2, Training\n"
        "bars = samples.regime_bars(1500, 3, seed=1)\n"
        "regimes = HiddenMarkovRegimes(2, restarts=3).fit(bars[:900])\n"
        "tasks = TaskSet.from_regimes(bars[:1300], regimes).split(bars.index[900])\n"
        f"training = Training(steps={steps}, evaluate_every=1, evidence=-1e9)\n"
        "def log(values, step):\n"
        "    print(step, flush=True)\n"
        f"    if step == {steps - 1}:\n"
        "        sys.stdin.readline()\n"
        "meta = RL2(context=20, training=training).fit(*tasks, checkpoint=sys.argv[1], resume=True, progress=False, log=log)\n"
        "meta.save(sys.argv[2])\n"
    )
    path = os.pathsep.join((str(Path(samples.__file__).parent), os.environ["PYTHONPATH"]))

    def start(name):
        command = [sys.executable, str(script), str(tmp_path / f"{name}.safetensors"), str(tmp_path / name)]
        return subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": path}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    with monkeypatch.context() as patch:  # in this process
        patch.setattr(sys, "argv", [str(script), str(tmp_path / "whole.safetensors"), str(tmp_path / "whole")])
        patch.setattr(sys, "stdin", io.StringIO("\n"))
        runpy.run_path(str(script))
    rng = np.random.default_rng(0)
    for _ in range(wanted):
        process = start("killed")
        for _ in range(rng.integers(1, 20)):
            process.stdout.readline()
        time.sleep(rng.uniform(0, 0.02))  # at any moment of a step
        process.kill()
        assert process.wait() == -signal.SIGKILL
    process = start("killed")
    process.communicate(b"\n")
    assert process.returncode == 0
    for name in ("weights.safetensors", "history.csv", "strategy.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()


def test_a_checkpoint_of_another_configuration_is_refused(tasks, tmp_path):
    path = tmp_path / "c.safetensors"
    fit(tasks, checkpoint=path)
    for other in ({"training": replace(SHORT, seed=9)}, {"objective": Pathwise(utility=MeanVariance(0.9))}):
        with pytest.raises(InputError, match="another configuration or other data"):
            fit(tasks, **other, checkpoint=path, resume=True)
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="not a checkpoint"):
        fit(tasks, checkpoint=path, resume=True)


def test_training_learns(tasks):
    """Utility rises in training, so the gradient through policy, account and utility has the right sign."""
    training = Training(steps=40, evaluate_every=20, learning_rate=1e-2)
    history = fit(tasks, training, Pathwise(symbols=0)).history
    assert history["utility"].iloc[-1] > history["utility"].iloc[1]


def judged(policy, tasks):
    return QueryUtility(policy, Pathwise().sampler(tasks, policy, 20))


ROUNDING = {"cpu": 1e-9, "cuda": 1e-6}  # how far a score is from the same one on a CPU


def test_the_best_weights_on_validation_are_kept(tasks, device):
    """Training judges them on its device; what it returns is on the CPU, where float32 sums up in another order."""
    meta = fit(tasks, Training(steps=30, evaluate_every=5, evidence=-1e9, learning_rate=3e-2, device=device))
    choosing = TaskSet(tasks[1].tasks[: (len(tasks[1]) + 1) // 2])
    found = judged(meta.policy, choosing).scores(np.random.default_rng(0)).mean().item()
    assert next(meta.policy.parameters()).device.type == "cpu"
    assert float(meta.policy.shrink) < 1 or found == pytest.approx(
        meta.history["validation"].max(), abs=ROUNDING[device]
    )


@pytest.mark.gpu
@pytest.mark.parametrize("learner", [RL2, MAML, Latent, Reptile, FineTune, Scratch])
def test_every_learner_trains_on_a_gpu_as_on_a_cpu(tasks, learner):
    """From the same initial weights on the same tasks: the first validation agrees, and training moves the weights."""
    found = {}
    for device in ("cpu", "cuda"):
        training = Training(steps=2, evaluate_every=1, evidence=None, device=device)
        found[device] = learner(training=training).fit(*tasks, progress=False)
    assert all(torch.isfinite(weights(meta)).all() for meta in found.values())
    assert next(found["cuda"].policy.parameters()).device.type == "cpu"
    if len(found["cpu"].history):  # Scratch trains when it adapts
        first = [meta.history["validation"].iloc[0] for meta in found.values()]
        assert first[1] == pytest.approx(first[0], abs=10 * ROUNDING["cuda"])


@pytest.mark.gpu
def test_a_training_on_a_gpu_resumes(tasks, tmp_path):
    def interrupt(_, step):
        if step == 3:
            raise Stop

    training, path = replace(SHORT, device="cuda"), tmp_path / "c.safetensors"
    whole = fit(tasks, training)
    with pytest.raises(Stop):
        fit(tasks, training, checkpoint=path, log=interrupt)
    torch.testing.assert_close(
        weights(fit(tasks, training, checkpoint=path, resume=True)), weights(whole), atol=1e-5, rtol=0
    )


class Reads(TorchDispatchMode):
    """Counts what makes the CPU wait for the device: reading a number out of a tensor."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_regression_the_gradients_are_read_once_an_update_not_once_a_parameter():
    module = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(20)))
    module(torch.ones(1, 3)).sum().backward()
    expected = torch.cat([p.grad.flatten() for p in module.parameters()])
    with Reads() as reads:
        _clip_gradients(module, 1e-3)
    assert reads.count == 1
    found = torch.cat([p.grad.flatten() for p in module.parameters()])
    torch.testing.assert_close(found, expected * 1e-3 / expected.norm())


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_a_gradient_that_is_not_finite_is_named(wrong):
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
    module(torch.ones(1, 3)).sum().backward()
    module[1].weight.grad[0, 0] = wrong
    with pytest.raises(FloatingPointError, match=r"the gradient of 1\.weight is not finite"):
        _clip_gradients(module, 1.0)
    module[1].weight.grad.fill_(1e30)
    with pytest.raises(FloatingPointError, match="norm of the gradients is beyond"):
        _clip_gradients(module, 1.0)


@pytest.mark.parametrize(("devices", "backend"), [(0, "gloo"), (1, "gloo"), (2, "cpu:gloo,cuda:nccl")])
def test_regression_two_processes_on_one_gpu_do_not_ask_for_nccl(monkeypatch, devices, backend):
    """NCCL refuses them: "Duplicate GPU detected"."""
    for name, value in (("WORLD_SIZE", "2"), ("LOCAL_WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    asked = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: devices)
    monkeypatch.setattr("torch.cuda.set_device", lambda number: asked.append(number))
    monkeypatch.setattr("torch.distributed.init_process_group", asked.append)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    assert Ranks.join() == Ranks(1, 2)
    assert asked == [*([1 % devices] if devices else []), backend]


def test_patience_stops_early(tasks):
    """But only after the cost curriculum has ended and that many validations have followed (regression)."""
    training = Training(steps=60, evaluate_every=2, patience=2, learning_rate=0.3, weight_decay=0.0)
    history = fit(tasks, training).history
    assert 50 <= history["step"].iloc[-1] < 60


def test_without_evidence_there_is_no_tilt(tasks):
    torch.manual_seed(0)
    policy = Policy(PolicySettings())
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=1.0)
    validation = judged(policy, tasks[1])
    select_shrinkage(policy, validation, evidence=1e9)
    assert float(policy.shrink) == 0.0
    select_shrinkage(policy, validation, evidence=-1e9)
    assert float(policy.shrink) > 0.0


def test_what_is_not_finite_stops_with_its_name(tasks, monkeypatch):
    with pytest.raises(InputError, match="steps is 0"):
        Training(steps=0)
    monkeypatch.setattr("metalearner.objectives.pathwise._volatility", lambda bars, cuts, context: np.zeros(len(cuts)))
    with pytest.raises(FloatingPointError, match="the growth of task"):
        fit(tasks)


@pytest.mark.process
def test_processes_that_share_the_tasks_learn_the_same(tmp_path, monkeypatch):
    """Two processes under torchrun agree with one: the same tasks, and the same weights to 1e-6."""
    script = tmp_path / "train.py"
    script.write_text(
        "import sys\n"
        "from markets.synthetic import DriftMomentum\n"
        "from dataclasses import replace\n"
        "from markets import Uncertainty\n"
        "from metalearner import Across, CVaR\n"
        "from metalearner import MAML, RL2, CostCurriculum, Latent, MeanVariance, Pathwise, Reptile, Training\n"
        "from strategies import PolicySettings\n"
        "f = DriftMomentum(length=20)\n"
        "pathwise = Pathwise(f.costs, f.execution, MeanVariance(1.0), CostCurriculum(0, 0), f.scale, symbols=0)\n"
        "for kind, memory in ((RL2, 'gru'), (Latent, 'belief'), (MAML, 'none'), (Reptile, 'none')):\n"
        "    policy = PolicySettings(memory=memory, base='flat', trades='at_once', features=f.features)\n"
        "    training = Training(steps=4, batch=6, evaluate_every=4, evidence=None, device='cpu')\n"
        "    learner = kind(policy=policy, objective=pathwise, training=training)\n"
        "    meta = learner.fit(f.sample(40, 1).tasks(), f.sample(10, 2).tasks(), progress=False)\n"
        "    meta.save(f'{sys.argv[1]}-{kind.__name__}')\n"
        "    if kind in (RL2, MAML):\n"  # 5 tasks in 3 copies: no two processes have as many of each
        "        worst = replace(pathwise, worst_case=CVaR(0.5))\n"
        "        learner = replace(learner, objective=worst, training=replace(training, batch=5))\n"
        "        market = Across.perturbed(f.sample(40, 1).tasks(), Uncertainty(0.1, 2.0), copies=3)\n"
        "        meta = learner.fit(market, f.sample(10, 2).tasks(), progress=False)\n"
        "        meta.save(f'{sys.argv[1]}-{kind.__name__}-worst')\n"
    )
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "1")])
    runpy.run_path(str(script))  # in this process, without torchrun
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*command, str(script), tmp_path / "2"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for kind in ("RL2", "Latent", "MAML", "Reptile", "RL2-worst", "MAML-worst"):
        one, two = (load_meta(tmp_path / f"{ranks}-{kind}") for ranks in (1, 2))
        torch.testing.assert_close(weights(one), weights(two), atol=1e-6, rtol=0)


def test_regression_other_closes_are_other_data(tasks, tmp_path):
    """With opens, fill prices do not determine the closes from which features are computed."""
    from markets import Bars, HiddenMarkovRegimes, TaskSet

    path, found = tmp_path / "c.safetensors", []
    for factor in (1.0, 1.3):
        source = samples.regime_bars(1500, 3, seed=1)
        close = source.close.copy()
        opens = close * 0.999
        close[:-1] *= factor
        bars = Bars.make(source.index, source.symbols, close, open=opens)
        regimes = HiddenMarkovRegimes(2, restarts=2).fit(bars[:900])
        found.append(TaskSet.from_regimes(bars[:1300], regimes).split(bars.index[900]))
    fit(found[0], checkpoint=path)
    with pytest.raises(InputError, match="other data"):
        fit(found[1], checkpoint=path, resume=True)


def test_a_seed_below_zero_is_refused():
    with pytest.raises(InputError, match="seed is -1"):
        Training(seed=-1)


def test_regression_a_validation_that_is_not_finite_stops(tasks, monkeypatch):
    monkeypatch.setattr(QueryUtility, "scores", lambda self, rng: torch.tensor([0.1, float("nan")]))
    with pytest.raises(FloatingPointError, match="validation task 1 is not finite"):
        fit(tasks)


def test_regression_tasks_of_another_kind_are_named(tasks):
    for wrong, message in (([1, 2], "needs a TaskSet with at least one task, not list"), (TaskSet(()), "not no tasks")):
        with pytest.raises(InputError, match=message):
            RL2(context=20, training=SHORT).fit(wrong, wrong, progress=False)
    other = samples.regime_bars(400, 3, seed=2)
    with pytest.raises(InputError, match="one source of bars"):
        TaskSet((*tasks[0].tasks, replace(tasks[0][0], bars=other)))


def test_the_last_weights_are_kept_where_asked(tasks):
    training = replace(SHORT, steps=12, learning_rate=0.1)
    best, last = (fit(tasks, replace(training, keep=keep)) for keep in ("best", "last"))
    assert best.history.equals(last.history)
    best_step = best.history["validation"].argmax()
    assert torch.equal(weights(best), weights(last)) == (best_step == len(best.history) - 1)
    with pytest.raises(InputError, match="keep 'first' is unknown"):
        Training(keep="first")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learning_rate": -1.0}, "learning_rate is -1"),
        ({"largest_gradient": 0.0}, "largest_gradient is 0"),
        ({"patience": -1}, "patience is -1"),
        ({"evidence": float("nan")}, "evidence nan"),
        ({"threads": 0}, "threads is 0"),
    ],
)
def test_settings_that_would_learn_nothing(wrong, message):
    with pytest.raises(InputError, match=message):
        Training(**wrong)


def test_a_checkpoint_is_a_file_and_is_named(tasks, tmp_path):
    with pytest.raises(InputError, match="a folder; a checkpoint is a file"):
        fit(tasks, checkpoint=tmp_path)
    with pytest.raises(InputError, match="say which checkpoint"):
        fit(tasks, resume=True)


def test_regression_the_rank_chooses_the_device_before_the_module_goes_there(tasks, monkeypatch):
    """All processes put their modules on the first GPU."""
    order = []
    join = Ranks.join
    monkeypatch.setattr("metalearner.training.loop.Ranks.join", lambda: order.append("join") or join())
    to = torch.nn.Module.to
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *at: order.append("to") or to(self, *at))
    fit(tasks)
    assert order[:2] == ["join", "to"]

"""Threads of one process take turns: the same bits as alone, and every switch is put back."""

from __future__ import annotations

import logging
import os
import threading
import time

import pytest
import torch
from faults import threads

import wingbeat as wb
from wingbeat import turn
from wingbeat.determinism import deterministic_algorithms, seeded
from wingbeat.turn import Turn, alone

SEEDS = range(6)


@pytest.fixture(scope="module")
def expected():
    return threads.alone(SEEDS)


def test_runs_in_threads_have_the_bits_of_runs_alone(expected):
    before = threads.switches()
    found, failed = threads.together(SEEDS)
    assert not failed
    assert found == expected
    assert threads.switches() == before


def test_optuna_with_several_jobs(expected):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = {}

    def objective(trial):
        found[trial.number] = threads.run(trial.number)
        return 0.0

    optuna.create_study().optimize(objective, n_trials=len(SEEDS), n_jobs=3)
    assert found == expected


def test_joblib_with_threads(expected):
    joblib = pytest.importorskip("joblib")
    with joblib.parallel_config("threading", n_jobs=3):
        found = joblib.Parallel()(joblib.delayed(threads.run)(seed) for seed in SEEDS)
    assert dict(zip(SEEDS, found, strict=True)) == expected


def test_a_run_within_a_run_of_the_same_thread_does_not_wait(expected):
    with alone(), seeded(3), deterministic_algorithms():
        assert threads.run(1) == expected[1]
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_loop_of_ones_own_holds_the_turn_and_a_thread_that_leaves_it_gives_it_back(expected):
    """A loop over Twins that is never finished, in a thread that ends, keeps nobody waiting."""

    def build(seed):
        model = torch.nn.Linear(1, 1)
        return {"model": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}

    kept = []

    def begin():
        kept.append(iter(wb.Twins(build, wb.Gaussian(0.1), replicas=1, steps=4)))
        next(kept[0])

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    assert threads.run(0) == expected[0]
    kept[0].close()  # what it gives back now is not another thread's
    assert threads.run(2) == expected[2]


def test_a_thread_that_waits_says_so_once(caplog, monkeypatch):
    monkeypatch.setattr(turn, "_LOOK", 0.01)
    own, order = Turn(), []

    def wait(name):
        with own.held():
            order.append(name)

    with caplog.at_level(logging.WARNING, logger="wingbeat"), own.held():
        waiting = [threading.Thread(target=wait, args=(name,)) for name in "ab"]
        for thread in waiting:
            thread.start()
        while not caplog.records:
            time.sleep(0.001)
        time.sleep(0.05)
        assert not order
    for thread in waiting:
        thread.join()
    assert sorted(order) == ["a", "b"]
    assert own.free
    assert ["waits until it has ended" in r.getMessage() for r in caplog.records] == [True]


def test_a_forked_child_does_not_wait_for_a_thread_it_does_not_have():
    began, stop = threading.Event(), threading.Event()

    def hold():
        with alone():
            began.set()
            stop.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    began.wait()
    child = os.fork()
    if child == 0:
        with alone():
            os._exit(0)
    _, status = os.waitpid(child, 0)
    stop.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0

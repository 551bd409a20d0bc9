"""Stores and the view on them: each step is there whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wingbeat.errors import StoreError
from wingbeat.replicas.snapshot import Snapshot
from wingbeat.trajectory.store import FolderStore, MemoryStore
from wingbeat.trajectory.trajectory import Trajectory, perturbed

LABELS = ("reference", "null", 'größe "<x>"@3#1')


def snapshot(step=0, labels=LABELS, losses=None):
    n = len(labels)
    generator = torch.Generator().manual_seed(step)
    return Snapshot(
        step,
        labels,
        {"w": torch.randn(n, 2, 3, generator=generator), "b": torch.randn(n, generator=generator)},
        {"count": torch.full((n,), step), "mean": torch.zeros(n, 2)},
        torch.zeros(0, n) if losses is None else losses,
    )


@pytest.fixture(params=["memory", "folder"])
def store(request, tmp_path):
    if request.param == "memory":
        return MemoryStore()
    return FolderStore(tmp_path / "a run", create=True)


def same(a, b):
    assert (a.step, a.labels) == (b.step, b.labels)
    assert torch.equal(a.losses, b.losses)
    for mine, other in ((a.params, b.params), (a.buffers, b.buffers)):
        assert set(mine) == set(other)
        assert all(torch.equal(mine[k], other[k]) for k in mine)


def test_what_was_appended_is_read(store):
    kept = [snapshot(0), snapshot(10), snapshot(1234567)]
    for one in kept:
        store.append(one)
    assert store.steps() == [0, 10, 1234567]
    for one in kept:
        same(store.read(one.step), one)
        assert torch.equal(store.read_tensor(one.step, "w"), one.params["w"])
        assert torch.equal(store.read_tensor(one.step, "count"), one.buffers["count"])


def test_parameters_keep_the_model_s_order(store):
    store.append(snapshot())
    assert list(store.read(0).params) == ["w", "b"]


def test_an_absent_step_is_named_with_those_that_are_there(store):
    store.append(snapshot(4))
    with pytest.raises(StoreError, match=r"no snapshot of step 5.*recorded: 4"):
        store.read(5)


def test_a_step_is_replaced(store):
    store.append(snapshot(4))
    store.append(snapshot(4, LABELS[:2]))
    assert store.steps() == [4]
    assert store.read(4).labels == LABELS[:2]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(st.integers(0, 10**9), unique=True, max_size=6))
def test_steps_come_back_in_order_whatever_order_they_went_in(tmp_path, steps):
    folder = tmp_path / "order"
    shutil.rmtree(folder, ignore_errors=True)
    store = FolderStore(folder, create=True)
    for step in steps:
        store.append(snapshot(step, LABELS[:2]))
    assert store.steps() == sorted(steps)


def test_a_snapshot_under_another_step_s_name_is_refused(tmp_path):
    store = FolderStore(tmp_path, create=True)
    store.append(snapshot(1))
    names = [tmp_path / "snapshots" / f"{step:06d}.safetensors" for step in (1, 2)]
    shutil.copy(*names)
    with pytest.raises(StoreError, match=r"000002\.safetensors"):
        FolderStore(tmp_path).read(2)


def test_a_tensor_is_checked_before_it_is_read_alone(tmp_path):
    store = FolderStore(tmp_path, create=True)
    store.append(snapshot(1))
    path = tmp_path / "snapshots" / "000001.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(StoreError, match=r"000001\.safetensors was altered"):
        FolderStore(tmp_path).read_tensor(1, "w")


def test_state_comes_back(tmp_path):
    store = FolderStore(tmp_path, create=True)
    assert store.load_state() is None
    tensors = {"0/params": torch.ones(1, 3), "0/slots/step": torch.tensor([3])}
    store.save_state(tensors, {"done": 3})
    found, meta = store.load_state()
    assert meta == {"done": 3}
    assert all(torch.equal(found[k], tensors[k]) for k in tensors)
    store.seal()
    assert store.sealed
    assert store.load_state() is None


def test_json_holds_any_name_and_damage_is_named(tmp_path):
    store = FolderStore(tmp_path, create=True)
    content = {"größe": 'a "quoted" <tag>', "n": [1, 2.5, None]}
    store.write_json("facts.json", content)
    assert store.read_json("facts.json") == content
    assert store.read_json("absent.json") is None
    for damaged in (b'{"a": ', b"\xff\xfe", b""):
        (tmp_path / "facts.json").write_bytes(damaged)
        with pytest.raises(StoreError, match=r"facts\.json is damaged"):
            store.read_json("facts.json")


def test_only_one_holder_at_a_time_and_a_dead_one_s_litter_goes(tmp_path):
    one, two = FolderStore(tmp_path, create=True), FolderStore(tmp_path)
    litter = tmp_path / "snapshots" / ".writing-abc"
    litter.write_bytes(b"half")
    one.lock()
    assert not litter.exists()
    with pytest.raises(StoreError, match="in use by another process") as caught:
        two.lock()
    assert str(tmp_path) in str(caught.value)
    one.unlock()
    two.lock()
    two.unlock()


def test_trajectory_pads_losses_of_late_replicas(store):
    nan = float("nan")
    store.append(snapshot(0, LABELS[:2]))
    store.append(snapshot(2, LABELS, torch.tensor([[1.0, 2.0, nan], [3.0, 4.0, nan]])))
    store.append(snapshot(3, LABELS, torch.tensor([[5.0, float("inf"), 6.0]])))
    trajectory = Trajectory(store)
    assert trajectory.steps == (0, 2, 3)
    assert trajectory.labels == LABELS
    assert [s.step for s in trajectory] == [0, 2, 3]
    losses = trajectory.losses
    assert losses.shape == (3, 3)
    assert losses[:, 0].tolist() == [1.0, 3.0, 5.0]
    assert losses[:2, 2].isnan().all()
    assert trajectory.diverged() == {"null": 2}, "absent is not diverged"
    assert trajectory.pairs() == [LABELS[:2], LABELS[::2], LABELS[1:]]
    assert torch.equal(trajectory.tensor(2, "b"), store.read(2).params["b"])


def test_groups_are_found_by_the_last_hash():
    labels = ("reference", "null", "a@0#1", "a@0#2", "b c@5#1")
    assert perturbed(labels) == {"a@0": [2, 3], "b c@5": [4]}


def test_no_code_travels_with_data():
    """Nothing in the package can load pickled code from a file.

    What a Ray driver sends to its own workers is a message, which Ray would pickle itself. The
    description of a distributed checkpoint is read by an unpickler that finds torch's classes of
    metadata and nothing else (tests/checkpoints/test_distributed.py tries to make it run code).
    """
    import ast

    source = Path(__file__).parents[2] / "src" / "wingbeat"
    unsafe = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for path in source.rglob("*.py"):
        sends = path in (
            source / "study" / "runner" / "ray.py",
            source / "checkpoints" / "distributed.py",
        )
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if sends and isinstance(node, ast.Import):
                assert {a.name for a in node.names} & unsafe <= {"pickle"}
            elif isinstance(node, ast.Import):
                assert not unsafe & {a.name.split(".")[0] for a in node.names}, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in unsafe, path
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in {"torch.save", "eval", "exec"}, path
                if called == "torch.load":  # checkpoints of others, their code left asleep
                    given = {k.arg: ast.unparse(k.value) for k in node.keywords}
                    assert given.get("weights_only") == "True", path
                assert not called.endswith(("read_pickle", "to_pickle")), path
                allowed = [k for k in node.keywords if k.arg == "allow_pickle"]
                assert not allowed, path

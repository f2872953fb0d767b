"""Trials on a Ray cluster of two nodes, both on this machine."""

import os
import shutil
import signal
import tempfile

import psutil
import pytest
import torch

import nbopt
from nbopt import OnRay
from nbopt.search import optional
from nbopt.search.executors import ray_cluster
from nbopt.search.executors.on_ray import explain
from tests.search import ray_nodes, victim
from tests.waiting import eventually


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start one, whose address Ray finds; return its processes and the home folder of all."""
    home, before = tmp_path_factory.mktemp("home"), dict(os.environ)
    os.environ |= ray_nodes.environment(home)
    process, address, folders = None, "", []
    try:
        while not address and len(folders) < 3:  # Ray gives up where an agent takes more than 15 seconds to begin
            folders.append(tempfile.mkdtemp(prefix="nb", dir="/tmp"))  # the names of sockets must be short
            process = ray_nodes.start("ray_cluster", folders[-1])
            address = process.stdout.readline().strip()
        assert address, "the cluster did not start"
        os.environ["RAY_ADDRESS"] = address
        yield psutil.Process(process.pid), home
        import ray

        ray.shutdown()
    finally:
        process.stdin.close()
        process.wait(60)
        os.environ.clear()
        os.environ |= before
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.timeout(300)
def test_a_study_survives_its_kernel_and_a_worker(cluster, tmp_path):
    """Another kernel takes over the trials that actors of the first are at; one of those is lost, too."""
    processes, home = cluster
    inline = ray_nodes.begin(None, "inline").fit()
    kernel = ray_nodes.start("ray_nodes", tmp_path)
    number = kernel.stdout.readline().strip()
    for line in kernel.stdout:
        written, *reports = map(int, line.split())
        if written and any(reports[written:]):  # one is written, another one under way
            break
    os.kill(kernel.pid, signal.SIGKILL)
    kernel.communicate()
    study = nbopt.open(number, ray_nodes.make_model, ray_nodes.make_data(), store=tmp_path)
    executor, killed, held = study.executor, [], {}
    assert isinstance(executor, OnRay) and executor.slots == 2
    reattach = executor.reattach
    executor.reattach = lambda name: held.update(reattach(name)) or dict(held)

    def kill():
        late = [each for each in executor._assigned.values() if each.job.number >= 3 and each.trained.step_count]
        if late and not killed:
            killed.append(executor.ready[late[0].worker])
            os.kill(killed[0], signal.SIGKILL)

    study.watchers.append(kill)
    study.fit()
    assert held and max(held) >= written  # what was under way was not begun again; actors may hold what they have done
    assert killed and [trial.number for trial in study.trials] == list(range(ray_nodes.TRIALS))
    assert victim.found(study) == victim.found(inline)
    read = nbopt.open(number, store=tmp_path)
    assert victim.found(read) == victim.found(inline) and read.state is nbopt.RunState.FINISHED
    one, other = (each.best.run(store=None).model.state_dict() for each in (study, inline))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    import ray

    eventually(lambda: not ray.util.list_named_actors(all_namespaces=True))
    ports = [each for each in psutil.net_connections("tcp") if each.status == "LISTEN" and each.laddr.port]
    of_cluster = {child.pid for child in processes.children(recursive=True)}
    ours = [each.laddr.ip for each in ports if each.pid in of_cluster]
    assert ours and {ip.removeprefix("::ffff:") for ip in ours} == {"127.0.0.1"}
    assert not list(home.rglob("*"))
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"


def test_changes_a_pause_and_a_stop_reach_actors(cluster, make):
    """All by one study: an actor's imports take longer than the trials."""
    study = make(trials=2, epochs=60, executor=OnRay(1))

    def change():
        if study.asked and len(study.trials[0].reports) == 3:
            study.set_trial(0, weight_decay=0.125)
            study.pause(wait=False)

    def stop():
        if study.asked == 2 and study.trials[1].reports and not study.trials[1].note:
            study.stop_trial(1, source="panel")

    study.watchers.append(change)
    study.fit()
    assert study.state is nbopt.RunState.PAUSED and study.trials[0].state == "running"
    study.watchers[:] = [stop]
    changed, stopped = study.fit().trials
    assert (changed.state, stopped.state, stopped.note) == ("complete", "pruned", "stopped by hand")
    assert 0 < stopped.steps < changed.steps
    by_hand = [entry for entry in study.journal if entry.source == "panel"]
    assert [(entry.name, entry.new) for entry in by_hand] == [("stop_trial", 1)]
    run = study.best.run(store=None)
    changes = [entry for entry in run.journal.changes() if entry.name == "weight_decay"]
    assert [entry.new for entry in changes] == [0.125] and 0 < changes[0].step < run.step_count


def test_a_cluster_that_does_not_answer_is_told(monkeypatch):
    class NotConnected:
        @staticmethod
        def is_initialized():
            return False

    monkeypatch.setattr(ray_cluster, "need", lambda name, extra: NotConnected)
    with pytest.raises(ConnectionError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 "):
        OnRay(1, "127.0.0.1:1")
    with pytest.raises(ConnectionError, match="no Ray cluster answers at nowhere:99999"):
        OnRay(1, "nowhere:99999")
    for given in ("nowhere", ":6379", "host:head"):
        with pytest.raises(ConnectionError, match=f"{given}: an address is host:port of the head node"):
            OnRay(1, given)
    with pytest.raises(ConnectionError, match="address of Ray Client"):
        OnRay(1, "ray://127.0.0.1:10001")


def test_why_an_actor_is_lost_is_told():
    memory = RuntimeError("The actor died.\n  The worker was killed due to the node running low on memory (OOM).")
    assert explain(memory) == "its machine ran out of memory"
    assert explain(RuntimeError("The actor died: its node has died.\n  more")) == (
        "Ray lost it (The actor died: its node has died)"
    )


def test_a_missing_ray_is_told(monkeypatch):
    def fail(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(optional, "import_module", fail)
    with pytest.raises(ImportError, match=r"executor='ray' needs ray.*pip install 'nbopt\[ray\]'"):
        OnRay(1)

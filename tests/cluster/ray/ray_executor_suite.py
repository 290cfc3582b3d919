"""The ray executor on a real cluster; started by test_ray.py in a namespace of its own."""

import collections
import os
import threading
import time

import pytest
from ray_nodes import ADDRESS, HEAD, Nodes, wait_until

from llt_core.errors import RequestError
from llt_core.interfaces import Job
from llt_core.testing.executor import ExecutorConformance
from llt_plugins.executors.ray_cluster import RayCluster

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif("LLT_NAMESPACE" not in os.environ, reason="run by test_ray.py"),
]


@pytest.fixture(scope="session")
def nodes(tmp_path_factory):
    nodes = Nodes(tmp_path_factory.mktemp("ray"))
    nodes.add(3)
    nodes.add(4)
    return nodes


@pytest.fixture
def started(nodes, tmp_path):
    """Return a function that starts an executor; it is closed at the end."""
    running = []

    def start(**parameters):
        executor = RayCluster(address=ADDRESS, **parameters)
        executor.start(tmp_path / "executor")
        running.append(executor)
        return executor

    yield start
    for executor in running:
        executor.cancel()
        executor.close()


@pytest.mark.usefixtures("nodes")
class TestConformance(ExecutorConformance):
    component = RayCluster(address=ADDRESS)
    step = 0.6


@pytest.mark.usefixtures("nodes")
class TestConformanceWithoutSharedFiles(ExecutorConformance):
    """What differs where files are not shared; the rest is the same code."""

    component = RayCluster(address=ADDRESS, shared_files=False)
    __test__ = False


def test_bytes_travel(nodes):
    kit = TestConformanceWithoutSharedFiles()
    kit.test_bytes_travel_where_files_are_not_shared()
    kit.test_cancel_stops_what_waits_and_runs()


def places(tmp_path, count, seconds=0.0):
    notes = str(tmp_path / "notes")
    return [
        Job(str(n), "ray_jobs:place", {"number": n, "seconds": seconds, "notes": notes})
        for n in range(count)
    ]


def work_off(executor, jobs, retries=0):
    """Have jobs done as the engine does: what was killed is submitted again, ``retries`` times."""
    waiting, running, ended = collections.deque(jobs), {}, {}
    attempts = collections.Counter()
    while waiting or running:
        while waiting and len(running) < executor.capacity():
            job = waiting.popleft()
            running[job.id] = job
            attempts[job.id] += 1
            executor.submit(job, lambda progress: None)
        for outcome in executor.poll(timeout=1):
            job = running.pop(outcome.job)
            if outcome.failure == "killed" and attempts[job.id] <= retries:
                waiting.append(job)
            else:
                ended[job.id] = outcome
    return ended, attempts


@pytest.mark.parametrize(("number", "way"), [(5, "kill"), (6, "kill_raylet")])
def test_a_lost_node_costs_nothing_but_time(nodes, started, tmp_path, capfd, number, way):
    doomed = nodes.add(number)
    executor = started()
    assert executor.capacity() == 4  # three places, and one job that waits
    jobs, notes = places(tmp_path, 40, seconds=0.5), tmp_path / "notes"

    def begun():
        return notes.read_text().splitlines() if notes.exists() else []

    def kill_midway():
        wait_until(lambda: len(begun()) >= 12, "some jobs begun")
        before = len(begun())
        wait_until(lambda: any(doomed in line for line in begun()[before:]), "a job there")
        getattr(nodes, way)(doomed)

    killer = threading.Thread(target=kill_midway)
    killer.start()
    ended, attempts = work_off(executor, jobs, retries=2)
    killer.join()
    assert not nodes.raylets(doomed)
    assert {n: ended[str(n)].result["square"] for n in range(40)} == {n: n * n for n in range(40)}
    assert {o.result["node"] for o in ended.values()} >= {"127.0.0.3", "127.0.0.4", doomed}
    again = {job for job, count in attempts.items() if count > 1}
    assert len(again) <= 2  # what ran there, or was on its way there
    if way == "kill":  # workers without raylet may finish their job: whichever comes first
        twice = collections.Counter(line.split()[0] for line in begun())
        assert {job for job, count in twice.items() if count > 1} == again != set()
    wait_until(lambda: executor.capacity() == 3, "the lost node is counted out")
    assert capfd.readouterr().out == ""  # results may be printed there


def test_a_job_that_kills_its_worker_is_given_up(started):
    """Each attempt is told, and none is made that nobody asked for."""
    poison = Job("poison", "llt_core.testing.jobs:kill", {})
    ended, attempts = work_off(started(), [poison], retries=2)
    assert ended["poison"].failure == "killed"
    assert "WorkerCrashedError" in ended["poison"].message
    assert attempts["poison"] == 3


def test_capacity_grows_with_the_cluster(nodes, started):
    with pytest.raises(RequestError, match="no node of this Ray has room") as refusal:
        started(resources={"disk": 1})
    assert "1 CPU, 1 disk" in str(refusal.value)
    assert "127.0.0.3 (1 CPU)" in str(refusal.value)
    executor = started(resources={"disk": 1}, jobs=2)  # nodes are to come
    assert executor.capacity() == 2
    executor.submit(Job("early", "ray_jobs:process", {}), lambda progress: None)
    assert executor.poll(timeout=1) == []
    doomed = nodes.add(7, cpus=4, resources='{"disk": 6}')
    assert [outcome.job for outcome in executor.poll(timeout=60)] == ["early"]
    executor.close()
    assert started(resources={"disk": 1}).capacity() == 5
    nodes.kill(doomed)


def test_a_share_of_a_gpu(nodes, started, tmp_path):
    """Ray believes in a GPU that is declared; jobs that share it see the same one."""
    doomed = nodes.add(8, cpus=4, gpus=1)
    executor = started(gpus=0.5, cpus=2)
    assert executor.capacity() == 3
    ended, _ = work_off(executor, places(tmp_path, 2, seconds=1.0))
    assert [(o.result["node"], o.result["cuda"], o.result["threads"]) for o in ended.values()] == [
        (doomed, "0", "2"),
        (doomed, "0", "2"),
    ]
    nodes.kill(doomed)


def test_a_job_without_gpu_sees_none(nodes, started, tmp_path):
    doomed = nodes.add(9, cpus=1, gpus=1, resources='{"here": 1}')
    ended, _ = work_off(started(resources={"here": 1}), places(tmp_path, 1))
    assert ended["0"].result["node"] == doomed
    assert ended["0"].result["cuda"] in ("", None)
    nodes.kill(doomed)


def test_workers_are_used_again(started):
    executor = started()
    ended, _ = work_off(executor, [Job(str(n), "ray_jobs:process", {}) for n in range(2)])
    start = time.monotonic()
    ended, _ = work_off(executor, [Job(str(n), "ray_jobs:process", {}) for n in range(100)])
    assert len({o.result["pid"] for o in ended.values()}) <= 4
    assert time.monotonic() - start < 10  # a process each would take a second each


def test_another_version_of_llt_is_refused(started, monkeypatch):
    monkeypatch.setattr("llt_plugins.executors.ray_cluster.__version__", "0.0.1")
    ended, _ = work_off(started(), [Job("0", "ray_jobs:process", {})])
    assert ended["0"].failure == "request"
    assert "the driver has 0.0.1" in ended["0"].message


def test_no_cluster_there(nodes, tmp_path):
    start = time.monotonic()
    with pytest.raises(RequestError, match="cannot connect to the Ray cluster"):
        RayCluster(address="127.0.0.2:1").start(tmp_path)
    assert time.monotonic() - start < 60


def test_the_end_of_the_drivers_own_node(nodes, started):
    """Nothing can be run any more, which is no failure of cells. Last here: the head is gone."""
    executor = started()
    executor.submit(Job("0", "llt_core.testing.jobs:give_back", {}), lambda progress: None)
    assert [outcome.failure for outcome in executor.poll(timeout=60)] == [None]
    nodes.kill_raylet(HEAD)
    executor.submit(Job("1", "llt_core.testing.jobs:give_back", {}), lambda progress: None)
    with pytest.raises(RequestError, match="the Ray node of this machine is gone"):
        assert executor.poll(timeout=60) == []

"""What becomes of jobs when workers, the nursery, reports or results misbehave."""

import os
import signal
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from llt_core.interfaces import Job
from llt_plugins.executors.pool import Pool

ONE = {"LLT_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks into /proc")


def job(name, entry, **payload):
    module = "" if ":" in entry else "llt_core.testing.jobs:"
    return Job(name, module + entry, payload)


@contextmanager
def pool(size=2, **options):
    made = Pool([ONE] * size, **options)
    try:
        yield made
    finally:
        made.stop()


def finish(made, *jobs, report=lambda progress: None):
    """Submit all jobs and return the outcomes by id."""
    for one in jobs:
        made.submit(one, report)
    ended = {}
    end = time.monotonic() + 60
    while len(ended) < len(jobs):
        assert time.monotonic() < end
        for outcome in made.poll(1):
            assert outcome.job not in ended
            ended[outcome.job] = outcome
    return ended


def look(made, name="look"):
    return finish(made, job(name, "surroundings"))[name].result


def test_workers_are_kept_and_no_more_are_started_than_needed(family):
    with pool(3) as made:
        pids = {look(made)["pid"] for _ in range(5)}
        assert len(pids) == 1
        assert len(family.alive()) == 2  # the nursery and one worker
        ended = finish(made, *(job(str(k), "surroundings") for k in range(12)))
        assert pids < {ended[k].result["pid"] for k in ended}
        assert len(family.alive()) <= 4


def test_one_job_in_flight_in_each_worker(family):
    with pool(2) as made:
        jobs = [job(str(k), "sleep", seconds=0.05) for k in range(6)]
        start = time.monotonic()
        finish(made, *jobs)
        assert time.monotonic() - start >= 3 * 0.05


def test_stop_leaves_no_process_and_the_pool_can_be_used_again(family):
    with pool() as made:
        finish(made, *(job(str(k), "give_back") for k in range(4)))
        made.stop(patience=3)
        assert family.alive() == set()
        assert finish(made, job("a", "give_back", k=1))["a"].result == {"k": 1}
        made.submit(job("long", "sleep", seconds=600), print)
        made.submit(job("waits", "sleep", seconds=600), print)
        made.submit(job("waits too", "sleep", seconds=600), print)
        made.stop()
        assert family.alive() == set()
        assert made.poll(None) == []


def test_stop_while_libraries_are_being_loaded(family, write_module):
    name = write_module("import time; time.sleep(600)")
    with pool() as made:
        made.submit(job("a", f"{name}:run"), print)
        assert made.poll(0.1) == []
        start = time.monotonic()
        made.stop()
        assert time.monotonic() - start < 300
        assert family.alive() == set()


def test_stop_ends_a_worker_that_ignores_the_request(family, write_module, tmp_path, wait_for):
    name = write_module(
        """
        import signal, time
        from pathlib import Path
        def run(payload, report):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            Path(payload["file"]).touch()
            time.sleep(600)
        """
    )
    with pool() as made:
        made.submit(job("a", f"{name}:run", file=str(tmp_path / "deaf")), print)
        wait_for(tmp_path / "deaf")
        made.stop()
        assert family.alive() == set()


def test_a_worker_killed_while_idle_costs_nothing(family):
    with pool(1) as made:
        first = look(made)
        os.kill(first["pid"], signal.SIGKILL)
        second = look(made)
        assert second["pid"] != first["pid"]
        os.kill(second["pid"], signal.SIGKILL)
        while second["pid"] in family.alive():
            time.sleep(0.01)
        assert look(made)["pid"] not in (first["pid"], second["pid"])


def test_messages_name_the_signal_or_the_exit_code(family):
    with pool() as made:
        ended = finish(made, job("kill", "kill"), job("crash", "crash", status=7))
    assert "SIGKILL" in ended["kill"].message
    assert "memory" in ended["kill"].message
    assert "exit code 7" in ended["crash"].message


def test_without_the_nursery_running_jobs_are_lost_and_the_rest_goes_on(family, tmp_path, wait_for):
    with pool(2) as made:
        nursery = look(made)["parent"]
        for name in ("long", "longer"):
            file = str(tmp_path / name)
            made.submit(job(name, "sleep", seconds=600, begun=file), print)
            wait_for(tmp_path / name)
        made.submit(job("next", "give_back", k=1), print)
        workers = family.alive() - {nursery}
        os.kill(nursery, signal.SIGKILL)
        ended = {}
        while len(ended) < 3:
            ended |= {outcome.job: outcome for outcome in made.poll(30)}
        assert ended["long"].failure == ended["longer"].failure == "killed"
        assert "SIGKILL" in ended["long"].message
        assert ended["next"].result == {"k": 1}
        assert not workers & family.alive()


def test_a_module_that_ends_the_process_that_loads_it(family, write_module):
    name = write_module("import os; os._exit(9)")
    with pool() as made:
        ended = finish(made, job("a", f"{name}:run"), job("b", "give_back", k=1))
        assert ended["a"].failure == "killed"
        again = finish(made, job("b", "give_back", k=1))["b"]
        assert again.result == {"k": 1}


def test_what_takes_too_long_is_stopped_alone(family):
    with pool(2, limit=3.0) as made:
        ended = finish(
            made,
            job("hung", "sleep", seconds=600),
            job("a", "give_back", k=1),
            job("b", "sleep", seconds=0.1),
        )
        assert ended["hung"].failure == "timeout"
        assert "0.05 min" in ended["hung"].message
        assert ended["a"].failure is ended["b"].failure is None
        assert finish(made, job("hung", "give_back", k=2))["hung"].result == {"k": 2}


def test_results_that_cannot_travel_are_the_jobs_failure(family, write_module):
    name = write_module(
        """
        import os
        driver = os.getppid
        class Far:
            def __reduce__(self):
                return (eval, ("1 / 0",))
        def local(payload, report):
            return {"function": lambda: None}
        def far(payload, report):
            return {"far": Far()}
        """
    )
    with pool(1) as made:
        ended = finish(
            made, job("a", f"{name}:local"), job("b", f"{name}:far"), job("c", "give_back")
        )
    assert ended["a"].failure == "code"
    assert "lambda" in ended["a"].message
    assert ended["b"].failure == "code"
    assert "ZeroDivisionError" in ended["b"].message
    assert ended["c"].failure is None


def test_nothing_is_lost_when_a_report_raises(family):
    heard = []

    def report(progress):
        heard.append(progress.done)
        if progress.done == 1:
            raise KeyboardInterrupt

    with pool(1) as made:
        made.submit(job("a", "advance", job="a", steps=3, seconds=0), report)
        with pytest.raises(KeyboardInterrupt):
            made.poll(60)
        (outcome,) = made.poll(60)
    assert outcome.failure is None
    assert heard == [1, 2, 3]


def test_a_signal_that_was_handled_ends_the_wait(family):
    heard = []
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
    with pool(1) as made:
        try:
            made.submit(job("a", "sleep", seconds=600), print)
            killer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
            killer.start()
            start = time.monotonic()
            assert made.poll(None) == []
            killer.join()
        finally:
            signal.signal(signal.SIGUSR1, before)
    assert heard == [1]
    assert time.monotonic() - start < 300


def test_an_event_loop_still_hears_of_signals(family):
    """Notebooks have one; it is told by the same descriptor that polls borrow."""
    read, write = socket.socketpair()
    for end in (read, write):
        end.setblocking(False)
    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    loops = signal.set_wakeup_fd(write.fileno())
    try:
        with pool(1) as made:
            made.submit(job("a", "sleep", seconds=600), print)
            killer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
            killer.start()
            assert made.poll(60) == []
            killer.join()
            assert signal.set_wakeup_fd(write.fileno()) == write.fileno()
            assert read.recv(10) == bytes([signal.SIGUSR1])
    finally:
        signal.set_wakeup_fd(loops)
        signal.signal(signal.SIGUSR1, before)
        read.close()
        write.close()


def test_polls_work_outside_the_main_thread(family):
    found = {}
    with pool(1) as made:
        thread = threading.Thread(target=lambda: found.update(finish(made, job("a", "give_back"))))
        thread.start()
        thread.join()
    assert found["a"].failure is None


@pytest.mark.parametrize(("fresh", "times"), [(False, 1), (True, 2)])
def test_libraries_are_loaded_once_for_all_forked_workers(
    family, write_module, tmp_path, fresh, times
):
    name = write_module(
        f"""
        import time
        with open({str(tmp_path / "loaded")!r}, "a") as file:
            print("loaded", file=file)
        def run(payload, report):
            time.sleep(0.3)
        """
    )
    with pool(2, fresh=fresh) as made:
        finish(made, *(job(str(k), f"{name}:run") for k in range(2)))
    assert (tmp_path / "loaded").read_text() == "loaded\n" * times


def test_jobs_may_have_processes_of_their_own(family, write_module):
    name = write_module(
        """
        import multiprocessing, os
        def child(pipe):
            pipe.send(os.getppid())
        def run(payload, report):
            context = multiprocessing.get_context("fork")
            here, there = context.Pipe()
            process = context.Process(target=child, args=(there,))
            process.start()
            found = here.recv()
            process.join()
            return {"same": found == os.getpid()}
        """
    )
    with pool(1) as made:
        assert finish(made, job("a", f"{name}:run"))["a"].result == {"same": True}


def test_a_worker_whose_child_holds_its_pipe_is_still_seen_to_die(family, write_module):
    name = write_module(
        """
        import os, signal, time
        def run(payload, report):
            if os.fork() == 0:
                time.sleep(2)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    with pool(1) as made:
        made.submit(job("a", f"{name}:run"), print)
        (outcome,) = made.poll(30)
        assert outcome.failure == "killed"
        assert finish(made, job("b", "give_back"))["b"].failure is None


def test_a_worker_that_never_comes_to_work_costs_its_job_and_no_more(family, write_module):
    """Nothing is tried for ever: a worker that dies before its first job costs that job."""
    name = write_module("import os; os.register_at_fork(after_in_child=lambda: os._exit(5))")
    with pool(1) as made:
        for _ in range(2):
            outcome = finish(made, job("a", f"{name}:run"))["a"]
            assert outcome.failure == "killed"
            assert "exit code 5" in outcome.message

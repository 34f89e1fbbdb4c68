"""Ranks that are killed or stopped in the middle of all-reduces: what the others notice, and when.

    kill_test.py FAULT_RANK LONE_WORK_RANK MPIRUN

mpirun ends a job when one of its ranks dies. To see what survivors do by themselves, most tests run with --enable-recovery.
"""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

FAULT_RANK, LONE_WORK_RANK, MPIRUN = sys.argv[1:4]
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMP_NUM_THREADS="1")
TIMEOUT_S = 3.0
SLACK_S = 3.0  # a busy machine
AT_ONCE_S = 0.5
SHARED_MEMORY, TCP = ["--mca", "btl", "self,vader"], ["--mca", "btl", "self,tcp"]
LARGE, SMALL = 1 << 20, 24  # floats: above and below what travels in one go


def wait_for(what, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.02)
    return False


class Job:
    """A program of ranks under mpirun, all in the middle of what they do: sums of so many floats, or work of so many seconds."""

    def __init__(self, ranks, size, options, program=FAULT_RANK):
        self.program = program
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kill_test"))
        self.ranks = ranks
        self.output = open(self.folder / "output", "w+", encoding="utf-8")
        self.mpirun = subprocess.Popen(
            [MPIRUN, "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", *options, "-np", str(ranks),
             program, str(self.folder), str(TIMEOUT_S), str(size)],
            env=ENVIRONMENT, stdout=self.output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        self.pids = {}
        if not wait_for(lambda: all(self.file(r, "ready").exists() for r in range(ranks)), 60):
            self.close()
            raise AssertionError("the ranks do not get going: " + self.text())
        self.pids = {r: int(self.file(r, "ready").read_text()) for r in range(ranks)}

    def file(self, rank, kind):
        return self.folder / f"{rank}.{kind}"

    def text(self):
        self.output.seek(0)
        return self.output.read()

    def signal(self, rank, number):
        os.kill(self.pids[rank], number)
        return time.monotonic()

    def end_of_mpirun(self, seconds):
        return self.mpirun.wait(seconds)

    def close(self):
        for pid in self.pids.values():
            try:
                # Only while it is still ours: process ids are used again.
                if self.program in pathlib.Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8"):
                    os.kill(pid, signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):
                pass
        if self.mpirun.poll() is None:
            self.mpirun.terminate()
            try:
                self.mpirun.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.mpirun.pid, signal.SIGKILL)
                self.mpirun.wait()
        self.output.close()
        shutil.rmtree(self.folder)


class KilledRanks(unittest.TestCase):
    def start(self, ranks, floats, *options):
        job = Job(ranks, floats, options)
        self.addCleanup(job.close)
        return job

    def assert_survivors_notice(self, job, victim, since):
        survivors = [r for r in range(job.ranks) if r != victim]
        self.assertTrue(wait_for(lambda: all(job.file(r, "status").exists() for r in survivors), TIMEOUT_S + SLACK_S),
                        "survivors still wait, or are gone without a word: " + job.text())
        self.assertLess(time.monotonic() - since, TIMEOUT_S + SLACK_S)
        for rank in survivors:
            first, again, other, message = job.file(rank, "status").read_text().splitlines()
            with self.subTest(rank=rank, message=message):
                code, seconds = first.split()
                self.assertIn(code, ("DEADLINE_EXCEEDED", "UNAVAILABLE"))
                self.assertLess(float(seconds), TIMEOUT_S + SLACK_S)
                if code == "DEADLINE_EXCEEDED":
                    self.assertGreater(float(seconds), TIMEOUT_S * 0.9, "a deadline before its time")
                    self.assertIn(f"rank {rank} waited", message)
                # The same again, on this communicator and on its duplicate, without waiting.
                for later in (again, other):
                    self.assertEqual(later.split()[0], code)
                    self.assertLess(float(later.split()[1]), AT_ONCE_S)
        self.assertTrue(wait_for(lambda: all(job.file(r, "closed").exists() for r in survivors), SLACK_S),
                        "destroying a broken communicator waits")

    def check(self, number, victim, ranks, floats, *options):
        job = self.start(ranks, floats, "--enable-recovery", *options)
        self.assert_survivors_notice(job, victim, job.signal(victim, number))

    def test_a_killed_rank_over_shared_memory(self):
        self.check(signal.SIGKILL, 1, 3, LARGE, *SHARED_MEMORY)

    def test_a_killed_rank_zero_and_small_messages(self):
        self.check(signal.SIGKILL, 0, 3, SMALL, *SHARED_MEMORY)

    def test_a_killed_rank_over_tcp(self):
        self.check(signal.SIGKILL, 2, 3, LARGE, *TCP)

    def test_one_of_two_is_killed(self):
        self.check(signal.SIGKILL, 1, 2, LARGE)

    def test_a_stopped_rank_over_shared_memory(self):
        self.check(signal.SIGSTOP, 1, 3, LARGE, *SHARED_MEMORY)

    def test_a_stopped_rank_over_tcp(self):
        self.check(signal.SIGSTOP, 0, 3, LARGE, *TCP)

    def test_a_rank_that_stops_at_the_very_end_does_not_hold_the_others(self):
        job = self.start(3, SMALL, "--enable-recovery")
        (job.folder / "finish").touch()
        self.assertTrue(wait_for(lambda: all(job.file(r, "finishing").exists() for r in range(3)), 10), job.text())
        since = job.signal(1, signal.SIGSTOP)
        self.assertTrue(wait_for(lambda: job.file(0, "closed").exists() and job.file(2, "closed").exists(), TIMEOUT_S + SLACK_S + 1),
                        "closing waits for ever: " + job.text())
        self.assertGreater(time.monotonic() - since, TIMEOUT_S * 0.9, "they did not wait at all")
        self.assertTrue(wait_for(lambda: "the other ranks to end" in job.text(), 5), job.text())

    def test_a_job_that_stood_still_as_a_whole_goes_on(self):
        job = self.start(3, SMALL)
        for rank in range(3):
            job.signal(rank, signal.SIGSTOP)
        time.sleep(TIMEOUT_S + SLACK_S)
        for rank in range(3):
            job.signal(rank, signal.SIGCONT)
        time.sleep(0.5)
        (job.folder / "finish").touch()
        self.assertEqual(job.end_of_mpirun(30), 0, job.text())

    def test_ranks_that_finish_together_end_the_job_well(self):
        job = self.start(3, SMALL)
        (job.folder / "finish").touch()
        self.assertEqual(job.end_of_mpirun(20), 0, job.text())

    def test_by_default_mpirun_ends_the_job_long_before_the_deadline(self):
        job = self.start(3, LARGE)
        job.signal(1, signal.SIGKILL)
        self.assertNotEqual(job.end_of_mpirun(15), 0)
        for pid in job.pids.values():
            self.assertTrue(wait_for(lambda pid=pid: not pathlib.Path(f"/proc/{pid}").exists(), 5), "a rank lives on")
        self.assertIn("signal 9", job.text())

    def test_by_default_a_stopped_rank_ends_the_job_at_the_deadline(self):
        job = self.start(3, LARGE)
        since = job.signal(1, signal.SIGSTOP)
        # The first rank that gives up ends the job; mpirun takes a stopped rank some seconds to end.
        self.assertNotEqual(job.end_of_mpirun(TIMEOUT_S + 30), 0)
        self.assertGreater(time.monotonic() - since, TIMEOUT_S * 0.9)


class LoneWork(unittest.TestCase):
    """Rank 1 works while the others wait for it."""
    WORKER = 1
    LONG_S = 2.5 * TIMEOUT_S

    def start(self, ranks, *options):
        job = Job(ranks, self.LONG_S, options, LONE_WORK_RANK)
        self.addCleanup(job.close)
        return job

    def statuses(self, job, ranks, seconds):
        self.assertTrue(wait_for(lambda: all(job.file(r, "status").exists() for r in ranks), seconds),
                        "ranks still wait, or are gone without a word: " + job.text())
        found = {}
        for rank in ranks:
            first, message = job.file(rank, "status").read_text().split("\n", 1)
            found[rank] = (first.split()[0], float(first.split()[1]), message.strip())
        return found

    def test_work_of_twice_the_deadline_is_waited_for(self):
        job = self.start(3)
        self.assertEqual(job.end_of_mpirun(self.LONG_S + 20), 0, job.text())
        for rank, (code, seconds, message) in self.statuses(job, range(3), 1).items():
            self.assertEqual(code, "OK", message)
            self.assertGreater(seconds, self.LONG_S * 0.9)

    def check(self, number, *options):
        job = self.start(3, "--enable-recovery", *options)
        time.sleep(0.5)
        since = job.signal(self.WORKER, number)
        for rank, (code, _, message) in self.statuses(job, (0, 2), TIMEOUT_S + SLACK_S).items():
            with self.subTest(rank=rank, message=message):
                self.assertIn(code, ("DEADLINE_EXCEEDED", "UNAVAILABLE"))
                self.assertIn("while rank 1 was to work alone", message)
                if code == "DEADLINE_EXCEEDED":
                    self.assertIn("for rank 1, gone or stuck", message)
        self.assertLess(time.monotonic() - since, TIMEOUT_S + SLACK_S)

    def test_a_killed_worker_is_noticed_and_named(self):
        self.check(signal.SIGKILL, *SHARED_MEMORY)

    def test_a_killed_worker_is_noticed_over_tcp(self):
        self.check(signal.SIGKILL, *TCP)

    def test_a_stopped_worker_is_noticed_and_named(self):
        self.check(signal.SIGSTOP, *SHARED_MEMORY)

    def test_by_default_a_killed_worker_ends_the_job_at_once(self):
        job = self.start(3)
        since = job.signal(self.WORKER, signal.SIGKILL)
        self.assertNotEqual(job.end_of_mpirun(15), 0)
        self.assertLess(time.monotonic() - since, self.LONG_S)

    def test_a_rank_that_dies_waiting_is_the_others_error(self):
        job = self.start(3, "--enable-recovery")
        job.signal(2, signal.SIGKILL)
        for rank, (code, seconds, message) in self.statuses(job, (0, 1), self.LONG_S + SLACK_S).items():
            with self.subTest(rank=rank, message=message):
                self.assertIn(code, ("DEADLINE_EXCEEDED", "UNAVAILABLE"))
        # The one that worked has ended its work.
        self.assertGreater(seconds, self.LONG_S * 0.9)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)

"""The programs as their users have them: real processes, real certificates, real kills.

    programs_test.py SOURCE_FOLDER BUILD_FOLDER
"""
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE, BUILD = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
sys.path.insert(0, str(SOURCE / "bench" / "federated"))
from sites import Sites  # noqa: E402

SITES = 3
PATIENCE = 60


class Federation(unittest.TestCase):
    """Three sites and an aggregator."""

    def federation(self, **sections):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        federation = Sites(BUILD, folder.name, SITES, **sections)
        self.addCleanup(federation.close)
        return federation

    def finish(self, federation, server, agents=()):
        """The summary of a run that ends well."""
        self.assertEqual(server.wait(PATIENCE), 0, federation.logs())
        for agent in agents:
            self.assertEqual(agent.wait(PATIENCE), 0, federation.logs())
        summary = federation.summary()
        self.assertEqual(summary["end"], "finished")
        return summary

    def uninterrupted(self, **sections):
        federation = self.federation(**sections)
        server = federation.start_aggregator()
        agents = [federation.start_site(site) for site in range(SITES)]
        return self.finish(federation, server, agents)


class Programs(Federation):
    """ds_aggregator and sites that send random updates."""

    def test_a_run_leaves_what_is_compared_with_others(self):
        summary = self.uninterrupted(round={"rounds": 4}, update={"bits": 4}, secure={"mode": "on"})
        self.assertEqual(summary["rounds"], 4)
        self.assertEqual(len(summary["round_seconds"]), 4)
        self.assertTrue(summary["secure"])
        self.assertEqual(summary["bits"], 4)
        # 4 bits and 2 for the sum of three; metrics and scales weigh much in so small a model.
        self.assertGreater(summary["upload_bytes_per_parameter"], 0.75)
        self.assertLess(summary["upload_bytes_per_parameter"], 2.5)
        self.assertLess(summary["aggregator_peak_rss_mib"], 64)

    def test_the_server_is_killed_in_round_3(self):
        """Flower loses such a run, NVFLARE's job hangs."""
        for mode in ("off", "on"):
            with self.subTest(secure=mode):
                sections = {"round": {"rounds": 6}, "secure": {"mode": mode}}
                expected = self.uninterrupted(**sections)["model_digest"]
                federation = self.federation(**sections)
                server = federation.start_aggregator()
                agents = [federation.start_site(site, pause=0.2) for site in range(SITES)]
                federation.wait_for_rounds(3)
                time.sleep(0.1)  # in the middle of the next one's training
                server.send_signal(signal.SIGKILL)
                server.wait()
                done = len(federation.rounds())
                server = federation.start_aggregator()
                started = time.monotonic()
                federation.wait_for_rounds(done + 1)
                # Back at work; a round itself takes its 0.2 s of training.
                self.assertLess(time.monotonic() - started, 2 + 2)
                summary = self.finish(federation, server, agents)
                self.assertEqual(summary["rounds"], 6)
                self.assertEqual(summary["model_digest"], expected)

    def test_a_site_is_killed(self):
        """Flower's round takes 49 s and the next waits for ever; NVFLARE waits on."""
        for mode in ("off", "on"):
            with self.subTest(secure=mode):
                deadline = 3
                federation = self.federation(round={"rounds": 6, "minimum": 2, "deadline_s": deadline}, secure={
                    "mode": mode, "colluders": 0})
                server = federation.start_aggregator()
                for site in range(SITES):
                    federation.configure_site(site, policy={"least_sites": 3, "colluders": 0})
                agents = [federation.start_site(site, pause=0.3) for site in range(SITES)]
                federation.wait_for_rounds(2)
                agents[1].send_signal(signal.SIGKILL)
                summary = self.finish(federation, server, [agents[0], agents[2]])
                self.assertEqual(summary["rounds"], 6)
                seconds = summary["round_seconds"]
                self.assertLess(max(seconds), deadline + 2)
                # Those after the one that it was missed in do not wait for it.
                self.assertLess(min(seconds[-2:]), deadline)
                self.assertIn("1", {row["missing"] for row in federation.rounds()} | {"1" if mode == "off" else "0"})
                self.assertEqual(federation.rounds()[-1]["sites"], "2")

    def test_an_agent_is_killed_and_comes_back(self):
        sections = {"round": {"rounds": 5, "deadline_s": 30}}
        expected = self.uninterrupted(**sections)["model_digest"]
        federation = self.federation(**sections)
        server = federation.start_aggregator()
        agents = [federation.start_site(site, pause=0.3) for site in range(SITES)]
        federation.wait_for_rounds(2)
        agents[0].send_signal(signal.SIGKILL)
        agents[0].wait()
        agents[0] = federation.start_site(0, pause=0.3)
        self.assertEqual(self.finish(federation, server, agents)["model_digest"], expected)

    def test_a_terminated_aggregator_goes_on_later(self):
        federation = self.federation(round={"rounds": 5})
        server = federation.start_aggregator()
        agents = [federation.start_site(site, pause=0.2) for site in range(SITES)]
        federation.wait_for_rounds(1)
        server.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(PATIENCE), 0)
        self.assertFalse((federation.folder / "runs/bench/summary.json").exists())
        summary = self.finish(federation, federation.start_aggregator(), agents)
        self.assertEqual(summary["rounds"], 5)
        self.assertEqual(len(summary["round_seconds"]), 5)

    def test_an_interrupt_ends_the_run_with_its_round(self):
        federation = self.federation(round={"rounds": 50})
        server = federation.start_aggregator()
        agents = [federation.start_site(site, pause=0.2) for site in range(SITES)]
        federation.wait_for_rounds(1)
        server.send_signal(signal.SIGINT)
        self.assertEqual(server.wait(PATIENCE), 0, federation.logs())
        for agent in agents:
            self.assertEqual(agent.wait(PATIENCE), 0, federation.logs())
        self.assertEqual(federation.summary()["end"], "stopped")
        self.assertTrue((federation.folder / "runs/bench/model.onnx").exists())

    def test_a_run_under_way_keeps_its_options(self):
        federation = self.federation(round={"rounds": 50})
        server = federation.start_aggregator()
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)
        written = (federation.folder / "runs/bench/config.yaml").read_text()
        federation.configure(round={"rounds": 50}, update={"bits": 2})
        words = federation.call("ds_aggregator", "--config", "aggregator.yaml", code=1)
        self.assertIn("offered with other options", words)
        self.assertIn("--new", words)
        # What it says to go back to is still there.
        self.assertEqual((federation.folder / "runs/bench/config.yaml").read_text(), written)


@unittest.skipUnless((BUILD / "bin/ds_agent").exists(), "built without LibTorch")
class Agent(Federation):
    """ds_agent's own words."""

    def call_agent(self, federation, *arguments, code=0):
        return federation.call("ds_agent", *arguments, code=code)

    def test_it_enrols_and_finds_its_way(self):
        federation = self.federation(round={"rounds": 1})
        server = federation.start_aggregator()
        token = federation.call("ds_pki", "token", "--folder", "authority", "--site", "clinic").strip()
        federation.configure_site(9)
        arguments = ("enrol", "--config", "agent-9.yaml", "--site", "clinic", "--token")
        self.assertIn("clinic is enrolled", self.call_agent(federation, *arguments, token))
        lines = self.call_agent(federation, "check", "--config", "agent-9.yaml")
        self.assertNotIn("FAIL", lines)
        # The token is spent: another site's key gets nothing for it.
        federation.configure_site(8)
        words = self.call_agent(federation, "enrol", "--config", "agent-8.yaml", "--site", "clinic", "--token", token, code=3)
        self.assertIn("token", words)
        server.send_signal(signal.SIGKILL)
        server.wait()
        done = subprocess.run([federation.program("ds_agent"), "check", "--config", "agent-9.yaml"], cwd=federation.folder,
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stdout, r"port +FAIL")
        self.assertIn("mend:", done.stdout)

    def test_a_terminals_interrupt_leaves_the_evaluator(self):
        """Ctrl-C goes to all programs of a terminal; the aggregator's last model is still to be tested and written."""
        federation = self.federation(round={"rounds": 1})
        with subprocess.Popen([federation.program("ds_evaluator"), "--config", "task.yaml"], cwd=federation.folder, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as evaluator:
            for _ in range(2):
                evaluator.stdin.write("{}\n")
                evaluator.stdin.flush()
                self.assertIn("error", evaluator.stdout.readline())
                evaluator.send_signal(signal.SIGINT)
            evaluator.stdin.close()
            self.assertEqual(evaluator.wait(PATIENCE), 0)

    def test_a_site_refuses_what_its_policy_forbids(self):
        federation = self.federation(round={"rounds": 1})
        federation.start_aggregator()
        federation.configure_site(0, policy={"secure": True})
        words = self.call_agent(federation, "--config", "agent-0.yaml", code=3)
        self.assertIn("policy", words)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)

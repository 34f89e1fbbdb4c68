"""Federated rounds beside Flower's, in one run: sites as processes on this machine, TLS on, updates that are random.

    federated_vs_flower.py [--build build] [--quick] [--no-rival] [--json FILE]

Prints a table: median seconds of a round (ours in the open and secure, Flower in the open and with SecAgg+), what a site sends
(all that its connection carried, TLS and set-ups included) a parameter and round, the server's peak memory, and the time from
launch to all sites online. --quick: small cases only. Rounds of Flower are few, since each takes seconds.
"""
import argparse
import json
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import flower_rival

SIDES = {1_000: (10, 10), 1_000_000: (100, 1000), 10_000_000: (1000, 1000)}  # image sides; ten outputs each


def write_model(path, sides):
    """One Gemm from an image to ten classes."""
    height, width = sides
    weights = np.random.default_rng(1).standard_normal((height * width, 10), np.float32) * np.float32(0.01)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("Gemm", ["flat", "weight", "bias"], ["y"])], "gemm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, height, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(weights, "weight"), numpy_helper.from_array(np.zeros(10, np.float32), "bias")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


class ReceivedBytes(threading.Thread):
    """All that the server's sockets at `port` have received, TLS included, as the kernel counts it."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.sockets, self.over = port, {}, False

    def run(self):
        while not self.over:
            listed = subprocess.run(["ss", "-tinH", "state", "established", f"sport = :{self.port}"], capture_output=True,
                                    text=True, check=False).stdout
            for peer, details in re.findall(r"^\S+ +\S+ +\S+ +(\S+).*\n\s+(.*)$", listed, re.M):
                received = re.search(r"bytes_received:(\d+)", details)
                if received:
                    self.sockets[peer] = max(self.sockets.get(peer, 0), int(received[1]))
            time.sleep(0.05)

    def total(self):
        return sum(self.sockets.values())


class Downstream:
    """An authority, ds_aggregator and random agents, with their own certificates."""

    def __init__(self, build, folder):
        self.build, self.folder, self.processes = build, folder, []

    def program(self, name):
        found = self.build / "bin" / name
        if not found.exists():
            sys.exit(f"{found} is missing: launch/build.sh {name}")
        return str(found)

    def call(self, *command):
        done = subprocess.run([self.program(command[0]), *command[1:]], cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed: {done.stderr}")
        return done.stdout

    def start(self, name, *arguments):
        log = (self.folder / f"{name}-{len(self.processes)}.log").open("w")
        process = subprocess.Popen([self.program(name), *arguments], cwd=self.folder, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def enrol(self, sites):
        """Identities of the server and of all sites, made offline."""
        self.call("ds_pki", "init", "--folder", "authority", "--name", "bench", "--server", "localhost,127.0.0.1")
        for site in range(sites):
            name = ("--site", f"site-{site}")
            token = self.call("ds_pki", "token", "--folder", "authority", *name).strip()
            self.call("ds_pki", "request", "--folder", f"identity-{site}", *name, "--request", "request")
            self.call("ds_pki", "enrol", "--folder", "authority", "--token", token, "--request", "request", "--reply", "reply")
            self.call("ds_pki", "install", "--folder", f"identity-{site}", *name, "--token", token, "--reply", "reply")

    def measure(self, sites, rounds, parameters, secure, bits, patience=600):
        self.enrol(sites)
        write_model(self.folder / "model.onnx", SIDES[parameters])
        height, width = SIDES[parameters]
        (self.folder / "task.yaml").write_text(
            f"model: {{onnx: model.onnx}}\ndata: {{type: synthetic, channels: 1, height: {height}, width: {width}, classes: 10, size: 50,"
            " batch_size: 10, test_batch_size: 10, mean: [0.5], stddev: [0.5]}\nprecision: {mode: fp32}\n")
        port = flower_rival.free_port()
        (self.folder / "aggregator.yaml").write_text(
            f"run: {{name: bench, output: runs}}\nlisten: {{address: \"127.0.0.1:{port}\", identity: authority}}\n"
            "task: {config: task.yaml, evaluate: false}\n"
            f"round: {{rounds: {rounds}, wait_for: {sites}, minimum: {sites}}}\nupdate: {{bits: {bits}}}\n"
            f"secure: {{mode: \"{'on' if secure else 'off'}\"}}\n")
        server = self.start("ds_aggregator", "--config", "aggregator.yaml")
        flower_rival.Flower.wait_for(port)
        received = ReceivedBytes(port)
        received.start()
        launched = time.monotonic()
        for site in range(sites):
            (self.folder / f"agent-{site}.yaml").write_text(
                f"agent: {{aggregator: \"localhost:{port}\", identity: identity-{site}, state: state-{site}}}\n"
                f"policy: {{least_sites: {min(sites, 3)}}}\ndata: {{type: synthetic}}\n")
            self.start("random_agent", "--config", f"agent-{site}.yaml")
        rows = self.folder / "runs" / "bench" / "rounds.csv"
        online = None
        while server.poll() is None:
            if time.monotonic() > launched + patience:
                sys.exit(f"no {rounds} rounds in {patience} s: {self.logs()}")
            if online is None and rows.exists() and rows.read_text().count("\n") > 1:
                online = time.monotonic() - launched
            time.sleep(0.02)
        received.over = True
        summary_file = self.folder / "runs" / "bench" / "summary.json"
        if server.returncode != 0 or not summary_file.exists():
            sys.exit(f"ds_aggregator ended with {server.returncode}: {self.logs()}")
        summary = json.loads(summary_file.read_text())
        return {"round_seconds": summary["round_seconds"], "server_peak_rss_mib": summary["aggregator_peak_rss_mib"],
                "online_seconds": online,
                "upload_bytes_per_parameter": received.total() / (sites * rounds * summary["parameters"])}

    def logs(self):
        return "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in sorted(self.folder.glob("*.log")))

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()


def ours(build, **case):
    folder = pathlib.Path(tempfile.mkdtemp())
    downstream = Downstream(build, folder)
    try:
        return downstream.measure(**case)
    finally:
        downstream.close()
        shutil.rmtree(folder, ignore_errors=True)


def cases(quick):
    """(sites, parameters, secure, our rounds, Flower's rounds; 0: not measured there)."""
    yield 4, 1_000, False, 50, 3
    yield 4, 1_000, True, 50, 0 if quick else 2
    if quick:
        return
    yield 16, 1_000, False, 50, 0
    yield 16, 1_000, True, 50, 0
    yield 4, 1_000_000, False, 20, 2
    yield 4, 1_000_000, True, 20, 2
    yield 16, 1_000_000, True, 32, 0
    yield 4, 10_000_000, False, 8, 2


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-rival", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    results = []
    print(f"{'sites':>5} {'parameters':>11} {'secure':>6} {'round, ms':>10} {'Flower, s':>10} {'ratio':>7} {'B/parameter':>12} "
          f"{'server, MiB':>12} {'Flower, MiB':>12} {'first round, s':>15} {'Flower, s':>10}")
    for sites, parameters, secure, rounds, rival_rounds in cases(arguments.quick):
        result = {"sites": sites, "parameters": parameters, "secure": secure,
                  "ours": ours(arguments.build.resolve(), sites=sites, rounds=rounds, parameters=parameters, secure=secure,
                               bits=arguments.bits)}
        median = statistics.median(result["ours"]["round_seconds"])
        rival = None
        if rival_rounds and not arguments.no_rival:
            rival = result["flower"] = flower_rival.measure(sites, rival_rounds, parameters, secure)
        rival_median = statistics.median(rival["round_seconds"]) if rival else None
        show = lambda value, digits: "-" if value is None else f"{value:.{digits}f}"
        print(f"{sites:5} {parameters:11} {'yes' if secure else 'no':>6} {1000 * median:10.1f} {show(rival_median, 2):>10} "
              f"{show(rival_median / median if rival else None, 0):>7} {result['ours']['upload_bytes_per_parameter']:12.3f} "
              f"{result['ours']['server_peak_rss_mib']:12.0f} {show(rival and rival['server_peak_rss_mib'], 0):>12} "
              f"{show(result['ours']['online_seconds'], 2):>15} {show(rival and rival['online_seconds'], 2):>10}", flush=True)
        results.append(result)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()

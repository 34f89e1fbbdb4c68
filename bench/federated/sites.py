"""An aggregator and its sites as processes on this machine, with real certificates and random updates: what the benchmarks of
rounds and the tests of the programs drive."""
import json
import pathlib
import signal
import socket
import subprocess
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDES = {1_000: (10, 10), 1_000_000: (100, 1000), 10_000_000: (1000, 1000)}  # image sides; ten outputs each


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port, patience=60):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


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


class Sites:
    """A folder with an authority, configurations and logs; its processes end with it."""

    def __init__(self, build, folder, sites, sides=(10, 10), **sections):
        self.build, self.folder, self.sites, self.processes = pathlib.Path(build), pathlib.Path(folder), sites, []
        self.port = free_port()
        self.enrol()
        write_model(self.folder / "model.onnx", sides)
        height, width = sides
        (self.folder / "task.yaml").write_text(
            f"model: {{onnx: model.onnx}}\ndata: {{type: synthetic, channels: 1, height: {height}, width: {width}, classes: 10, size: 50,"
            " batch_size: 10, test_batch_size: 10, mean: [0.5], stddev: [0.5]}\nprecision: {mode: fp32}\n")
        self.configure(**sections)
        for site in range(sites):
            self.configure_site(site)

    def configure(self, **sections):
        """The aggregator's configuration: `sections` by name, each a dictionary."""
        sections = {"run": {"name": "bench", "output": "runs"},
                    "listen": {"address": f"127.0.0.1:{self.port}", "identity": "authority"},
                    "task": {"config": "task.yaml", "evaluate": False}, **sections}
        sections["round"] = {"wait_for": self.sites, "minimum": self.sites, **sections.get("round", {})}
        (self.folder / "aggregator.yaml").write_text(json.dumps(sections, indent=1))

    def configure_site(self, site, **sections):
        sections = {"agent": {"aggregator": f"localhost:{self.port}", "identity": f"identity-{site}", "state": f"state-{site}"},
                    "policy": {"least_sites": min(self.sites, 3)}, "data": {"type": "synthetic"}, **sections}
        (self.folder / f"agent-{site}.yaml").write_text(json.dumps(sections, indent=1))

    def program(self, name):
        found = self.build / "bin" / name
        if not found.exists():
            raise FileNotFoundError(f"{found} is missing: launch/build.sh {name}")
        return str(found)

    def call(self, *command, code=0):
        """Output of a program that ends with `code`: stdout, or stderr where it is not 0."""
        done = subprocess.run([self.program(command[0]), *command[1:]], cwd=self.folder, capture_output=True, text=True, check=False,
                              timeout=60)
        if done.returncode != code:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout if code == 0 else done.stderr

    def enrol(self):
        """Identities of the server and of all sites, made offline."""
        self.call("ds_pki", "init", "--folder", "authority", "--name", "bench", "--server", "localhost,127.0.0.1")
        for site in range(self.sites):
            name = ("--site", f"site-{site}")
            token = self.call("ds_pki", "token", "--folder", "authority", *name).strip()
            self.call("ds_pki", "request", "--folder", f"identity-{site}", *name, "--request", "request")
            self.call("ds_pki", "enrol", "--folder", "authority", "--token", token, "--request", "request", "--reply", "reply")
            self.call("ds_pki", "install", "--folder", f"identity-{site}", *name, "--token", token, "--reply", "reply")

    def start(self, name, *arguments):
        with (self.folder / f"{len(self.processes):03}-{name}.log").open("w") as log:
            process = subprocess.Popen([self.program(name), *arguments], cwd=self.folder, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def start_aggregator(self, *arguments):
        process = self.start("ds_aggregator", "--config", "aggregator.yaml", *arguments)
        wait_for_port(self.port)
        return process

    def start_site(self, site, pause=0.0):
        """`pause`: seconds that training takes."""
        return self.start("random_agent", "--config", f"agent-{site}.yaml", "--pause", str(pause))

    def rounds(self):
        """Rows of rounds.csv so far, each a dictionary of texts."""
        rows = self.folder / "runs" / "bench" / "rounds.csv"
        lines = rows.read_text().splitlines() if rows.exists() else []
        return [dict(zip(lines[0].split(","), line.split(","))) for line in lines[1:]]

    def wait_for_rounds(self, count, patience=60):
        end = time.monotonic() + patience
        while len(self.rounds()) < count:
            if time.monotonic() > end:
                raise RuntimeError(f"no {count} rounds in {patience} s: {self.logs()}")
            time.sleep(0.01)

    def summary(self):
        return json.loads((self.folder / "runs" / "bench" / "summary.json").read_text())

    def logs(self):
        return "\n".join(f"{log.name}: {log.read_text()[-2000:]}" for log in sorted(self.folder.glob("*.log")))

    def close(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()

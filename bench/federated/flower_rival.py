"""Rounds of Flower: a SuperLink, SuperNodes as processes and TLS, on this machine.

    flower_rival.py [--sites 4] [--rounds 3] [--parameters 1000] [--secure]

Prints one JSON object: round_seconds (a list), server_peak_rss_mib (SuperLink and ServerApp together), online_seconds.
"""
import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from sites import free_port, wait_for_port

HERE = pathlib.Path(__file__).parent
PROGRAMS = pathlib.Path(sys.executable).parent


def make_certificates(folder):
    """An authority and the server's certificate for 127.0.0.1, as PEM files."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "1",
            "-subj", "/CN=authority")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1",
            "-extfile", "names", "-out", "server.pem")


def descendants(root):
    """Process numbers of `root` and all below it."""
    children = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
            except OSError:
                pass
    found = [root]
    for process in found:
        found += children.get(process, [])
    return found


class PeakMemory(threading.Thread):
    """Watches the resident memory of a process and its children, summed."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.process, self.peak_mib, self.over = process, 0.0, False

    def run(self):
        page = os.sysconf("SC_PAGE_SIZE")
        while not self.over:
            total = 0
            for number in descendants(self.process):
                try:
                    total += int(pathlib.Path(f"/proc/{number}/statm").read_text().split()[1]) * page
                except OSError:
                    pass
            self.peak_mib = max(self.peak_mib, total / 2**20)
            time.sleep(0.1)


class Flower:
    """A SuperLink and its SuperNodes while it lives."""

    def __init__(self, folder, sites):
        self.folder, self.processes = folder, []
        make_certificates(folder)
        self.environment = {**os.environ, "FLWR_HOME": str(folder / "home"), "FLWR_TELEMETRY_ENABLED": "0",
                            "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
        self.port = free_port()
        self.link = self.start("flower-superlink", "--ssl-ca-certfile", "ca.pem", "--ssl-certfile", "server.pem",
                               "--ssl-keyfile", "server.key", "--host", "127.0.0.1", "--port", str(self.port),
                               "--disable-runtime-dependency-installation")
        wait_for_port(self.port)
        for _ in range(sites):
            self.start("flower-supernode", "--root-certificates", "ca.pem", "--superlink", f"127.0.0.1:{self.port}",
                       "--host", "127.0.0.1", "--port", str(free_port()))

    def start(self, *command):
        log = (self.folder / f"{command[0]}-{len(self.processes)}.log").open("w")
        process = subprocess.Popen([str(PROGRAMS / command[0]), *command[1:]], cwd=self.folder, env=self.environment, stdout=log,
                                   stderr=log, start_new_session=True)
        self.processes.append(process)
        return process

    def run(self, settings):
        """Submits the app."""
        app = self.folder / "app"
        shutil.copytree(HERE / "flower_app", app)
        if settings["secure"] == "true":
            client = app / "client_app.py"
            client.write_text(client.read_text().replace("app = plain", "app = masked"))
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        (home / "config.toml").write_text(f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "127.0.0.1:{self.port}"\n'
                                          f'root-certificates = "{self.folder / "ca.pem"}"\n')
        settings = " ".join(f"{key}={value}" for key, value in settings.items())
        subprocess.run([str(PROGRAMS / "flwr"), "run", str(app), "here", "--run-config", settings], cwd=self.folder,
                       env=self.environment, check=True, capture_output=True, text=True)

    def close(self):
        for process in self.processes:
            for number in descendants(process.pid):
                try:
                    os.kill(number, signal.SIGKILL)
                except OSError:
                    pass
            process.wait()


def measure(sites, rounds, parameters, secure, patience=600):
    """What main() prints."""
    folder = pathlib.Path(tempfile.mkdtemp())
    started = time.monotonic()
    flower = Flower(folder, sites)
    try:
        memory = PeakMemory(flower.link.pid)
        memory.start()
        log = folder / "rounds.log"
        log.touch()
        flower.run({"rounds": rounds, "sites": sites, "parameters": parameters, "secure": str(secure).lower(),
                    "log": f'"{log}"'})
        lines = []
        while sum(line[0] != "begin" for line in lines) < rounds:
            if time.monotonic() > started + patience:
                raise RuntimeError(f"Flower made no {rounds} rounds in {patience} s: {lines}")
            time.sleep(0.1)
            lines = [line.split() for line in log.read_text().splitlines()]
        memory.over = True
        ends = [float(moment) for what, moment in lines if what == "end"]
        begins = [float(moment) for what, moment in lines if what == "begin"]
        if len(ends) != rounds:
            raise RuntimeError(f"rounds of Flower failed: {lines}")
        # Secure rounds begin where the one before ended: their first messages go out before configure_fit's end.
        return {"round_seconds": [end - begin for begin, end in zip(begins, ends)], "server_peak_rss_mib": memory.peak_mib,
                "online_seconds": begins[0] - started}
    finally:
        flower.close()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parameters", type=int, default=1000)
    parser.add_argument("--secure", action="store_true")
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.sites, arguments.rounds, arguments.parameters, arguments.secure)))


if __name__ == "__main__":
    main()

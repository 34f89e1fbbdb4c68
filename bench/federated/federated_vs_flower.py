"""Federated rounds beside Flower's, in one run: sites as processes on this machine, TLS on, updates that are random.

    federated_vs_flower.py [--build build] [--quick] [--no-rival] [--pairs N] [--json FILE]

Prints a table: median seconds of a round (ours in the open and secure, Flower in the open and with SecAgg+), what a site sends
(all that its connection carried, TLS and set-ups included) a parameter and round, the server's peak memory, and the time from
launch to all sites online. --quick: small cases only. --pairs: what secure rounds of 1M parameters cost over open ones, in N turns,
and nothing else. Rounds of Flower are few, since each takes seconds.
"""
import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import flower_rival
from sites import SIDES, Sites


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


def ours(build, sites, rounds, parameters, secure, bits, patience=600):
    """What main() prints of our rounds."""
    folder = pathlib.Path(tempfile.mkdtemp())
    federation = Sites(build, folder, sites, SIDES[parameters], round={"rounds": rounds}, update={"bits": bits},
                       secure={"mode": "on" if secure else "off"})
    try:
        server = federation.start_aggregator()
        received = ReceivedBytes(federation.port)
        received.start()
        launched = time.monotonic()
        for site in range(sites):
            federation.start_site(site)
        federation.wait_for_rounds(1, patience)
        online = time.monotonic() - launched
        code = server.wait(patience)
        received.over = True
        if code != 0:
            sys.exit(f"ds_aggregator ended with {code}: {federation.logs()}")
        summary = federation.summary()
        return {"round_seconds": summary["round_seconds"], "server_peak_rss_mib": summary["aggregator_peak_rss_mib"],
                "online_seconds": online,
                "upload_bytes_per_parameter": received.total() / (sites * rounds * summary["parameters"])}
    finally:
        federation.close()
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


def pairs(build, count, bits):
    print(f"{'open, ms':>10} {'secure, ms':>10} {'ratio':>6}")
    ratios = []
    for _ in range(count):
        plain, secure = (1000 * statistics.median(ours(build, 4, 20, 1_000_000, mode, bits)["round_seconds"]) for mode in (False, True))
        ratios.append(secure / plain)
        print(f"{plain:10.1f} {secure:10.1f} {ratios[-1]:6.3f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.3f}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--no-rival", action="store_true")
    parser.add_argument("--pairs", type=int, default=0)
    parser.add_argument("--json", type=pathlib.Path)
    arguments = parser.parse_args()
    if arguments.pairs:
        pairs(arguments.build.resolve(), arguments.pairs, arguments.bits)
        return
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

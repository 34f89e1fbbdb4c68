"""Two hosts on this machine, joined by a link of a given rate: network namespaces, a veth pair and a token bucket.

    with TwoHosts("100mbit") as hosts:
        hosts.run(0, ["program"])                       # on the first host
        hosts.mpirun(["build/bin/ds_train", ...])       # one rank on each, Open MPI over TCP

Needs root and iproute2. The namespaces are removed at the end, also after an error.
"""
import os
import pathlib
import subprocess
import tempfile

ADDRESSES = ("10.200.77.1", "10.200.77.2")
NAMES = ("ds-bench-a", "ds-bench-b")

# Open MPI starts its daemon on another host through an agent: called with the host's name and a command.
AGENT = """#!/bin/bash
host=$1; shift
name={first}; [ "$host" = {second_address} ] && name={second}
exec ip netns exec $name unshare --uts bash -c "hostname $name; $*"
"""


def ip(*words):
    subprocess.run(["ip", *words], check=True)


class TwoHosts:
    def __init__(self, rate):
        self.rate = rate  # as tc takes it: "100mbit", "1gbit"

    def __enter__(self):
        self._remove()
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_):
        self._remove()
        self.folder.cleanup()

    def _make(self):
        for name in NAMES:
            ip("netns", "add", name)
        ends = ("dsbench0", "dsbench1")
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for name, address, end in zip(NAMES, ADDRESSES, ends):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", end)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", end, "up")
            subprocess.run(["tc", "-n", name, "qdisc", "add", "dev", end, "root", "tbf", "rate", self.rate,
                            "burst", "256kb", "latency", "100ms"], check=True)
        self.folder = tempfile.TemporaryDirectory()
        self.agent = pathlib.Path(self.folder.name) / "agent"
        self.agent.write_text(AGENT.format(first=NAMES[0], second=NAMES[1], second_address=ADDRESSES[1]))
        self.agent.chmod(0o755)

    @staticmethod
    def _remove():
        for name in NAMES:
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)

    def start(self, host, command, **options):
        return subprocess.Popen(["ip", "netns", "exec", NAMES[host], *map(str, command)], **options)

    def mpirun(self, command, threads=1, **options):
        environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                           OMP_NUM_THREADS=str(threads))
        network = ADDRESSES[0].rsplit(".", 1)[0] + ".0/24"
        return subprocess.run(
            ["ip", "netns", "exec", NAMES[0], "mpirun", "--host", ",".join(ADDRESSES), "--bind-to", "none",
             "--mca", "plm_rsh_agent", str(self.agent), "--mca", "oob_tcp_if_include", network, "--mca", "btl", "self,tcp",
             "--mca", "btl_tcp_if_include", network, "-x", "OMP_NUM_THREADS",
             "-np", "2", *map(str, command)], env=environment, check=True, **options)

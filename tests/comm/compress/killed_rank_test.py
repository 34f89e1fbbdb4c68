"""A rank killed by SIGKILL in a compressed all-reduce under mpirun: every other rank gets an error by its deadline.

Usage: killed_rank_test.py RANKS PROGRAM MPIRUN..."""
import os
import subprocess
import sys
import tempfile

TIMEOUT_S = 4.0  # of one call of the communicator
SLACK_S = 2.0    # two busy cores


def main():
    ranks, program, mpirun = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    victim = ranks - 1
    with tempfile.TemporaryDirectory() as folder:
        # Without recovery the launcher would kill the survivors before they noticed anything.
        command = mpirun + ["--enable-recovery", "-np", str(ranks), program, folder, str(victim), str(TIMEOUT_S)]
        subprocess.run(command, timeout=90, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        notes = {name: open(os.path.join(folder, name)).read() for name in sorted(os.listdir(folder))}
    for name, note in notes.items():
        print(name, note, end="")
    wanted = sorted(f"rank{r}" for r in range(ranks) if r != victim)
    assert sorted(notes) == wanted, f"notes of {sorted(notes)}, not of {wanted}"
    for name, note in notes.items():
        step, seconds, words = note.split(" ", 2)
        assert int(step) >= 2, f"{name}: an exchange failed before the kill"
        assert words.startswith(("DEADLINE_EXCEEDED", "UNAVAILABLE")), f"{name}: {words}"
        assert float(seconds) < TIMEOUT_S + SLACK_S, f"{name}: the error came after {seconds} s"


main()

"""What a set-up of secure aggregation costs the rounds around it: sites as processes on this machine, TLS on.

    setup_overlap.py [--build build] [--sites 16] [--pause 0.5]

Training takes `pause` seconds at every site. A set-up serves 16 rounds, so the second one falls between rounds 15 and 16. Prints, for
rounds 14 to 18, the milliseconds from the round before's publication to its own, without the pause: what is waited for beside training.
"""
import argparse
import pathlib
import shutil
import tempfile
import time

from sites import Sites

FIRST, LAST = 14, 18


def publications(federation, rounds, patience=600):
    """When each round's row appeared, as time.monotonic()."""
    seen, end = [], time.monotonic() + patience
    rows = federation.folder / "runs" / "bench" / "rounds.csv"
    while len(seen) < rounds:
        if time.monotonic() > end:
            raise RuntimeError(f"no {rounds} rounds in {patience} s: {federation.logs()}")
        there = rows.read_bytes().count(b"\n") - 1 if rows.exists() else 0
        seen += [time.monotonic()] * (there - len(seen))
        time.sleep(0.002)
    return seen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build"))
    parser.add_argument("--sites", type=int, default=16)
    parser.add_argument("--pause", type=float, default=0.5)
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp())
    federation = Sites(arguments.build.resolve(), folder, arguments.sites, round={"rounds": LAST + 2}, update={"bits": 4},
                       secure={"mode": "on"})
    try:
        federation.start_aggregator()
        for site in range(arguments.sites):
            federation.start_site(site, arguments.pause)
        seen = publications(federation, LAST + 1)
        for number in range(FIRST, LAST + 1):
            print(f"round {number}: {1000 * (seen[number] - seen[number - 1] - arguments.pause):.0f} ms beside training")
    finally:
        federation.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()

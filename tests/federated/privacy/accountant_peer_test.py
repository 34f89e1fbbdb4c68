"""Epsilons are within 1% of those of Google's dp-accounting: all sites, Poisson draws, fixed draws without replacement."""
import itertools
import logging
import subprocess
import sys

try:
    import dp_accounting
    from dp_accounting.rdp import RdpAccountant
except ImportError as error:
    print(f"SKIPPED: {error}; launch/setup.sh --test installs it")
    sys.exit(77)

TOLERANCE = 0.01
SITES = 1000


def theirs(sampling, rate, multiplier, releases, delta):
    event = dp_accounting.GaussianDpEvent(multiplier)
    relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    if sampling == "poisson":
        event = dp_accounting.PoissonSampledDpEvent(rate, event)
    elif sampling == "fixed":
        relation = dp_accounting.NeighboringRelation.REPLACE_ONE
        event = dp_accounting.SampledWithoutReplacementDpEvent(SITES, round(rate * SITES), event)
    return RdpAccountant(neighboring_relation=relation).compose(event, releases).get_epsilon(delta)


def main():
    # It says of each order that it cannot use that it does not use it.
    logging.getLogger("absl").setLevel(logging.ERROR)
    cases = [("none", 1.0, multiplier, releases, delta)
             for multiplier, releases, delta in itertools.product([0.3, 0.7, 1.0, 3.0, 20.0], [1, 10, 500], [1e-3, 1e-5, 1e-9])]
    cases += [("poisson", rate, multiplier, releases, delta)
              for rate, multiplier, releases, delta in itertools.product([0.001, 0.01, 0.1, 0.5], [0.6, 1.0, 4.0], [1, 100, 2000], [1e-5])]
    cases += [("fixed", rate, multiplier, releases, delta)
              for rate, multiplier, releases, delta in itertools.product([0.01, 0.1, 0.5], [0.8, 1.5, 4.0], [1, 200], [1e-5])]
    lines = "".join(f"{sampling} {rate!r} {multiplier!r} {releases} {delta!r}\n" for sampling, rate, multiplier, releases, delta in cases)
    ours = [float(line) for line in
            subprocess.run([sys.argv[1]], input=lines, capture_output=True, text=True, check=True).stdout.split()]
    assert len(ours) == len(cases), (len(ours), len(cases))
    worst, failures = 0.0, []
    for case, mine in zip(cases, ours):
        want = theirs(*case)
        error = abs(mine - want) / max(want, 1e-3)
        worst = max(worst, error)
        if error > TOLERANCE:
            failures.append(f"{case}: {mine:.6g}, dp-accounting says {want:.6g}")
    print(f"{len(cases)} epsilons, at most {100 * worst:.4f}% from dp-accounting's")
    assert not failures, "\n".join(failures)


if __name__ == "__main__":
    main()

"""Compares our optimisers with torch.optim (one tensor at a time, not fused) after the same steps.

Usage: torch_oracle_test.py OPTIMIZER_TRACE
The runner and this file make the same pseudo-random parameters and gradients (optim_testing.h).
"""
import subprocess
import sys

import torch

STEPS = 20
MASK = (1 << 64) - 1
SHAPES = [("conv.weight", (5, 3, 3, 7)), ("point.weight", (17, 13, 1, 1)), ("fc.weight", (31, 67)),
          ("norm.weight", (19,)), ("bias", (11,)), ("one", (1,)), ("none", (0, 4))]


def test_values(shape, seed):
    count = 1
    for extent in shape:
        count *= extent
    state = (seed * 0x9E3779B97F4A7C15 + 1) & MASK
    values = []
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & MASK
        values.append(float((state >> 33) - (1 << 30)))
    return (torch.tensor(values, dtype=torch.float32) / float(1 << 30)).reshape(shape)


def torch_result(make, clip):
    parameters = [torch.nn.Parameter(test_values(shape, i + 1)) for i, (_, shape) in enumerate(SHAPES)]
    groups = [{"params": [p for p in parameters if p.dim() >= 2]},
              {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0}]
    optimizer = make(groups)
    for step in range(STEPS):
        for i, parameter in enumerate(parameters):
            parameter.grad = test_values(SHAPES[i][1], 1000 * step + i + 17)
        if clip > 0:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
    return {name: p.detach().reshape(-1) for (name, _), p in zip(SHAPES, parameters)}


def our_result(runner, arguments):
    output = subprocess.run([runner, *map(str, arguments), str(STEPS)], check=True, capture_output=True, text=True)
    result = {}
    for line in output.stdout.splitlines():
        name, *values = line.split(" ")
        result[name] = torch.tensor([float(v) for v in values], dtype=torch.float32)
    return result


def main():
    runner = sys.argv[1]
    cases = [
        (("sgd", 0.05, 0.9, 1, 0.02, 0),
         lambda g: torch.optim.SGD(g, lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.02, foreach=False)),
        (("sgd", 0.05, 0.9, 0, 0.02, 0.7),
         lambda g: torch.optim.SGD(g, lr=0.05, momentum=0.9, weight_decay=0.02, foreach=False)),
        (("sgd", 0.05, 0, 0, 0, 0), lambda g: torch.optim.SGD(g, lr=0.05, foreach=False)),
        (("adamw", 0.01, 0.9, 0, 0.1, 0), lambda g: torch.optim.AdamW(g, lr=0.01, weight_decay=0.1, foreach=False)),
        (("adamw", 0.01, 0.9, 0, 0.1, 0.7), lambda g: torch.optim.AdamW(g, lr=0.01, weight_decay=0.1, foreach=False)),
    ]
    epsilon = torch.finfo(torch.float32).eps
    failures = 0
    for arguments, make in cases:
        clip = arguments[5]
        wanted, got = torch_result(make, clip), our_result(runner, arguments)
        assert wanted.keys() == got.keys(), (wanted.keys(), got.keys())
        # Both sides are float32. Each step rounds a parameter (at most about 2) a few times; an update is at most lr times 20
        # (SGD's summed momentum) or 5 (Adam, sqrt(steps)) and carries the rounding of sums over the steps so far. PyTorch clips
        # by max_norm / (norm + 1e-6): a relative difference of 1e-6 / norm, with norms above 10 here.
        largest = 20 if arguments[0] == "sgd" else 5
        tolerance = STEPS * (8 * epsilon * 2 + arguments[1] * largest * (5 * STEPS * epsilon + (1e-7 if clip else 0)))
        worst = max((wanted[n] - got[n]).abs().max().item() for n in wanted if wanted[n].numel())
        moved = (wanted["fc.weight"] - test_values((31, 67), 3).reshape(-1)).abs().max().item()
        good = worst <= tolerance < moved / 50
        failures += not good
        print(f"{'ok  ' if good else 'FAIL'} {arguments}: worst difference {worst:.3g}, tolerance {tolerance:.3g}, "
              f"largest move {moved:.3g}")
    sys.exit(1 if failures else 0)


main()

"""Training speed of Downstream against PyTorch eager: same model, weights, batch, precision and threads, same run.

    .venv/bin/python bench/train_vs_pytorch.py [--build build] [--batch 128] [--side 28] [--threads 2] [--rounds 4] [--pairs 12]

Both train ResNet-20 on one fixed batch, each in a process of its own that is told what to do through a pipe (a process that
shares the driver's is awake when its turn begins and gained 5 to 10 % by it). First the losses of ten steps are compared (they
must agree); then the two take turns, `--steps` steps each, for `--rounds` rounds, the first of them alternating too. Processes
differ by up to 30 % from one start to the next, so `--pairs` pairs of them are measured. The figure is the median over all
rounds of PyTorch's time over ours, so that whatever else the machine does meets both alike; above 1 Downstream is faster.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnx.numpy_helper
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.numpy import save_file
from safetensors.torch import load_file


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.short = None
        if stride != 1 or inputs != outputs:
            self.short = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += x if self.short is None else self.short(x)
        return F.relu(y, inplace=True)


class ResNet20(nn.Module):
    """He et al. 2016, section 4.2, as PyTorch users write it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(16)
        blocks, width = [], 16
        for outputs, stride in ((16, 1), (32, 2), (64, 2)):
            for i in range(3):
                blocks.append(Block(width, outputs, stride if i == 0 else 1))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn(self.conv(x)), inplace=True))
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


def load_weights(model, path):
    """Copies the ONNX file's conv and linear weights into `model`, matched by shape in order of execution."""
    graph = onnx.load(path).graph
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    convs = [tensors[n.input[1]] for n in graph.node if n.op_type == "Conv"]
    gemm = next(n for n in graph.node if n.op_type == "Gemm")
    mine = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == len(mine), (len(convs), len(mine))
    with torch.no_grad():
        for module in mine:
            # A shortcut and its block may come in either order; shapes tell them apart.
            index = next(i for i, c in enumerate(convs) if c.shape == tuple(module.weight.shape))
            module.weight.copy_(torch.from_numpy(convs.pop(index).copy()))
        weight = tensors[gemm.input[1]].copy()
        trans = any(a.name == "transB" and a.i for a in gemm.attribute)
        model.head.weight.copy_(torch.from_numpy(weight if trans else weight.T.copy()))
        model.head.bias.copy_(torch.from_numpy(tensors[gemm.input[2]].copy()))


class Rival:
    def __init__(self, onnx_path, inputs, labels, bf16):
        self.model = ResNet20().to(memory_format=torch.channels_last)
        load_weights(self.model, onnx_path)
        decay = [p for p in self.model.parameters() if p.dim() > 1]
        plain = [p for p in self.model.parameters() if p.dim() <= 1]
        self.optimizer = torch.optim.SGD(
            [{"params": decay, "weight_decay": 5e-4}, {"params": plain, "weight_decay": 0.0}],
            lr=0.01, momentum=0.9, nesterov=True, fused=True)
        self.inputs, self.labels, self.bf16 = inputs.contiguous(memory_format=torch.channels_last), labels, bf16

    def run(self, steps):
        start = time.perf_counter()
        for _ in range(steps):
            self.optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
                loss = F.cross_entropy(self.model(self.inputs), self.labels)
            loss.backward()
            self.optimizer.step()
            value = loss.item()
        return time.perf_counter() - start, value


def serve_rival(onnx_path, input_path, precision, threads):
    """PyTorch's side: answers on stdout as bench/train_step_bench.cc does."""
    torch.set_num_threads(threads)
    tensors = load_file(input_path)
    rival = Rival(onnx_path, tensors["inputs"], tensors["labels"], precision == "bf16")
    print("ready", flush=True)
    for line in sys.stdin:
        print(*rival.run(int(line.split()[1])), flush=True)


class Side:
    def __init__(self, *command):
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline().strip() == "ready"

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def run(self, steps):
        seconds, loss = self.ask(f"run {steps}").split()
        return float(seconds), float(loss)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure_pair(args, precision, folder):
    """One process a side: seconds of each round, ours and theirs, and the precision ours chose."""
    ours = Side(f"{args.build}/bin/train_step_bench", "resnet20", args.batch, args.side, precision, args.threads,
                f"{folder}/m.onnx", f"{folder}/in.safetensors")
    chosen = ours.ask("start")
    rival = Side(sys.executable, __file__, "--serve", f"{folder}/m.onnx", f"{folder}/in.safetensors", chosen, args.threads)
    if precision != "auto":
        tolerance = 2e-3 if precision == "fp32" else 6e-2
        for step in range(10):
            mine, theirs = ours.run(1)[1], rival.run(1)[1]
            if abs(mine - theirs) > tolerance * max(1.0, abs(theirs)):
                sys.exit(f"{precision}: losses differ at step {step}: {mine} against {theirs}")
    mine, theirs = [], []
    for turn in range(args.rounds):
        for side, times in ((ours, mine), (rival, theirs)) if turn % 2 == 0 else ((rival, theirs), (ours, mine)):
            side.run(1)  # the other side's threads go to sleep meanwhile
            times.append(side.run(args.steps)[0])
    ours.close()
    rival.close()
    return mine, theirs, chosen


def measure(args, precision):
    generator = torch.Generator().manual_seed(7)
    inputs = torch.randn(args.batch, 1, args.side, args.side, generator=generator)
    labels = torch.randint(0, 10, (args.batch,), generator=generator)
    mine, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        save_file({"inputs": inputs.numpy(), "labels": labels.numpy().astype(np.int64)}, f"{folder}/in.safetensors")
        for _ in range(args.pairs):
            more_mine, more_theirs, chosen = measure_pair(args, precision, folder)
            mine += more_mine
            theirs += more_theirs
    images = args.batch * args.steps
    ratios = sorted(t / m for t, m in zip(theirs, mine))
    row = {"precision": precision, "chosen": chosen, "downstream_images_per_s": images / statistics.median(mine),
           "pytorch_images_per_s": images / statistics.median(theirs), "ratio": statistics.median(ratios),
           "ratio_p10": ratios[len(ratios) // 10], "ratio_p90": ratios[len(ratios) * 9 // 10],
           "ratio_of_best": min(theirs) / min(mine)}
    print(json.dumps({k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}), flush=True)
    return row


def main():
    if sys.argv[1:2] == ["--serve"]:
        serve_rival(*sys.argv[2:5], int(sys.argv[5]))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--side", type=int, default=28)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--precision", nargs="*", default=["fp32", "bf16", "auto"])
    args = parser.parse_args()
    rows = {p: measure(args, p) for p in args.precision}
    if "fp32" in rows and "bf16" in rows:
        gain = rows["bf16"]["downstream_images_per_s"] / rows["fp32"]["downstream_images_per_s"]
        print(json.dumps({"bf16_over_fp32": round(gain, 3)}))
    if "fp32" in rows and "auto" in rows:
        gain = rows["auto"]["downstream_images_per_s"] / rows["fp32"]["downstream_images_per_s"]
        print(json.dumps({"auto_over_fp32": round(gain, 3)}))


if __name__ == "__main__":
    main()

"""One rank of PyTorch DistributedDataParallel on Gloo, the rival of bench/exchange_vs_ddp.py.

    ddp_rival.py RANK WORLD_SIZE MASTER_ADDRESS HOOK STEPS BATCH THREADS     HOOK: none | fp16 | alone (no exchange)

Trains ResNet-18 (3x3 stem, as for 32x32 images) on one fixed batch. Rank 0 prints JSON: the milliseconds of every step, the last
loss, and whether all ranks hold the same parameters.
"""
import hashlib
import json
import os
import sys
import time

import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks


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
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.short is None else self.short(x)))


def resnet18(classes=10):
    layers, width = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()], 64
    for i, outputs in enumerate((64, 128, 256, 512)):
        for j in range(2):
            layers.append(Block(width, outputs, 2 if j == 0 and i > 0 else 1))
            width = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


def main():
    rank, world, address, hook, steps, batch, threads = sys.argv[1:]
    rank, world, steps, batch = int(rank), int(world), int(steps), int(batch)
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    model = resnet18().to(memory_format=torch.channels_last)
    parameters = sum(p.numel() for p in model.parameters())
    if hook != "alone":
        os.environ.update(MASTER_ADDR=address, MASTER_PORT="29533")
        dist.init_process_group("gloo", rank=rank, world_size=world)
        model = nn.parallel.DistributedDataParallel(model)
        if hook == "fp16":
            model.register_comm_hook(None, default_hooks.fp16_compress_hook)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=True)
    generator = torch.Generator().manual_seed(100 + rank)
    inputs = torch.randn(batch, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,), generator=generator)
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        value = loss.item()
        times.append((time.perf_counter() - start) * 1e3)
    digest = hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest()
    digests = [digest]
    if hook != "alone":
        digests = [None] * world
        dist.all_gather_object(digests, digest)
        dist.destroy_process_group()
    if rank == 0:
        print(json.dumps({"step_ms": times, "loss": value, "parameters": parameters, "equal": len(set(digests)) == 1}))


if __name__ == "__main__":
    main()

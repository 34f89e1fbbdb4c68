"""Images a second of the data loader against PyTorch's DataLoader with Pillow: a folder of JPEGs to normalised batches.

    .venv/bin/python bench/loader.py [--build build] [--images 256] [--rounds 6] [--batches 8]

Both read, decode, cut by RandomResizedCrop (0.08 to 1 of the area, bilinear, antialiased) to 224 x 224, mirror half of them and
normalise, with one worker each, batches of 32. The pictures are made here: 500 x 375, quality 90, chroma subsampled, with the
noise of a photograph. PyTorch's side is what its users write, without torchvision: Pillow decodes and resizes (by its `box`
argument, which spares the cut-out's copy), numpy makes floats. The two take turns on the same core; the figure is the median over
the rounds of our images a second of processor time, all processes and threads counted, over PyTorch's: what else the machine does
hardly counts.
"""
import argparse
import math
import os
import statistics
import subprocess
import tempfile
import time

import numpy as np
import PIL
import torch
from PIL import Image

SIDE, BATCH = 224, 32
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STDDEV = np.array([0.229, 0.224, 0.225], np.float32)


def write_pictures(folder, count):
    """Smooth shapes with edges, and noise: about 60 KB each, as photographs of that size have."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:375, 0:500].astype(np.float32)
    for i in range(count):
        picture = np.zeros((375, 500, 3), np.float32)
        for c in range(3):
            a, b, p, q = rng.uniform(0.005, 0.05, 4)
            picture[..., c] = 128 + 50 * np.sin(a * x + b * y + c) + 40 * np.sign(np.sin(p * x - q * y))
        picture += rng.normal(0, 10, picture.shape)
        for split in ("train", "test"):
            place = f"{folder}/{split}/class{i % 4}"
            os.makedirs(place, exist_ok=True)
            if split == "train" or i < 4:
                Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(f"{place}/{i}.jpg", quality=90)


class Pictures(torch.utils.data.Dataset):
    def __init__(self, folder):
        self.files = sorted(os.path.join(root, name) for root, _, names in os.walk(folder) for name in names)
        self.rng = np.random.default_rng(0)

    def __len__(self):
        return len(self.files)

    def box(self, width, height):
        for _ in range(10):
            area = width * height * self.rng.uniform(0.08, 1)
            ratio = math.exp(self.rng.uniform(math.log(3 / 4), math.log(4 / 3)))
            w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                x, y = self.rng.integers(0, width - w + 1), self.rng.integers(0, height - h + 1)
                return x, y, x + w, y + h
        return 0, 0, width, height

    def __getitem__(self, index):
        with Image.open(self.files[index]) as image:
            image = image.convert("RGB")
            image = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=self.box(*image.size))
        if self.rng.uniform() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = (np.asarray(image, np.float32) / 255 - MEAN) / STDDEV
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), index % 4


class Rival:
    def __init__(self, folder):
        data = Pictures(folder)
        self.loader = torch.utils.data.DataLoader(data, BATCH, shuffle=True, num_workers=1, drop_last=True,
                                                  persistent_workers=True, prefetch_factor=4)
        self.batches = self.endless()

    def endless(self):
        while True:
            yield from self.loader

    def run(self, batches):
        """Wall seconds."""
        start = time.perf_counter()
        for _ in range(batches):
            next(self.batches)
        return time.perf_counter() - start

    def processes(self):
        return [os.getpid()] + [worker.pid for worker in self.loader._iterator._workers]


class Ours:
    def __init__(self, program, folder):
        self.process = subprocess.Popen([program, folder, str(SIDE), str(BATCH)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"

    def run(self, batches):
        self.process.stdin.write(f"{batches}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def processes(self):
        return [self.process.pid]


def processor_seconds(processes):
    total = 0
    for process in processes:
        with open(f"/proc/{process}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--batches", type=int, default=8)
    arguments = parser.parse_args()
    core = sorted(os.sched_getaffinity(0))[0]
    os.sched_setaffinity(0, {core})  # inherited by the workers of both
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(folder, arguments.images)
        size = sum(os.path.getsize(os.path.join(r, n)) for r, _, names in os.walk(folder + "/train") for n in names)
        print(f"{arguments.images} JPEGs of 500 x 375, {size / arguments.images / 1e3:.0f} KB each; Pillow {PIL.__version__}, "
              f"PyTorch {torch.__version__}, core {core}")
        rivals = {"PyTorch": Rival(folder + "/train"), "Downstream": Ours(f"{arguments.build}/bin/loader_bench", folder)}
        ratios, speeds, walls = [], {name: [] for name in rivals}, {name: [] for name in rivals}
        for round_ in range(arguments.rounds + 1):
            for name, rival in rivals.items():
                # The other's worker fills up what it keeps ready; then what was prefetched here goes.
                time.sleep(2)
                rival.run(8)
                before = processor_seconds(rival.processes())
                wall = rival.run(arguments.batches)
                images = BATCH * arguments.batches
                if round_ > 0:  # the first warms the file cache up
                    speeds[name].append(images / (processor_seconds(rival.processes()) - before))
                    walls[name].append(images / wall)
            if round_ > 0:
                ratios.append(speeds["Downstream"][-1] / speeds["PyTorch"][-1])
        for name, values in speeds.items():
            print(f"{name:12} {statistics.median(values):5.0f} images a processor second ({min(values):.0f} to {max(values):.0f}); "
                  f"{statistics.median(walls[name]):.0f} images/s by the clock")
        print(f"Downstream / PyTorch: {statistics.median(ratios):.2f} (rounds {', '.join(f'{r:.2f}' for r in ratios)})")


if __name__ == "__main__":
    main()

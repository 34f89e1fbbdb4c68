"""The planned memory of .dsm files: how near to their lower bound, and what one buffer a tensor would take.

    PYTHON bench/engine/arenas.py BUILD MODEL [MODEL ...] [-- ARGUMENTS OF ds_export]

MODEL is an ONNX file or zoo:NAME. A line a file; the last one says the worst of all.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

PLAN = re.compile(r"^(.*): arena (\d+) bytes \((.*)\), at least (\d+), (\d+) unplanned$", re.M)


def main():
    build, *models = sys.argv[1:]
    extra = models[models.index("--") + 1:] if "--" in models else []
    models = models[:models.index("--")] if "--" in models else models
    worst, refused = 0, 0
    print(f"{'arena':>12} {'bound':>12} {'over':>7} {'apart':>12} {'saved':>6}  model (way)")
    with tempfile.TemporaryDirectory() as folder:
        for model in models:
            done = subprocess.run([pathlib.Path(build) / "bin/ds_export", "--model", model, "--format", "dsm", "--isa", "scalar",
                                   "--output", f"{folder}/model.dsm", "--explain", *extra], capture_output=True, text=True, check=False)
            name = model if model.startswith("zoo:") else pathlib.Path(model).name
            if done.returncode != 0:
                refused += 1
                print(f"{'refused':>12}  {name}: {done.stderr.strip()[:150]}")
                continue
            for shape, arena, way, bound, apart in PLAN.findall(done.stdout):
                arena, bound, apart = int(arena), int(bound), int(apart)
                worst = max(worst, arena / max(bound, 1))
                print(f"{arena:12} {bound:12} {arena / max(bound, 1):7.4f} {apart:12} {1 - arena / max(apart, 1):6.1%}  {name} ({way}; {shape})", flush=True)
    print(f"worst: {worst:.4f} of the bound; {refused} refused")


if __name__ == "__main__":
    main()

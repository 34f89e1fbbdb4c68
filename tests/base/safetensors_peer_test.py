"""Files that the safetensors library wrote come back from Downstream's reader and writer as they were."""
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file
except ImportError as error:
    print(f"SKIPPED: {error}; launch/setup.sh installs it")
    sys.exit(77)

TYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "bool"]


def main():
    seed = 7
    print("seed", seed)
    random = np.random.default_rng(seed)
    tensors = {}
    for name in TYPES:
        for size in (0, 1, 3, 127):
            values = random.integers(0, 2 if name == "bool" else 100, size=(size, 1))
            tensors[f"{name}.{size}"] = values.astype(name)
    tensors["scalar"] = np.array(2.5, dtype="float32")
    metadata = {"format": "pt", "note": "grün"}
    with tempfile.TemporaryDirectory() as folder:
        source, copy = pathlib.Path(folder) / "in.safetensors", pathlib.Path(folder) / "out.safetensors"
        save_file(tensors, source, metadata=metadata)
        subprocess.run([sys.argv[1], source, copy], check=True)
        result = load_file(copy)
        assert result.keys() == tensors.keys(), result.keys() ^ tensors.keys()
        for name, want in tensors.items():
            got = result[name]
            assert got.dtype == want.dtype and got.shape == want.shape, (name, got.dtype, got.shape)
            assert np.array_equal(got, want), name
        with safe_open(copy, framework="numpy") as file:
            assert file.metadata() == metadata, file.metadata()


if __name__ == "__main__":
    main()

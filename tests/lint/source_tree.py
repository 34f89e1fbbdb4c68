"""The files of a source tree, as the lints see them."""
import pathlib
import subprocess

GENERATED = {"build", ".git", ".venv", "runs", ".cache", "__pycache__"}
CPP = {".cc", ".h", ".cu", ".cuh"}


def files(root):
    """What git knows or would add; where there is no git, everything but what a build made."""
    root = pathlib.Path(root)
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, text=True, check=False) if (root / ".git").exists() else None
    if listed and listed.returncode == 0:
        return [root / name for name in listed.stdout.split("\0") if name and (root / name).is_file()]
    return [path for path in root.rglob("*") if path.is_file()
            and not any(part in GENERATED or part.startswith("build-") for part in path.relative_to(root).parts)]


def cpp_files(root):
    return [path for path in files(root) if path.suffix in CPP]

"""What tests of ds_train share: its command line, under mpirun too, and runs that are really killed.

Test files take DS_TRAIN MPIRUN as their arguments.
"""
import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

DS_TRAIN, MPIRUN = sys.argv[1], sys.argv[2]
ENVIRONMENT = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMP_NUM_THREADS="1")


def small_config(epochs, size, sections):
    """YAML of a run named t: a network with batch norms learns `size` images of four classes in seconds. `sections`: YAML too."""
    return f"""
run: {{name: t, epochs: {epochs}, seed: 5, threads: 1}}
model: {{name: resnet8}}
data: {{type: synthetic, channels: 3, height: 16, width: 16, classes: 4, size: {size}, batch_size: 16, test_batch_size: 64}}
optimizer: {{learning_rate: 0.05}}
precision: {{mode: fp32}}
log: {{tensorboard: false}}
{sections}
"""


class TrainingCase(unittest.TestCase):
    CONFIG = ""   # of a run named t
    MPI_OPTIONS = ("--oversubscribe", "--bind-to", "none")

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="ds_training_test")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "c.yaml").write_text(self.CONFIG)

    def command(self, ranks, *arguments):
        """ds_train, whose ranks compare all they must have in common at every evaluation."""
        launcher = [MPIRUN, *self.MPI_OPTIONS, "-np", str(ranks)] if ranks > 1 else []
        return [*launcher, DS_TRAIN, "--config", str(self.folder / "c.yaml"), "run.verify_replicas=true", *arguments]

    def train(self, output, *arguments, ranks=1):
        """The run's folder and what it printed."""
        done = subprocess.run(self.command(ranks, f"run.output={self.folder / output}", *arguments), env=ENVIRONMENT,
                              capture_output=True, text=True, timeout=250)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return self.folder / output / "t", done.stdout

    def start_and_kill(self, until, *options):
        """The folder of a run of two ranks that kill -9 stopped when until(folder) was true."""
        process = subprocess.Popen(self.command(2, f"run.output={self.folder / 'killed'}", *options), env=ENVIRONMENT,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        killed = self.folder / "killed" / "t"
        deadline = time.time() + 120
        while not until(killed) and time.time() < deadline:
            time.sleep(0.01)
        # The ranks themselves first: they would go on for a moment without mpirun.
        ranks = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for rank in map(int, ranks):
            os.kill(rank, signal.SIGKILL)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self.assertEqual(len(ranks), 2, "it was to be killed while it ran")
        self.assertTrue(until(killed))
        return killed

    @staticmethod
    def checkpoints(run):
        return sorted((run / "checkpoints").glob("step-*"))

    def newest(self, run):
        return self.checkpoints(run)[-1]

    def assert_same_bits(self, runs, section):
        """Of two runs: the newest checkpoint's tensors, a file `section` among them, and the model."""
        last = [self.newest(run) for run in runs]
        self.assertEqual(last[0].name, last[1].name)
        files = [sorted(f.name for f in folder.glob("*.safetensors")) for folder in last]
        self.assertEqual(*files)
        self.assertIn(section, files[0])
        for name in files[0]:
            self.assertEqual((last[0] / name).read_bytes(), (last[1] / name).read_bytes(), name)
        self.assertEqual(*((run / "model.onnx").read_bytes() for run in runs))

    def assert_refused(self, cases):
        """Options by the words that ds_train refuses them with, before it writes anything."""
        for fragment, options in cases.items():
            with self.subTest(fragment):
                done = subprocess.run(self.command(1, *options, f"run.output={self.folder / 'bad'}"), env=ENVIRONMENT, capture_output=True, text=True)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(fragment, done.stderr)
                self.assertFalse((self.folder / "bad").exists())

    @staticmethod
    def digest(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()

"""Ranks as processes of their own: with other data, and with how their threads wait.

    rank_processes_test.py DS_TRAIN MPIRUN
"""
import shutil
import subprocess
import unittest

import training_case


class RankProcesses(training_case.TrainingCase):
    CONFIG = """
run: {name: t, epochs: 1}
model: {name: mlp}
data: {type: idx, path: data, train_limit: 512, test_limit: 128, batch_size: 32, mean: [0.3], stddev: [0.3]}
"""

    def write_data(self, folder, pixel):
        """512 + 128 grey pictures of 4 x 4; pixel 1000 of the training data is as given."""
        folder.mkdir()
        for split, count in (("train", 512), ("t10k", 128)):
            pixels = bytearray((i * 7) % 256 for i in range(count * 16))
            if split == "train":
                pixels[1000] = pixel
            head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (count, 4, 4))
            (folder / f"{split}-images-idx3-ubyte").write_bytes(head + bytes(pixels))
            (folder / f"{split}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + count.to_bytes(4, "big") + bytes(i % 10 for i in range(count)))

    def run_in(self, folders):
        """ds_train, a rank in each folder."""
        ranks = []
        for folder in folders:
            ranks += [":"] if ranks else []
            ranks += ["-np", "1", "-wdir", str(folder), training_case.DS_TRAIN, "--config", str(self.folder / "c.yaml"),
                      f"run.output={self.folder / 'out'}"]
        return subprocess.run([training_case.MPIRUN, *self.MPI_OPTIONS, *ranks], env=training_case.ENVIRONMENT, capture_output=True,
                              text=True, timeout=120)

    def test_one_byte_that_differs_is_refused_and_named(self):
        for name, pixel in (("a", 1), ("b", 2)):
            (self.folder / name).mkdir()
            self.write_data(self.folder / name / "data", pixel)
        done = self.run_in([self.folder / "a", self.folder / "b"])
        self.assertNotEqual(done.returncode, 0, done.stdout)
        for words in ("training data (data.type idx, data.path data)", "rank 0 has '512 samples, checksum ", "rank 1 has '512 samples",
                      "over all bytes"):
            self.assertIn(words, done.stderr)
        self.assertFalse((self.folder / "out").exists(), "nothing was trained")
        # And the same bytes in two places are one data set.
        shutil.rmtree(self.folder / "b" / "data")
        self.write_data(self.folder / "b" / "data", 1)
        done = self.run_in([self.folder / "a", self.folder / "b"])
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_ranks_of_one_host_wait_passively(self):
        def spins(ranks, **chosen):
            """How often OpenMP's threads look before they sleep, as the library tells when it is loaded: at each start of each rank."""
            environment = {key: value for key, value in training_case.ENVIRONMENT.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
            environment.update(chosen, OMP_DISPLAY_ENV="verbose")
            done = subprocess.run(self.command(ranks, "--print-config"), env=environment, capture_output=True, text=True, timeout=60)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("epochs: 1", done.stdout)
            return [line.split("'")[1] for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]

        alone = spins(1)
        if not alone:
            self.skipTest("this OpenMP does not tell how it waits")
        self.assertNotIn("0", alone)
        self.assertEqual(spins(2).count("0"), 2)
        self.assertEqual(spins(2, OMP_WAIT_POLICY="active").count("0"), 0)


if __name__ == "__main__":
    unittest.main(argv=training_case.sys.argv[:1], verbosity=2)

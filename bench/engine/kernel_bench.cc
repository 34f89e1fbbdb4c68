// Speed of the edge engine's kernels on one thread, layer by layer, beside the most that this
// processor's multiply-accumulate instruction can do.
//
//   engine_kernel_bench [--isa NAME] [--only TEXT] [--rounds N]
//
// GMAC/s and the share of the peak: the best of N (default 15) short bursts of each, the probe's
// (deploy/engine/measure/peak.h, of INT8 for codes, of fp32 for floats) taking turns with the
// kernel's, so that a machine that others slow down slows both. --only: lines that hold TEXT.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "deploy/engine/measure/peak.h"
#include "deploy/engine/runtime/kernels/kernels.h"
#include "deploy/engine/runtime/kernels/pack/pack.h"

namespace ds::engine {
namespace {

enum class What { kConv8, kConv4, kConvF32, kDepthwise8, kDepthwiseF32 };
constexpr const char* kWhat[] = {"conv8", "conv4", "conv_f32", "depthwise8", "depthwise_f32"};

struct Line {
  What what;
  std::string name;
  ConvShape shape;
};

ConvShape Conv(int32_t size, int32_t in, int32_t out, int32_t kernel = 1, int32_t stride = 1) {
  const int32_t to = (size - 1) / stride + 1;
  return {.in_h = size,
          .in_w = size,
          .in_channels = in,
          .out_h = to,
          .out_w = to,
          .out_channels = out,
          .kernel_h = kernel,
          .kernel_w = kernel,
          .stride_h = stride,
          .stride_w = stride,
          .pad_top = (kernel - 1) / 2,
          .pad_left = (kernel - 1) / 2};
}

ConvShape Depthwise(int32_t size, int32_t channels, int32_t kernel, int32_t stride) {
  ConvShape shape = Conv(size, 1, 1, kernel, stride);
  shape.groups = channels;
  return shape;
}

ConvShape Product(int32_t m, int32_t k, int32_t n) {
  return {.in_w = m, .in_channels = k, .out_w = m, .out_channels = n};
}

std::vector<Line> Lines() {
  std::vector<Line> lines;
  for (What what : {What::kConv8, What::kConv4, What::kConvF32}) {
    const auto add = [&](const char* name, const ConvShape& shape) {
      lines.push_back({what, std::string(kWhat[static_cast<int>(what)]) + " " + name, shape});
    };
    add("gemm 512^3", Product(512, 512, 512));
    add("gemm 1024^3", Product(1024, 1024, 1024));
    add("gemv 2048x1000", Product(1, 2048, 1000));
    add("resnet50 1x1 64->256 56", Conv(56, 64, 256));
    add("resnet50 1x1 256->64 56", Conv(56, 256, 64));
    add("resnet50 3x3 64 56", Conv(56, 64, 64, 3));
    add("resnet50 1x1 512->128 28", Conv(28, 512, 128));
    add("resnet50 3x3 128 28", Conv(28, 128, 128, 3));
    add("resnet50 1x1 1024->256 14", Conv(14, 1024, 256));
    add("resnet50 1x1 256->1024 14", Conv(14, 256, 1024));
    add("resnet50 3x3 256 14", Conv(14, 256, 256, 3));
    add("resnet50 1x1 2048->512 7", Conv(7, 2048, 512));
    add("resnet50 3x3 512 7", Conv(7, 512, 512, 3));
    add("resnet50 1x1 s2 256->512 56", Conv(56, 256, 512, 1, 2));
    add("resnet50 stem 7x7 s2 3->64 224", Conv(224, 3, 64, 7, 2));
    add("mobilenet stem 3x3 s2 3->32 224", Conv(224, 3, 32, 3, 2));
    add("mobilenet 1x1 32->16 112", Conv(112, 32, 16));
    add("mobilenet 1x1 16->96 112", Conv(112, 16, 96));
    add("mobilenet 1x1 144->24 56", Conv(56, 144, 24));
    add("mobilenet 1x1 24->144 56", Conv(56, 24, 144));
    add("mobilenet 1x1 192->32 28", Conv(28, 192, 32));
    add("mobilenet 1x1 384->64 14", Conv(14, 384, 64));
    add("mobilenet 1x1 96->576 14", Conv(14, 96, 576));
    add("mobilenet 1x1 960->320 7", Conv(7, 960, 320));
  }
  for (What what : {What::kDepthwise8, What::kDepthwiseF32}) {
    const auto add = [&](const char* name, const ConvShape& shape) {
      lines.push_back({what, std::string(kWhat[static_cast<int>(what)]) + " " + name, shape});
    };
    add("3x3 s1 32 112", Depthwise(112, 32, 3, 1));
    add("3x3 s2 96 112", Depthwise(112, 96, 3, 2));
    add("3x3 s1 144 56", Depthwise(56, 144, 3, 1));
    add("3x3 s1 192 28", Depthwise(28, 192, 3, 1));
    add("3x3 s1 384 14", Depthwise(14, 384, 3, 1));
    add("3x3 s1 960 7", Depthwise(7, 960, 3, 1));
    add("5x5 s2 72 56", Depthwise(56, 72, 5, 2));
    add("5x5 s1 120 28", Depthwise(28, 120, 5, 1));
    add("5x5 s1 960 7", Depthwise(7, 960, 5, 1));
  }
  return lines;
}

using Clock = std::chrono::steady_clock;

double Seconds(const std::function<void()>& work) {
  const Clock::time_point begin = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

template <typename T>
std::vector<T> Random(int64_t count) {
  std::vector<T> values(static_cast<size_t>(count) + 128);
  uint32_t state = 1;
  for (T& value : values) {
    state = state * 1664525 + 1013904223;
    value = static_cast<T>(static_cast<int8_t>(state >> 24));
  }
  return values;
}

// As a layer's weights are, about normal: the greatest is 3.5 deviations.
std::vector<int8_t> Weights(int64_t count) {
  const std::vector<int8_t> draws = Random<int8_t>(count * 4);
  std::vector<int8_t> weights(static_cast<size_t>(count));
  for (size_t i = 0; i < weights.size(); ++i) {
    int32_t sum = 0;
    for (size_t j = 0; j < 4; ++j) sum += draws[i * 4 + j];
    weights[i] = static_cast<int8_t>(sum / 4);
  }
  return weights;
}
// As inputs are behind a ReLU: half of them zeros.
void FillRectified(std::vector<float>& values, int64_t count) {
  const std::vector<int8_t> weights = Weights(count);
  uint8_t* bytes = reinterpret_cast<uint8_t*>(values.data());
  for (int64_t i = 0; i < count; ++i)
    bytes[i] = static_cast<uint8_t>(2 * std::max<int32_t>(weights[static_cast<size_t>(i)], 0));
}

template <typename T>
T* Aligned(std::vector<T>& values) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(values.data());
  return values.data() + ((at + 63) / 64 * 64 - at) / sizeof(T);
}

double Macs(const Line& line) {
  const ConvShape& s = line.shape;
  return 1.0 * s.Pixels() * s.groups * s.out_channels * s.Depth();
}

// Buffers of one line, and its kernel over the whole of it.
class Bench {
 public:
  Bench(const Kernels& kernels, const Line& line) : kernels_(kernels), line_(line) {
    const ConvShape& s = line.shape;
    const bool depthwise = line.what == What::kDepthwise8 || line.what == What::kDepthwiseF32;
    const int64_t channels = int64_t{s.groups} * s.out_channels;
    input_ = Random<float>(int64_t{1} * s.batch * s.in_h * s.in_w * s.groups * s.in_channels);
    const bool floats = line.what == What::kConvF32 || line.what == What::kDepthwiseF32;
    if (!floats) FillRectified(input_, static_cast<int64_t>(input_.size()) * 4);
    output_.resize(static_cast<size_t>(s.Pixels() * channels) + 128);
    bias_.resize(static_cast<size_t>(depthwise ? PaddedDepthwiseChannels(s) : PaddedChannels(s)));
    multiplier_.assign(bias_.size(), 1e-4f);
    scratch_.resize(
        static_cast<size_t>(std::max(kernels.conv_scratch(s), kernels.depthwise_scratch(s)) + 64));
    Pack(channels * s.Depth());
  }

  void Run() {
    const ConvShape& s = line_.shape;
    const Range rows{0, s.Pixels()}, lines{0, s.batch * s.out_h}, columns{0, s.out_channels};
    void* scratch = Aligned(scratch_);
    switch (line_.what) {
      case What::kConv8:
        return kernels_.conv8(Args<Conv8Args>(), rows, columns, scratch);
      case What::kConv4:
        return kernels_.conv4(Args<Conv8Args>(), rows, columns, scratch);
      case What::kConvF32:
        return kernels_.conv_f32(ArgsF32(), rows, columns, scratch);
      case What::kDepthwise8:
        return kernels_.depthwise8(Args<Depthwise8Args>(), lines, scratch);
      case What::kDepthwiseF32:
        return kernels_.depthwise_f32(ArgsF32(), lines);
    }
  }

 private:
  void Pack(int64_t count) {
    const ConvShape& s = line_.shape;
    const Isa isa = kernels_.isa;
    const std::vector<int8_t> bytes = Weights(count);
    const std::vector<float> floats = Random<float>(count);
    switch (line_.what) {
      case What::kConv8:
        packed_.resize(static_cast<size_t>(PackedConvBytes(isa, s, bytes.data())) + 64);
        return PackConv(isa, s, bytes.data(), Aligned(packed_));
      case What::kConv4:
        packed_.resize(static_cast<size_t>(PackedConv4Bytes(isa, s)) + 64);
        return PackConv4(isa, s, bytes.data(), Aligned(packed_));
      case What::kConvF32:
        packed_.resize(static_cast<size_t>(PackedConvF32Floats(isa, s)) * 4 + 64);
        return PackConvF32(isa, s, floats.data(), reinterpret_cast<float*>(Aligned(packed_)));
      case What::kDepthwise8:
        packed_.resize(static_cast<size_t>(PackedDepthwiseBytes(isa, s)) + 64);
        return PackDepthwise(isa, s, bytes.data(), Aligned(packed_));
      case What::kDepthwiseF32:
        packed_.resize(static_cast<size_t>(PackedDepthwiseF32Floats(isa, s)) * 4 + 64);
        return PackDepthwiseF32(isa, s, floats.data(), reinterpret_cast<float*>(Aligned(packed_)));
    }
  }

  template <typename Args>
  void Place(Args& args, int64_t size) {
    const ConvShape& s = line_.shape;
    const int64_t in = size * s.groups * s.in_channels, out = size * s.groups * s.out_channels;
    args.shape = s;
    args.input = {Aligned(input_), in, in * s.in_w, in * s.in_w * s.in_h};
    args.output = {Aligned(output_), out, out * s.out_w, out * s.out_w * s.out_h};
  }
  template <typename A>
  A Args() {
    A args;
    Place(args, 1);
    args.weights = Aligned(packed_);
    args.requantise.bias = bias_.data();
    args.requantise.multiplier = multiplier_.data();
    args.requantise.zero_point = 100;
    return args;
  }
  ConvF32Args ArgsF32() {
    ConvF32Args args;
    Place(args, 4);
    args.weights = reinterpret_cast<const float*>(Aligned(packed_));
    args.bias = multiplier_.data();
    args.activate = {Activation::kClamp, 0, 6};
    return args;
  }

  const Kernels& kernels_;
  const Line& line_;
  std::vector<float> input_, output_;  // of bytes where the kernel is, and then mostly unused
  std::vector<uint8_t> packed_, scratch_;
  std::vector<int32_t> bias_;
  std::vector<float> multiplier_;
};

void Measure(const Kernels& kernels, const Line& line, int rounds) {
  constexpr double kBurst = 1e-3;
  Bench bench(kernels, line);
  bench.Run();
  const double once = Seconds([&] { bench.Run(); });
  const int times = std::clamp(static_cast<int>(kBurst / once), 1, 100000);
  const bool floats = line.what == What::kConvF32 || line.what == What::kDepthwiseF32;
  double best = 1e9, probe = 0;
  for (int round = 0; round < rounds; ++round) {
    const Peak peak = MeasurePeak(BestKernels().isa, 1);
    probe = std::max(probe, 1e9 * (floats ? peak.fp32 : peak.int8));
    best = std::min(best, Seconds([&] {
                            for (int i = 0; i < times; ++i) bench.Run();
                          }) / times);
  }
  const double speed = Macs(line) / best;
  std::printf("%-42s %9.1f us %8.1f GMAC/s %6.1f%% of %.0f\n", line.name.c_str(), best * 1e6,
              speed * 1e-9, probe > 0 ? 100 * speed / probe : 0, probe * 1e-9);
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  const Kernels* kernels = &BestKernels();
  const char* only = "";
  int rounds = 15;
  for (int i = 1; i < argc; i += 2) {
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (value && std::strcmp(argv[i], "--isa") == 0) {
      kernels = KernelsByName(value);
    } else if (value && std::strcmp(argv[i], "--only") == 0) {
      only = value;
    } else if (value && std::strcmp(argv[i], "--rounds") == 0) {
      rounds = std::max(1, std::atoi(value));
    } else {
      std::fprintf(stderr, "usage: engine_kernel_bench [--isa NAME] [--only TEXT] [--rounds N]\n");
      return 2;
    }
  }
  if (!kernels) {
    std::fprintf(stderr,
                 "--isa: unknown here; scalar, avx2 or avx512vnni, where the processor has it\n");
    return 2;
  }
  std::printf("%s\n", kernels->name);
  for (const Line& line : Lines()) {
    if (line.name.find(only) != std::string::npos) Measure(*kernels, line, rounds);
  }
  return 0;
}

}  // namespace
}  // namespace ds::engine

int main(int argc, char** argv) { return ds::engine::Main(argc, argv); }

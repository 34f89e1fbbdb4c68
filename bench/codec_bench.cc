// Speed of the gradient codecs on one thread, beside the machine's memory bandwidth.
//
//   codec_bench [--json] [--values N] [--ms MILLISECONDS] [--all] [--only TEXT]
//
// GB/s are of fp32 values: encoded, decoded, or decoded and added. Default: 16 Mi values (far
// beyond any cache), and 256 Ki (1 MiB: within the second-level cache), 200 ms a figure. Before it
// is timed, each path's first and last bytes are compared with the scalar reference's, and
// DecodeAdd with Decode and an addition. --all: every bits, scale and rounding; --only: lines that
// hold TEXT, as "4 bits max-norm nearest avx2".
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/cpu/cpu_features.h"
#include "base/random.h"
#include "codec/internal.h"

namespace ds {
namespace {

constexpr CodecNoise kNoise = {.seed = 1, .step = 2, .tensor = 3, .rank = 4};
constexpr int64_t kVerifiedBuckets = 37;

struct Flags {
  bool json = false;
  bool all = false;
  int64_t values = 0;  // 0: both defaults
  int ms = 200;
  std::string only;
};

double GigabytesPerSecond(double bytes, int ms, const std::function<void()>& work) {
  using Clock = std::chrono::steady_clock;
  work();
  double best = 0;
  const auto end = Clock::now() + std::chrono::milliseconds(ms);
  do {
    const auto start = Clock::now();
    work();
    best = std::max(best,
                    bytes / std::chrono::duration<double, std::nano>(Clock::now() - start).count());
  } while (Clock::now() < end);
  return best;
}

struct Case {
  std::string name;
  CodecOptions options;
};

std::vector<Case> Cases(bool all) {
  std::vector<Case> cases = {{"float16", {.kind = CodecKind::kFloat16}},
                             {"bfloat16", {.kind = CodecKind::kBFloat16}},
                             {"sign", {.kind = CodecKind::kSign}},
                             {"topk 1%", {.kind = CodecKind::kTopK}}};
  for (int bits = 1; bits <= 8; ++bits) {
    for (CodecRounding rounding : {CodecRounding::kNearest, CodecRounding::kStochastic}) {
      for (CodecScale scale : {CodecScale::kMaxNorm, CodecScale::kMinMax}) {
        for (bool rotate : {false, true}) {
          const bool usual =
              scale == CodecScale::kMaxNorm && (!rotate || rounding == CodecRounding::kNearest);
          if ((rotate && bits > 3) || !(all || usual)) continue;
          cases.push_back(
              {absl::StrCat(bits, " bits ", scale == CodecScale::kMaxNorm ? "max-norm" : "min-max",
                            rounding == CodecRounding::kNearest ? " nearest" : " stochastic",
                            rotate ? " rotated" : ""),
               {.bits = bits, .scale = scale, .rounding = rounding, .rotate = rotate}});
        }
      }
    }
  }
  return cases;
}

std::vector<std::byte> Encoded(const Codec& codec, absl::Span<const float> values) {
  std::vector<std::byte> bytes(
      static_cast<size_t>(codec.EncodedSize(static_cast<int64_t>(values.size()))));
  codec.Encode(values, kNoise, absl::MakeSpan(bytes));
  return bytes;
}

// `count` values from `first` on as the scalar reference encodes and decodes them: whole buckets,
// but for the buffer's last one.
void Verify(const Codec& codec, absl::Span<const float> values, absl::Span<const std::byte> wire,
            int64_t first, int64_t count) {
  const absl::Span<const float> range =
      values.subspan(static_cast<size_t>(first), static_cast<size_t>(count));
  CodecNoise noise = kNoise;
  noise.first_element = first;
  const auto reference = lowbit::MakeCodec(codec.options(), lowbit::ScalarKernels());
  std::vector<std::byte> bytes(static_cast<size_t>(codec.EncodedSize(count)));
  reference->Encode(range, noise, absl::MakeSpan(bytes));
  const size_t at = static_cast<size_t>(codec.EncodedSize(first));
  DS_CHECK(wire.subspan(at, bytes.size()) == absl::MakeConstSpan(bytes)) << "from " << first;
  std::vector<float> decoded(range.size()), sum(range.begin(), range.end());
  DS_CHECK(reference->Decode(bytes, noise, absl::MakeSpan(decoded)).ok());
  DS_CHECK(codec.DecodeAdd(bytes, noise, absl::MakeSpan(sum)).ok());
  for (size_t i = 0; i < range.size(); ++i) DS_CHECK(sum[i] == range[i] + decoded[i]) << i;
}

class Bench {
 public:
  Bench(const Flags& flags, int64_t count)
      : flags_(flags), values_(static_cast<size_t>(count)), sum_(values_.size()) {
    CounterRandom random(1);
    for (float& value : values_) value = 0.01f * (random.NextFloat() + random.NextFloat() - 1);
  }

  void Memory() {
    const double bytes = static_cast<double>(values_.size() * sizeof(float));
    Print("memory", "copy", 32,
          GigabytesPerSecond(
              bytes, flags_.ms,
              [&] { std::memcpy(sum_.data(), values_.data(), values_.size() * sizeof(float)); }),
          0, 0);
    volatile uint32_t sink = 0;
    const double read = GigabytesPerSecond(bytes, flags_.ms, [&] {
      sink = lowbit::BestKernels().magnitude(values_.data(), static_cast<int64_t>(values_.size()));
    });
    Print("memory", "read", 32, read, 0, 0);
  }

  void Run(const Case& c, const lowbit::CodecKernels& kernels) {
    const std::string line = absl::StrCat(c.name, " ", kernels.name);
    if (line.find(flags_.only) == std::string::npos) return;
    const auto codec = lowbit::MakeCodec(c.options, kernels);
    const double bytes = static_cast<double>(values_.size() * sizeof(float));
    std::vector<std::byte> wire = Encoded(*codec, values_);
    const int64_t count = static_cast<int64_t>(values_.size()), bucket = c.options.bucket;
    const int64_t some = kVerifiedBuckets * bucket;
    if (c.options.kind == CodecKind::kTopK || count <= some) {  // top-k has no buckets
      Verify(*codec, values_, wire, 0, count);
    } else {
      Verify(*codec, values_, wire, 0, some);
      const int64_t last = (count - some) / bucket * bucket;
      Verify(*codec, values_, wire, last, count - last);
    }
    const double encode = GigabytesPerSecond(
        bytes, flags_.ms, [&] { codec->Encode(values_, kNoise, absl::MakeSpan(wire)); });
    const double decode = GigabytesPerSecond(bytes, flags_.ms, [&] {
      DS_CHECK(codec->Decode(wire, kNoise, absl::MakeSpan(sum_)).ok());
    });
    const double add = GigabytesPerSecond(bytes, flags_.ms, [&] {
      DS_CHECK(codec->DecodeAdd(wire, kNoise, absl::MakeSpan(sum_)).ok());
    });
    Print(c.name, kernels.name,
          8.0 * static_cast<double>(wire.size()) / static_cast<double>(values_.size()), encode,
          decode, add);
  }

 private:
  void Print(const std::string& codec, const char* path, double bits, double encode, double decode,
             double add) const {
    if (flags_.json) {
      std::printf(
          "{\"values\": %zu, \"codec\": \"%s\", \"path\": \"%s\", \"bits_per_value\": %.4f, "
          "\"encode_gb_s\": %.3f, "
          "\"decode_gb_s\": %.3f, \"decode_add_gb_s\": %.3f}\n",
          values_.size(), codec.c_str(), path, bits, encode, decode, add);
    } else {
      std::printf("%10zu  %-32s %-7s %8.3f %8.2f %8.2f %8.2f\n", values_.size(), codec.c_str(),
                  path, bits, encode, decode, add);
    }
    std::fflush(stdout);
  }

  const Flags flags_;
  std::vector<float> values_, sum_;
};

int Main(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--json") {
      flags.json = true;
    } else if (flag == "--all") {
      flags.all = true;
    } else if (flag == "--only" && i + 1 < argc) {
      flags.only = argv[++i];
    } else if (flag == "--values" && i + 1 < argc) {
      flags.values = std::atoll(argv[++i]);
    } else if (flag == "--ms" && i + 1 < argc) {
      flags.ms = std::atoi(argv[++i]);
    } else {
      std::fprintf(stderr,
                   "codec_bench: %s is no flag: [--json] [--values N] [--ms MILLISECONDS] [--all] "
                   "[--only TEXT]\n",
                   argv[i]);
      return 2;
    }
  }
  if (!flags.json) {
    std::printf("%s; GB/s of fp32 values, one thread, bucket 512\n", Describe(Cpu()).c_str());
    std::printf("%10s  %-32s %-7s %8s %8s %8s %8s\n", "values", "codec", "path", "bits", "encode",
                "decode", "add");
  }
  constexpr int64_t kBeyondCaches = int64_t{16} << 20, kWithinCaches = int64_t{256} << 10;
  for (int64_t count : flags.values > 0 ? std::vector<int64_t>{flags.values}
                                        : std::vector<int64_t>{kWithinCaches, kBeyondCaches}) {
    Bench bench(flags, count);
    bench.Memory();
    for (const Case& c : Cases(flags.all)) {
      for (auto set : {lowbit::InstructionSet::kAvx512, lowbit::InstructionSet::kAvx2,
                       lowbit::InstructionSet::kNeon, lowbit::InstructionSet::kScalar}) {
        if (const lowbit::CodecKernels* kernels = lowbit::KernelsFor(set)) bench.Run(c, *kernels);
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace ds

int main(int argc, char** argv) { return ds::Main(argc, argv); }

#include "tests/comm/compress/compressor_contract.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/thread_pool.h"
#include "comm/compress/compressed_all_reduce.h"
#include "tests/comm/compress/serial_simulation.h"

namespace ds {
namespace {

constexpr uint64_t kSeed = 20240611;
constexpr int kSteps = 4, kSkippedStep = 1;
constexpr float kScale = 0.3f;  // not a power of two: a scale at the wrong place shows

struct Tensor {
  std::string name;
  int64_t count;
  bool raw;
};

// Nothing, one value, primes, around codec buckets and vectors, and more than a block.
const std::vector<Tensor>& Tensors() {
  static const std::vector<Tensor> tensors = {{"empty", 0, false},
                                              {"one", 1, false},
                                              {"seventeen.weight", 17, false},
                                              {"bias", 31, true},
                                              {"bucket", 64, false},
                                              {"bucket.and.one", 65, false},
                                              {"raw.empty", 0, true},
                                              {"prime.weight", 1009, false},
                                              {"norm.weight", 257, true},
                                              {"large.weight", 20011, false}};
  return tensors;
}

std::vector<float> Input(const Tensor& tensor, uint64_t step, int rank) {
  CounterRandom random(kSeed, StreamOf(tensor.name.data(), tensor.name.size()) + step,
                       static_cast<uint32_t>(rank));
  std::vector<float> values(static_cast<size_t>(tensor.count));
  const float size = rank % 2 == 0 ? 1.0f : 30.0f;  // the order of additions shows
  for (float& value : values) value = size * static_cast<float>(random.NextNormal());
  return values;
}

// How tensors lie in buckets.
struct Grouping {
  std::string name;
  bool reversed = false;
  bool bucket_each = false;
  int64_t cut = 0;  // tensors are cut into segments of so many values
  int64_t chunk_bytes = 0;
  int threads = 0;
  bool encode_ahead = false;
};

const std::vector<Grouping>& Groupings() {
  static const std::vector<Grouping> groupings = {
      {.name = "one bucket"},
      {.name = "a bucket each", .reversed = true, .bucket_each = true, .encode_ahead = true},
      {.name = "cut tensors, chunks, a thread", .cut = 8192, .chunk_bytes = 1500, .threads = 1},
      {.name = "chunks, two threads, reversed",
       .reversed = true,
       .chunk_bytes = 4000,
       .threads = 2}};
  return groupings;
}

// What all steps must give, and the residuals after the last: the same for every grouping.
struct Expected {
  Expected(int ranks, const std::shared_ptr<const Codec>& codec) : simulation(ranks, kSeed, true) {
    for (uint64_t step = 0; step < kSteps; ++step) {
      for (const Tensor& tensor : Tensors()) {
        if (step == kSkippedStep) continue;
        std::vector<std::vector<float>> inputs;
        for (int r = 0; r < ranks; ++r) inputs.push_back(Input(tensor, step, r));
        results[{step, tensor.name}] = simulation.Exchange(
            tensor.name, tensor.raw ? nullptr : codec, step, kScale, inputs, /*commit=*/true);
      }
    }
  }
  SerialSimulation simulation;
  std::map<std::pair<uint64_t, std::string>, std::vector<float>> results;
};

class Run {
 public:
  Run(Communicator& communicator, std::shared_ptr<const Codec> codec, const Grouping& grouping,
      Expected& expected, std::vector<std::string>& faults)
      : comm_(communicator),
        codec_(std::move(codec)),
        grouping_(grouping),
        expected_(expected),
        faults_(faults) {}

  void Check() {
    if (grouping_.threads > 0) pool_ = std::make_unique<ThreadPool>(grouping_.threads);
    auto made = CompressedAllReduce::Create(
        &comm_, Buckets(),
        {.seed = kSeed, .chunk_bytes = grouping_.chunk_bytes, .pool = pool_.get()});
    if (!made.ok()) return Fault(made.status().ToString());
    reducer_ = std::move(*made);
    for (int step = 0; step < kSteps; ++step) {
      if (!Step(step)) return;
    }
    ResidualsAreTheSimulations();
  }

 private:
  void Fault(const std::string& what) {
    faults_.push_back(absl::StrCat(grouping_.name, ": ", what));
  }

  std::vector<GradientBucket> Buckets() {
    std::vector<Tensor> tensors = Tensors();
    if (grouping_.reversed) std::reverse(tensors.begin(), tensors.end());
    std::vector<GradientBucket> buckets(1);
    for (const Tensor& tensor : tensors) {
      std::vector<float>& memory = memory_[tensor.name];
      memory.resize(static_cast<size_t>(tensor.count));
      if (grouping_.bucket_each && !buckets.back().empty()) buckets.emplace_back();
      const int64_t cut = grouping_.cut == 0 ? tensor.count : grouping_.cut;
      for (int64_t begin = 0; begin < std::max<int64_t>(tensor.count, 1); begin += cut) {
        const int64_t count = std::min(cut, tensor.count - begin);
        if (begin > 0) buckets.emplace_back();
        buckets.back().push_back(
            {tensor.name,
             absl::MakeSpan(memory).subspan(static_cast<size_t>(begin), static_cast<size_t>(count)),
             begin,
             tensor.raw ? nullptr : codec_,
             {}});
        if (cut == 0) break;
      }
    }
    return buckets;
  }

  // In the skipped step one value of one rank is not finite.
  bool Step(int step) {
    const bool skipped = step == kSkippedStep;
    for (const Tensor& tensor : Tensors()) {
      const std::vector<float> input = Input(tensor, static_cast<uint64_t>(step), comm_.rank());
      std::copy(input.begin(), input.end(),
                memory_[tensor.name].begin());  // the memory stays where it is
    }
    const CompressorState before = reducer_->ExportState();
    std::vector<float>& large = memory_["large.weight"];
    if (skipped && comm_.rank() == comm_.size() - 1)
      large[7001] = std::numeric_limits<float>::quiet_NaN();
    reducer_->BeginStep({static_cast<uint64_t>(step), kScale});
    for (int b = 0; grouping_.encode_ahead && b < reducer_->buckets(); ++b) reducer_->Encode(b);
    for (int b = 0; b < reducer_->buckets(); ++b) {
      const int64_t sent = comm_.wire_stats().bytes_sent;
      const absl::Status status = reducer_->Exchange(b);
      if (!status.ok()) return Fault(status.ToString()), false;
      if (comm_.wire_stats().bytes_sent - sent != reducer_->PredictedWireBytes(b))
        Fault("bytes sent are not the prediction");
    }
    reducer_->EndStep(!skipped);
    if (skipped && !std::isnan(large[7001])) Fault("one rank's NaN did not arrive");
    if (skipped && reducer_->ExportState() != before) Fault("a skipped step changed residuals");
    for (const Tensor& tensor : Tensors()) {
      if (!skipped) ResultIsTheSimulations(tensor, static_cast<uint64_t>(step));
    }
    return true;
  }

  void ResultIsTheSimulations(const Tensor& tensor, uint64_t step) {
    const std::vector<float>& wanted = expected_.results.at({step, tensor.name});
    const std::vector<float>& got = memory_[tensor.name];
    for (size_t i = 0; i < wanted.size(); ++i) {
      if (std::memcmp(&got[i], &wanted[i], sizeof(float)) == 0) continue;
      return Fault(absl::StrCat("step ", step, ", ", tensor.name, "[", i, "] is ", got[i], ", not ",
                                wanted[i]));
    }
  }

  void ResidualsAreTheSimulations() {
    const CompressorState state = reducer_->ExportState();
    if (comm_.size() == 1) {
      if (!state.empty()) Fault("one rank alone has residuals");
      return;
    }
    for (const auto& [key, values] : state) {
      const size_t slash = key.find('/'), at = key.rfind('@');
      const std::string name = key.substr(slash + 1, at - slash - 1);
      const size_t first = std::stoul(key.substr(at + 1));
      const bool worker = key.substr(0, slash) == kWorkerResidual;
      const std::vector<float>& all = worker ? expected_.simulation.worker(name, comm_.rank())
                                             : expected_.simulation.owner(name);
      if (first + values.size() > all.size() ||
          !std::equal(values.begin(), values.end(),
                      all.begin() + static_cast<std::ptrdiff_t>(first))) {
        Fault(absl::StrCat("residual ", key, " is not the simulation's"));
      }
    }
  }

  Communicator& comm_;
  const std::shared_ptr<const Codec> codec_;
  const Grouping& grouping_;
  Expected& expected_;
  std::vector<std::string>& faults_;
  std::map<std::string, std::vector<float>> memory_;
  std::unique_ptr<ThreadPool> pool_;
  std::unique_ptr<CompressedAllReduce> reducer_;
};

std::vector<CodecOptions> Codecs() {
  std::vector<CodecOptions> codecs;
  for (int bits = 1; bits <= 8; ++bits) {
    codecs.push_back(
        {.kind = CodecKind::kUniform, .bits = bits, .bucket = 64, .scale = CodecScale::kMaxNorm});
    codecs.push_back({.kind = CodecKind::kUniform,
                      .bits = bits,
                      .bucket = 512,
                      .scale = CodecScale::kMinMax,
                      .rounding = CodecRounding::kStochastic});
  }
  codecs.push_back({.kind = CodecKind::kUniform,
                    .bits = 2,
                    .bucket = 256,
                    .rounding = CodecRounding::kStochastic,
                    .rotate = true});
  codecs.push_back({.kind = CodecKind::kSign, .bucket = 128});
  codecs.push_back({.kind = CodecKind::kFloat16});
  codecs.push_back({.kind = CodecKind::kBFloat16});
  codecs.push_back({.kind = CodecKind::kFloat32});
  codecs.push_back({.kind = CodecKind::kTopK, .bucket = 512, .density = 0.05});
  return codecs;
}

}  // namespace

std::vector<std::string> CheckCompressedAllReduce(Communicator& communicator) {
  std::vector<std::string> faults;
  const std::vector<CodecOptions> codecs = Codecs();
  for (size_t c = 0; c < codecs.size(); ++c) {
    auto codec = Codec::Create(codecs[c]);
    if (!codec.ok()) {
      faults.push_back(codec.status().ToString());
      continue;
    }
    const std::shared_ptr<const Codec> shared = std::move(*codec);
    std::vector<std::string> found;
    Expected expected(communicator.size(), shared);
    for (const Grouping& grouping : Groupings())
      Run(communicator, shared, grouping, expected, found).Check();
    for (const std::string& fault : found) {
      faults.push_back(
          absl::StrCat("codec ", c, " (", codecs[c].bits, " bits), seed ", kSeed, ": ", fault));
    }
  }
  return faults;
}

}  // namespace ds

#include "tests/comm/compress/serial_simulation.h"

#include "base/check.h"
#include "base/random.h"

namespace ds {
namespace {

std::vector<float> RoundTrip(const Codec& codec, const std::vector<float>& values,
                             const CodecNoise& noise) {
  std::vector<std::byte> bytes(
      static_cast<size_t>(codec.EncodedSize(static_cast<int64_t>(values.size()))));
  std::vector<float> decoded(values.size());
  codec.Encode(values, noise, absl::MakeSpan(bytes));
  DS_CHECK(codec.Decode(bytes, noise, absl::MakeSpan(decoded)).ok());
  return decoded;
}

}  // namespace

std::vector<float> SerialSimulation::Exchange(const std::string& name,
                                              const std::shared_ptr<const Codec>& codec,
                                              uint64_t step, float scale,
                                              const std::vector<std::vector<float>>& values,
                                              bool commit) {
  const size_t count = values[0].size();
  std::vector<float> sum(count);
  if (codec == nullptr || ranks_ == 1) {
    for (size_t i = 0; i < count; ++i) {
      for (const std::vector<float>& of_rank : values)
        sum[i] = &of_rank == &values[0] ? of_rank[i] : sum[i] + of_rank[i];
      sum[i] *= scale;
    }
    return sum;
  }
  CodecNoise noise = {seed_, step, StreamOf(name.data(), name.size()), 0, 0};
  std::vector<std::vector<float>>& workers = workers_[name];
  std::vector<float>& owner = owners_[name];
  workers.resize(values.size(), std::vector<float>(count));
  owner.resize(count);
  std::vector<std::vector<float>> new_workers;
  for (size_t r = 0; r < values.size(); ++r) {
    std::vector<float> owed = values[r];
    for (size_t i = 0; i < count; ++i) {
      owed[i] *= scale;
      if (error_feedback_) owed[i] += workers[r][i];
    }
    noise.rank = r;
    const std::vector<float> sent = RoundTrip(*codec, owed, noise);
    for (size_t i = 0; i < count; ++i) {
      sum[i] = r == 0 ? sent[i] : sum[i] + sent[i];
      owed[i] -= sent[i];
    }
    new_workers.push_back(owed);
  }
  if (error_feedback_) {
    for (size_t i = 0; i < count; ++i) sum[i] += owner[i];
  }
  noise.rank = CodecNoise::kOwnerRank;
  const std::vector<float> result = RoundTrip(*codec, sum, noise);
  if (commit && error_feedback_) {
    workers = new_workers;
    for (size_t i = 0; i < count; ++i) owner[i] = sum[i] - result[i];
  }
  return result;
}

}  // namespace ds

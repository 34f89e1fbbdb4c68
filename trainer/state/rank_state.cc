#include "trainer/state/rank_state.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <map>
#include <set>
#include <type_traits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "comm/bytes.h"
#include "comm/hosts.h"
#include "trainer/checkpoint/checkpoint_names.h"

namespace ds {
namespace {

constexpr absl::string_view kResiduals = "residuals-", kOptimizers = "optimizer-";

// The stems `prefix`0, `prefix`1, ... of a manifest, by their numbers.
absl::StatusOr<std::map<int, std::string>> Numbered(const Manifest& manifest,
                                                    absl::string_view prefix) {
  std::map<int, std::string> stems;
  for (const auto& [name, entry] : manifest) {
    absl::string_view stem = name, digits = name;
    if (!absl::ConsumeSuffix(&stem, kTensorSuffix)) continue;
    digits = stem;
    if (!absl::ConsumePrefix(&digits, prefix)) continue;
    int number = 0;
    if (!absl::SimpleAtoi(digits, &number) || number < 0) {
      return absl::DataLossError(absl::StrCat("the checkpoint's file ", name, " bears no number"));
    }
    stems[number] = std::string(stem);
  }
  return stems;
}

absl::Status Missing(absl::string_view prefix, size_t number) {
  return absl::DataLossError(absl::StrCat("the checkpoint lacks ", prefix, number, kTensorSuffix));
}

template <typename T>
void AddTo(std::vector<double>& sum, const Tensor& tensor) {
  const auto values = tensor.span<T>();
  sum.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) sum[i] += static_cast<double>(values[i]);
}

template <typename T>
Tensor MeanOf(const std::vector<double>& sum, const Shape& shape, size_t count) {
  std::vector<T> mean(sum.size());
  for (size_t i = 0; i < sum.size(); ++i) {
    const double value = sum[i] / static_cast<double>(count);
    mean[i] = static_cast<T>(std::is_integral_v<T> ? std::round(value) : value);
  }
  return Tensor::From<T>(shape, mean);
}

// Optimisers of one run, added up.
class OptimizerSum {
 public:
  absl::Status Add(const std::string& stem, const TensorMap& state) {
    if (count_ == 0) {
      for (const auto& [name, tensor] : state) sums_[name] = {tensor.dtype(), tensor.shape(), {}};
    }
    ++count_;
    if (state.size() != sums_.size()) return NotOfOneRun(stem, "how many tensors they have");
    for (auto& [name, sum] : sums_) {
      const auto found = state.find(name);
      if (found == state.end() || found->second.dtype() != sum.dtype ||
          found->second.shape() != sum.shape) {
        return NotOfOneRun(stem, absl::StrCat("'", name, "'"));
      }
      if (sum.dtype == DType::kFloat32) {
        AddTo<float>(sum.values, found->second);
      } else if (sum.dtype == DType::kInt64) {
        AddTo<int64_t>(sum.values, found->second);
      } else {
        return absl::DataLossError(
            absl::StrCat(stem, ": '", name, "' is neither float32 nor int64"));
      }
    }
    return absl::OkStatus();
  }

  TensorMap Mean() const {
    TensorMap mean;
    for (const auto& [name, sum] : sums_) {
      mean[name] = sum.dtype == DType::kFloat32 ? MeanOf<float>(sum.values, sum.shape, count_)
                                                : MeanOf<int64_t>(sum.values, sum.shape, count_);
    }
    return mean;
  }

 private:
  struct Sum {
    DType dtype;
    Shape shape;
    std::vector<double> values;
  };

  static absl::Status NotOfOneRun(const std::string& stem, absl::string_view where) {
    return absl::DataLossError(absl::StrCat(stem, " and ", kOptimizers,
                                            "0 of the checkpoint differ in ", where,
                                            ": they are not of one run"));
  }

  std::map<std::string, Sum> sums_;
  size_t count_ = 0;
};

}  // namespace

absl::StatusOr<int> ContributorOf(bool hierarchical, Communicator& communicator) {
  if (!hierarchical) return communicator.rank();
  DS_ASSIGN_OR_RETURN(const int host, HostOfRank(communicator));
  DS_ASSIGN_OR_RETURN(const std::vector<int> hosts, AllGatherValues(host, communicator));
  // A host is named by its lowest rank; contributors are numbered without gaps.
  const std::set<int> distinct(hosts.begin(), hosts.end());
  return static_cast<int>(std::distance(distinct.begin(), distinct.find(host)));
}

TensorMap ResidualTensors(const CompressorState& state) {
  TensorMap tensors;
  for (const auto& [key, values] : state) {
    auto* bytes = reinterpret_cast<std::byte*>(const_cast<float*>(values.data()));
    tensors[key] =
        Tensor::Wrap(DType::kFloat32, {static_cast<int64_t>(values.size())}, bytes, nullptr);
  }
  return tensors;
}

absl::StatusOr<CompressorState> ResidualsFrom(const TensorMap& tensors, absl::string_view origin) {
  CompressorState state;
  for (const auto& [key, tensor] : tensors) {
    if (tensor.dtype() != DType::kFloat32) {
      return absl::DataLossError(absl::StrCat(origin, ": '", key, "' is not of type float32"));
    }
    const auto values = tensor.span<float>();
    state[key].assign(values.begin(), values.end());
  }
  return state;
}

std::string ResidualsFile(int number) { return absl::StrCat(kResiduals, number); }
std::string OptimizerFile(int number) { return absl::StrCat(kOptimizers, number); }

bool BelongsToOneRank(absl::string_view stem) {
  return absl::StartsWith(stem, kResiduals) || absl::StartsWith(stem, kOptimizers);
}

absl::StatusOr<RankStateFiles> RankStateFiles::Find(const Manifest& manifest,
                                                    const std::vector<int>& contributors) {
  RankStateFiles files;
  using Stems = std::map<int, std::string>;
  DS_ASSIGN_OR_RETURN(const Stems optimizers, Numbered(manifest, kOptimizers));
  for (const auto& [number, stem] : optimizers) {
    if (number != static_cast<int>(files.optimizers.size()))
      return Missing(kOptimizers, files.optimizers.size());
    files.optimizers.push_back(stem);
  }
  DS_ASSIGN_OR_RETURN(const Stems residuals, Numbered(manifest, kResiduals));
  for (const auto& [number, stem] : residuals) {
    const size_t n = static_cast<size_t>(number);
    // Earlier versions: number and contributor are one.
    if (contributors.empty() && n != files.residuals.size())
      return Missing(kResiduals, files.residuals.size());
    if (!contributors.empty() && n >= contributors.size()) {
      return absl::DataLossError(absl::StrCat("the checkpoint has ", stem, kTensorSuffix, " but ",
                                              contributors.size(), " ranks wrote it"));
    }
    const size_t contributor = contributors.empty() ? n : static_cast<size_t>(contributors[n]);
    files.residuals.resize(std::max(files.residuals.size(), contributor + 1));
    files.residuals[contributor].push_back(stem);
  }
  // One that was owed nothing has no file, and counts.
  if (!files.residuals.empty() && !contributors.empty()) {
    const int last = *std::max_element(contributors.begin(), contributors.end());
    files.residuals.resize(static_cast<size_t>(last) + 1);
  }
  return files;
}

absl::StatusOr<CompressorState> ReadContributor(const std::vector<std::string>& stems,
                                                ReadStem read) {
  std::vector<CompressorState> parts;
  for (const std::string& stem : stems) {
    DS_ASSIGN_OR_RETURN(const TensorMap tensors, read(stem));
    DS_ASSIGN_OR_RETURN(parts.emplace_back(), ResidualsFrom(tensors, stem));
  }
  if (parts.size() == 1) return std::move(parts[0]);
  return MergeStates(parts);
}

absl::StatusOr<CompressorState> ReadEqualPart(const RankStateFiles& files, int contributors,
                                              ReadStem read) {
  ResidualSum sum;
  for (const std::vector<std::string>& stems : files.residuals) {
    DS_ASSIGN_OR_RETURN(const CompressorState state, ReadContributor(stems, read));
    DS_RETURN_IF_ERROR(sum.Add(state));
  }
  return sum.PartOf(contributors);
}

absl::StatusOr<TensorMap> ReadMeanOptimizer(const RankStateFiles& files, ReadStem read) {
  OptimizerSum sum;
  for (const std::string& stem : files.optimizers) {
    DS_ASSIGN_OR_RETURN(const TensorMap state, read(stem));
    DS_RETURN_IF_ERROR(sum.Add(stem, state));
  }
  return sum.Mean();
}

}  // namespace ds

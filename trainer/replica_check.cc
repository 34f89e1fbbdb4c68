#include "trainer/replica_check.h"

#include <algorithm>

#include "ATen/core/grad_mode.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/hash/sha256.h"
#include "base/status.h"
#include "comm/bytes.h"
#include "trainer/mixed_precision_trainer.h"

namespace ds {
namespace {

constexpr char kFieldEnd = '\x1f', kLineEnd = '\x1e';

std::string Entry(const std::vector<std::string>& lines, size_t index) {
  return index < lines.size() ? lines[index] : std::string();
}

absl::Status Difference(int64_t step, const std::vector<std::string>& texts) {
  std::vector<std::vector<std::string>> lines;
  size_t longest = 0;
  for (const std::string& text : texts) {
    lines.push_back(absl::StrSplit(text, kLineEnd, absl::SkipEmpty()));
    longest = std::max(longest, lines.back().size());
  }
  for (size_t i = 0; i < longest; ++i) {
    const std::string first = Entry(lines[0], i);
    std::vector<size_t> others;
    for (size_t r = 1; r < lines.size(); ++r) {
      if (Entry(lines[r], i) != first) others.push_back(r);
    }
    if (others.empty()) continue;
    // Where rank 0's list is the shorter one.
    const std::string& named = first.empty() ? lines[others[0]][i] : first;
    const std::string name = named.substr(0, named.find(kFieldEnd));
    return absl::InternalError(absl::StrCat(
        "the replicas differ at step ", step, ": ", name, " is not on rank",
        others.size() == 1 ? " " : "s ", absl::StrJoin(others, ", "),
        " what it is on rank 0, bit for bit; start again from the last checkpoint, on ",
        "processors of one kind, and report this with the run's configuration"));
  }
  return absl::InternalError(absl::StrCat("the replicas differ at step ", step));
}

}  // namespace

void ReplicaCheck::Add(std::string name, const at::Tensor& tensor) {
  Add(std::move(name),
      absl::string_view(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()));
}

void ReplicaCheck::Add(std::string name, absl::string_view bytes) {
  digests_.emplace_back(std::move(name), Sha256Hex(bytes));
}

void ReplicaCheck::Add(std::string name, double value) {
  Add(std::move(name), absl::string_view(reinterpret_cast<const char*>(&value), sizeof(value)));
}

absl::Status ReplicaCheck::Compare(int64_t step, Communicator& communicator) const {
  std::string text;
  for (const auto& [name, digest] : digests_)
    absl::StrAppend(&text, name, std::string(1, kFieldEnd), digest, std::string(1, kLineEnd));
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> sums,
                      AllGatherBytes(Sha256Hex(text), communicator));
  if (std::all_of(sums.begin(), sums.end(),
                  [&](const std::string& sum) { return sum == sums[0]; })) {
    return absl::OkStatus();
  }
  DS_ASSIGN_OR_RETURN(const std::vector<std::string> texts, AllGatherBytes(text, communicator));
  return Difference(step, texts);
}

absl::Status MixedPrecisionTrainer::VerifyReplicas() {
  if (communicator_->size() == 1) return absl::OkStatus();
  const at::NoGradGuard no_grad;
  ReplicaCheck check;
  const auto add = [&](absl::string_view what, const std::map<std::string, at::Tensor>& tensors) {
    for (const auto& [name, tensor] : tensors) check.Add(absl::StrCat(what, " ", name), tensor);
  };
  for (const NamedTensor& entry : model_.parameters())
    check.Add(absl::StrCat("parameter ", entry.name), entry.tensor);
  for (const NamedTensor& entry : model_.buffers())
    check.Add(absl::StrCat("buffer ", entry.name), entry.tensor);
  if (ema_ != nullptr) add("average", ema_->State());
  // With local steps each rank's optimiser is its own.
  if (local_steps_ == nullptr) add("optimiser's", optimizer_.State());
  add("outer optimiser's", outer_state());
  for (const auto& [name, value] : State()) check.Add(absl::StrCat("trainer's ", name), value);
  if (parts_.schedule != nullptr) {
    for (const auto& [name, value] : parts_.schedule->State())
      check.Add(absl::StrCat("schedule's ", name), value);
  }
  if (prepared_) {
    const SyncState exchange = exchange_state();
    check.Add("method of compression", exchange.method);
    for (const auto& [name, bits] : exchange.bits) check.Add(absl::StrCat("bits of ", name), bits);
    for (const auto& [name, values] : exchange.residuals) {
      if (!IsSharedByRanks(name)) continue;
      check.Add(name, absl::string_view(reinterpret_cast<const char*>(values.data()),
                                        values.size() * sizeof(float)));
    }
  }
  return check.Compare(step_, *communicator_);
}

}  // namespace ds

// Are all ranks' replicas equal, bit for bit? A debug check: it reads all that it is given, and
// costs about a checkpoint's hashing.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "ATen/ATen.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "comm/communicator.h"

namespace ds {

class ReplicaCheck {
 public:
  // In the same order on every rank: the first that differs is the one that is named. A tensor's
  // elements count in the order of memory.
  void Add(std::string name, const at::Tensor& tensor);
  void Add(std::string name, absl::string_view bytes);
  void Add(std::string name, double value);

  // Internal, the same on every rank, naming `step`, the first entry that differs and the ranks on
  // which it is not what rank 0 has. Collective.
  absl::Status Compare(int64_t step, Communicator& communicator) const;

 private:
  std::vector<std::pair<std::string, std::string>> digests_;  // by name
};

}  // namespace ds

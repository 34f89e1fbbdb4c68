// Whether tensors read from a file are the state that something saved.
#pragma once

#include <map>
#include <string>

#include "ATen/core/Tensor.h"
#include "absl/status/status.h"

namespace ds {

// `given` must have the entries of `expected`, and no other, each of the same shape and type; int64
// entries are counts and must not be negative. NotFound for one that is missing, else
// InvalidArgument; messages name the entry and `whose` state it is ("the averages' state"), and end
// with `hint`.
absl::Status CheckState(const std::map<std::string, at::Tensor>& given,
                        const std::map<std::string, at::Tensor>& expected, const std::string& whose,
                        const std::string& hint);

}  // namespace ds

#include "executor/state_check.h"

#include "absl/strings/str_cat.h"
#include "base/tensor/tensor.h"

namespace ds {
namespace {

std::string Describe(const at::Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  return absl::StrCat(c10::toString(tensor.scalar_type()), " ",
                      ShapeString({tensor.sizes().data(), tensor.sizes().size()}));
}

}  // namespace

absl::Status CheckState(const std::map<std::string, at::Tensor>& given,
                        const std::map<std::string, at::Tensor>& expected, const std::string& whose,
                        const std::string& hint) {
  for (const auto& [name, tensor] : expected) {
    const auto found = given.find(name);
    if (found == given.end())
      return absl::NotFoundError(absl::StrCat(whose, " lacks '", name, "': ", hint));
    const at::Tensor& other = found->second;
    if (!other.defined() || other.sizes() != tensor.sizes() ||
        other.scalar_type() != tensor.scalar_type()) {
      return absl::InvalidArgumentError(absl::StrCat("entry '", name, "' of ", whose, " should be ",
                                                     Describe(tensor), " but is ", Describe(other),
                                                     ": ", hint));
    }
    if (tensor.scalar_type() == at::kLong && tensor.numel() == 1 && other.item<int64_t>() < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("count '", name, "' of ", whose, " is negative: ", hint));
    }
  }
  for (const auto& [name, tensor] : given) {
    if (!expected.contains(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat(whose, " has an unknown entry '", name, "': ", hint));
    }
  }
  return absl::OkStatus();
}

}  // namespace ds

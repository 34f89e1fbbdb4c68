// Macros that pass an absl::Status up. Errors travel as absl::Status or absl::StatusOr at every
// public boundary; a message says what is wrong, where, and how to mend it.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define DS_CONCAT_INNER(a, b) a##b
#define DS_CONCAT(a, b) DS_CONCAT_INNER(a, b)

// Evaluates `expr` (absl::Status); returns it from the enclosing function if it is an error.
#define DS_RETURN_IF_ERROR(expr)             \
  do {                                       \
    ::absl::Status ds_status_ = (expr);      \
    if (!ds_status_.ok()) return ds_status_; \
  } while (false)

// DS_ASSIGN_OR_RETURN(auto x, F()): assigns the value of a StatusOr or returns its error.
#define DS_ASSIGN_OR_RETURN(lhs, expr) \
  DS_ASSIGN_OR_RETURN_IMPL(DS_CONCAT(ds_statusor_, __LINE__), lhs, expr)
#define DS_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                             \
  if (!tmp.ok()) return std::move(tmp).status(); \
  lhs = std::move(tmp).value()

namespace ds {

// The same status code with `context` in front of the message ("while reading x.onnx: ...").
absl::Status Annotate(const absl::Status& status, absl::string_view context);

}  // namespace ds

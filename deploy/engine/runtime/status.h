// How the engine says that something failed: a message in three parts (what is wrong, where, how to
// mend it). No exceptions cross the engine's interface. Nothing is allocated where all is well.
#pragma once

#include <string>
#include <utility>

namespace ds::engine {

class [[nodiscard]] Status {
 public:
  Status() = default;
  static Status Error(std::string message) {
    Status status;
    status.failed_ = true;
    status.message_ = std::move(message);
    return status;
  }
  bool ok() const { return !failed_; }
  const std::string& message() const { return message_; }

 private:
  bool failed_ = false;
  std::string message_;
};

}  // namespace ds::engine

#define DS_ENGINE_RETURN_IF_ERROR(expression)                                         \
  do {                                                                                \
    if (::ds::engine::Status ds_engine_status = (expression); !ds_engine_status.ok()) \
      return ds_engine_status;                                                        \
  } while (false)

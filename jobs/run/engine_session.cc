#include "jobs/run/engine_session.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ds {

absl::StatusOr<std::unique_ptr<engine::Session>> OpenSession(const EngineSessionOptions& options) {
  std::shared_ptr<const engine::Model> model;
  engine::Status status = engine::Model::Open(options.model, {.isa = options.isa}, model);
  std::unique_ptr<engine::Session> session;
  if (status.ok())
    status = engine::Session::Create(std::move(model), {.threads = options.threads}, session);
  if (!status.ok()) return absl::InvalidArgumentError(status.message());
  return session;
}

std::string DimsText(std::span<const uint32_t> dims) {
  return absl::StrCat("[", absl::StrJoin(dims, ", "), "]");
}

}  // namespace ds

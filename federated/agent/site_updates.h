// What a site keeps of its own updates, over a kill: the one under way, whose very integers are
// sent again after a restart, and what the last one that counted left behind, the residual of error
// feedback and scaffold's own control variate. Both only advance with an update that counted.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "federated/secure/secure_agent.h"
#include "federated/update/integers.h"

namespace ds::federated {

struct SiteUpdate {
  int64_t round = -1;
  int64_t previous = -1;  // round of the last one that had counted when this one was made; -1: none
  int64_t base_version = 0;
  std::string base_digest;         // 64 digits
  IntegerVector levels{1, 0};      // before masks
  std::vector<float> residual;     // after it, once it has counted; may be empty
  std::vector<float> own_control;  // likewise

  // docs/federated-agent.md. Decode: DataLoss for what Encode did not write.
  std::string Encode() const;
  static absl::StatusOr<SiteUpdate> Decode(absl::string_view bytes);
};

// Two slots of a vault, written in turn: the one that counted stays until another one has. Not
// thread-safe.
class SiteUpdates {
 public:
  // What is there of `run`. The newer one is under way: whether it counted is for the aggregator to
  // say.
  static absl::StatusOr<std::unique_ptr<SiteUpdates>> Open(std::shared_ptr<Vault> vault,
                                                           const std::string& run);

  const SiteUpdate* counted() const { return counted_.has_value() ? &*counted_ : nullptr; }
  const SiteUpdate* under_way() const { return under_way_.has_value() ? &*under_way_ : nullptr; }
  // Replaces the one under way. `put` makes it durable: the vault's Put, or one with more beside
  // it.
  using Putting =
      absl::FunctionRef<absl::Status(const SiteUpdate& update, const VaultValue& value)>;
  absl::Status Begin(SiteUpdate update, Putting put);
  absl::Status Begin(SiteUpdate update);
  void Count();  // the one under way
  void Drop();   // the one under way
  // The run is over.
  absl::Status Clear();

 private:
  SiteUpdates(std::shared_ptr<Vault> vault, const std::string& run);

  const std::shared_ptr<Vault> vault_;
  const std::string prefix_;
  int counted_slot_ = 1;
  std::optional<SiteUpdate> counted_, under_way_;
};

}  // namespace ds::federated

#include "federated/wire/options_codec.h"

#include <cstdint>
#include <limits>
#include <string>

#include "base/status.h"
#include "federated/strategy/check_options.h"
#include "federated/wire/reading.h"
#include "federation.pb.h"

namespace ds::federated {
namespace {

// Every field by its name, which is the same in both: tests/federated/wire/codec_test.cc counts
// them.
#define DS_ROUND_FIELDS(X) \
  X(rounds)                \
  X(goal)                  \
  X(minimum) X(wait_for) X(sample) X(spare) X(deadline_s) X(unmask_deadline_s) X(abandoned_in_a_row)
#define DS_STRATEGY_FIELDS(X) \
  X(name)                     \
  X(server_learning_rate)     \
  X(momentum)                 \
  X(second_moment) X(epsilon) X(proximal) X(trim) X(byzantine) X(buffer) X(max_staleness)
#define DS_UPDATE_FIELDS(X) \
  X(bits)                   \
  X(weighting) X(samples_reference) X(declare_samples) X(error_feedback) X(rotate) X(clip_norm)
#define DS_SECURE_FIELDS(X) \
  X(mode) X(rounds_a_setup) X(colluders) X(threshold) X(least_difference) X(refuse_close_sets)
#define DS_PRIVACY_FIELDS(X) \
  X(mechanism) X(noise_multiplier) X(delta) X(epsilon_budget) X(declare_metrics)

// One field of one group, checked.
class Taking {
 public:
  explicit Taking(absl::string_view group) : reading_(absl::StrCat("Options.", group)) {}

  void Take(absl::string_view field, int64_t value, int64_t& out) { out = value; }
  void Take(absl::string_view field, int64_t value, int& out) {
    reading_.Range(field, value, std::numeric_limits<int>::min(), std::numeric_limits<int>::max());
    out = static_cast<int>(value);
  }
  void Take(absl::string_view field, double value, double& out) {
    reading_.Finite(field, value);
    out = value;
  }
  void Take(absl::string_view field, bool value, bool& out) { out = value; }
  void Take(absl::string_view field, const std::string& value, std::string& out) {
    reading_.Word(field, value);
    out = value;
  }
  const absl::Status& status() const { return reading_.status(); }

 private:
  Reading reading_;
};

}  // namespace

#define DS_PUT(field) to.set_##field(from.field);
void PutOptions(const RunOptions& options, v1::Options& wire) {
  wire.set_seed(options.seed);
  {
    const RoundOptions& from = options.round;
    auto& to = *wire.mutable_round();
    DS_ROUND_FIELDS(DS_PUT)
  }
  {
    const StrategyOptions& from = options.strategy;
    auto& to = *wire.mutable_strategy();
    DS_STRATEGY_FIELDS(DS_PUT)
  }
  {
    const UpdateOptions& from = options.update;
    auto& to = *wire.mutable_update();
    DS_UPDATE_FIELDS(DS_PUT)
  }
  {
    const SecureOptions& from = options.secure;
    auto& to = *wire.mutable_secure();
    DS_SECURE_FIELDS(DS_PUT)
  }
  const PrivacyOptions& from = options.privacy;
  auto& to = *wire.mutable_privacy();
  DS_PRIVACY_FIELDS(DS_PUT)
}
#undef DS_PUT

#define DS_TAKE(field) \
  if (from.has_##field()) taking.Take(#field, from.field(), to.field);
absl::StatusOr<RunOptions> GetOptions(const v1::Options& wire) {
  RunOptions options;
  if (wire.has_seed()) options.seed = wire.seed();
  {
    Taking taking("round");
    const auto& from = wire.round();
    RoundOptions& to = options.round;
    DS_ROUND_FIELDS(DS_TAKE)
    DS_RETURN_IF_ERROR(taking.status());
  }
  {
    Taking taking("strategy");
    const auto& from = wire.strategy();
    StrategyOptions& to = options.strategy;
    DS_STRATEGY_FIELDS(DS_TAKE)
    DS_RETURN_IF_ERROR(taking.status());
  }
  {
    Taking taking("update");
    const auto& from = wire.update();
    UpdateOptions& to = options.update;
    DS_UPDATE_FIELDS(DS_TAKE)
    DS_RETURN_IF_ERROR(taking.status());
  }
  {
    Taking taking("secure");
    const auto& from = wire.secure();
    SecureOptions& to = options.secure;
    DS_SECURE_FIELDS(DS_TAKE)
    DS_RETURN_IF_ERROR(taking.status());
  }
  Taking taking("privacy");
  const auto& from = wire.privacy();
  PrivacyOptions& to = options.privacy;
  DS_PRIVACY_FIELDS(DS_TAKE)
  DS_RETURN_IF_ERROR(taking.status());
  DS_RETURN_IF_ERROR(Annotate(CheckRunOptions(options), "the offered run"));
  return options;
}
#undef DS_TAKE

}  // namespace ds::federated

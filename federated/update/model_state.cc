#include "federated/update/model_state.h"

#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/hash/sha256.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace ds::federated {
namespace {

using Json = nlohmann::json;

constexpr char kFormat[] = "downstream federated model 1";
constexpr int64_t kMostFloats = int64_t{1} << 40;
constexpr const char* kKinds[] = {"parameter", "statistic", "variance"};

Json LayoutJson(const ModelLayout& layout) {
  Json slots = Json::array();
  for (const ModelSlot& slot : layout.slots)
    slots.push_back({slot.name, slot.count, kKinds[static_cast<int>(slot.kind)]});
  return slots;
}

absl::Status Damaged(absl::string_view origin, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(origin, ": ", what,
                                          "; the file is damaged or no federated model: remove it, "
                                          "and the model is fetched again"));
}

absl::StatusOr<ModelLayout> ReadLayout(const std::string& text, absl::string_view origin) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const absl::Status damaged = Damaged(origin, "its layout cannot be read");
  if (!json.is_array()) return damaged;
  ModelLayout layout;
  for (const Json& entry : json) {
    if (!entry.is_array() || entry.size() != 3 || !entry[0].is_string() ||
        !entry[1].is_number_integer() || !entry[2].is_string()) {
      return damaged;
    }
    ModelSlot slot = {.name = entry[0].get<std::string>(), .count = entry[1].get<int64_t>()};
    const auto* kind = std::find(std::begin(kKinds), std::end(kKinds), entry[2].get<std::string>());
    if (kind == std::end(kKinds)) return damaged;
    slot.kind = static_cast<SlotKind>(kind - std::begin(kKinds));
    layout.slots.push_back(std::move(slot));
  }
  return layout;
}

class Digester {
 public:
  void Text(absl::string_view text) {
    hash_.Update(absl::StrCat(text.size(), ":"));
    hash_.Update(text);
  }
  void Floats(absl::Span<const float> values) {
    hash_.Update(absl::StrCat(values.size(), "f:"));
    hash_.Update(absl::Span<const std::byte>(reinterpret_cast<const std::byte*>(values.data()),
                                             values.size() * sizeof(float)));
  }
  std::string Hex() { return hash_.Hex(); }

 private:
  Sha256 hash_;
};

// Shares the values' memory.
Tensor Shared(const std::vector<float>& values) {
  return Tensor::Wrap(DType::kFloat32, {static_cast<int64_t>(values.size())},
                      const_cast<std::byte*>(reinterpret_cast<const std::byte*>(values.data())),
                      nullptr);
}

class StateReader {
 public:
  StateReader(const TensorMap& tensors, const StringMap& metadata, absl::string_view origin)
      : tensors_(tensors), metadata_(metadata), origin_(origin) {}

  absl::StatusOr<std::string> Text(const std::string& name) const {
    const auto found = metadata_.find(name);
    if (found == metadata_.end()) return Damaged(origin_, absl::StrCat("it has no ", name));
    return found->second;
  }
  absl::StatusOr<int64_t> Number(const std::string& name) const {
    DS_ASSIGN_OR_RETURN(const std::string text, Text(name));
    int64_t number = 0;
    if (!absl::SimpleAtoi(text, &number))
      return Damaged(origin_, absl::StrCat("its ", name, " is no number"));
    return number;
  }
  // `count` floats; none: the tensor is not there.
  absl::StatusOr<std::vector<float>> Floats(const std::string& name, int64_t count) const {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) {
      if (count == 0) return std::vector<float>();
      return Damaged(origin_, absl::StrCat("it has no ", name));
    }
    const Tensor& tensor = found->second;
    if (tensor.dtype() != DType::kFloat32 || tensor.num_elements() != count || count == 0)
      return Damaged(origin_, absl::StrCat("its ", name, " are not ", count, " floats"));
    const absl::Span<const float> values = tensor.span<float>();
    return std::vector<float>(values.begin(), values.end());
  }

 private:
  const TensorMap& tensors_;
  const StringMap& metadata_;
  absl::string_view origin_;
};

absl::Status ReadScales(const StateReader& reader, const UpdatePlan& plan, absl::string_view origin,
                        ModelState& state) {
  const int64_t kept = std::min(plan.versions, state.version + 1);
  DS_ASSIGN_OR_RETURN(const std::vector<float> all, reader.Floats("scales", plan.scales * kept));
  for (const float scale : all) {
    if (!(scale > 0 && std::isfinite(scale))) return Damaged(origin, "a scale is not above zero");
  }
  for (int64_t v = 0; v < kept; ++v) {
    const auto from = all.begin() + v * plan.scales;
    state.scales.emplace_back(from, from + plan.scales);
  }
  return absl::OkStatus();
}

}  // namespace

int64_t ModelLayout::size() const {
  int64_t total = 0;
  for (const ModelSlot& slot : slots) total += slot.count;
  return total;
}

const std::vector<float>* ModelState::ScalesOf(int64_t of_version) const {
  const int64_t index = static_cast<int64_t>(scales.size()) - 1 - (version - of_version);
  if (of_version > version || index < 0) return nullptr;
  return &scales[static_cast<size_t>(index)];
}

std::string OptionsText(const RunOptions& options) {
  const StrategyOptions& strategy = options.strategy;
  const UpdateOptions& update = options.update;
  const PrivacyOptions& privacy = options.privacy;
  return Json({{"seed", options.seed},
               {"strategy", strategy.name},
               {"server_learning_rate", strategy.server_learning_rate},
               {"momentum", strategy.momentum},
               {"second_moment", strategy.second_moment},
               {"epsilon", strategy.epsilon},
               {"buffer", strategy.buffer},
               {"max_staleness", strategy.max_staleness},
               {"minimum", options.round.minimum},
               {"bits", update.bits},
               {"weighting", update.weighting},
               {"error_feedback", update.error_feedback},
               {"rotate", update.rotate},
               {"clip_norm", update.clip_norm},
               {"mechanism", privacy.mechanism},
               {"noise_multiplier", privacy.noise_multiplier},
               {"declare_metrics", privacy.declare_metrics}})
      .dump();
}

std::string DigestOf(const ModelState& state) {
  Digester digester;
  digester.Text(kFormat);
  digester.Text(LayoutJson(state.layout).dump());
  digester.Text(OptionsText(state.options));
  digester.Text(
      absl::StrCat(state.maximum_sites, " ", state.samples_reference, " ", state.version));
  for (const std::vector<float>* values :
       {&state.weights, &state.control, &state.first, &state.second}) {
    digester.Floats(*values);
  }
  for (const std::vector<float>& scales : state.scales) digester.Floats(scales);
  return digester.Hex();
}

absl::Status CheckLayout(const ModelLayout& layout, int64_t weights) {
  std::set<absl::string_view> names;
  int64_t total = 0;
  for (const ModelSlot& slot : layout.slots) {
    const std::string name = Json(slot.name).dump(-1, ' ', false, Json::error_handler_t::replace);
    if (slot.name.empty() || !names.insert(slot.name).second || !Json::accept(name) ||
        Json::parse(name).get<std::string>() != slot.name) {
      return absl::InvalidArgumentError(
          absl::StrCat("a model's slots need names in UTF-8, each its own: ", name, " is none"));
    }
    if (slot.count < 1 || slot.count > kMostFloats) {
      return absl::InvalidArgumentError(
          absl::StrCat("slot '", slot.name, "' has ", slot.count, " floats: leave out empty ones"));
    }
    total += slot.count;
    if (total > kMostFloats) break;
  }
  if (total == 0 || total > kMostFloats || total != weights) {
    return absl::InvalidArgumentError(
        absl::StrCat("a model of ", weights, " weights whose slots have ", total));
  }
  return absl::OkStatus();
}

absl::Status SaveState(const ModelState& state, const std::string& digest,
                       const std::string& path) {
  TensorMap tensors = {{"weights", Shared(state.weights)}};
  if (!state.control.empty()) tensors["control"] = Shared(state.control);
  if (!state.first.empty()) tensors["first"] = Shared(state.first);
  if (!state.second.empty()) tensors["second"] = Shared(state.second);
  std::vector<float> scales;
  for (const std::vector<float>& of_version : state.scales)
    scales.insert(scales.end(), of_version.begin(), of_version.end());
  tensors["scales"] = Shared(scales);
  return WriteSafetensors(path, tensors,
                          {{"format", kFormat},
                           {"layout", LayoutJson(state.layout).dump()},
                           {"options", OptionsText(state.options)},
                           {"maximum_sites", absl::StrCat(state.maximum_sites)},
                           {"samples_reference", absl::StrCat(state.samples_reference)},
                           {"version", absl::StrCat(state.version)},
                           {"digest", digest}});
}

absl::StatusOr<ModelState> StateFrom(const TensorMap& tensors, const StringMap& metadata,
                                     const RunOptions& options, absl::string_view origin) {
  const StateReader reader(tensors, metadata, origin);
  DS_ASSIGN_OR_RETURN(const std::string format, reader.Text("format"));
  if (format != kFormat) return Damaged(origin, absl::StrCat("it is no ", kFormat));
  DS_ASSIGN_OR_RETURN(const std::string text, reader.Text("options"));
  if (text != OptionsText(options)) {
    return absl::FailedPreconditionError(
        absl::StrCat(origin, ": the model is of a run with other options: it has ", text,
                     ", this run has ", OptionsText(options)));
  }
  ModelState state;
  state.options = options;
  DS_ASSIGN_OR_RETURN(const std::string layout, reader.Text("layout"));
  DS_ASSIGN_OR_RETURN(state.layout, ReadLayout(layout, origin));
  DS_ASSIGN_OR_RETURN(state.maximum_sites, reader.Number("maximum_sites"));
  DS_ASSIGN_OR_RETURN(state.samples_reference, reader.Number("samples_reference"));
  DS_ASSIGN_OR_RETURN(state.version, reader.Number("version"));
  const auto weights = tensors.find("weights");
  const int64_t count = weights == tensors.end() ? 0 : weights->second.num_elements();
  if (const absl::Status status = CheckLayout(state.layout, count); !status.ok())
    return Damaged(origin, status.message());
  if (state.maximum_sites < 1 || state.maximum_sites > kMostSitesOfASum ||
      state.samples_reference < 1 || state.version < 0 || state.version > kMostVersions) {
    return Damaged(origin, "a count is out of range");
  }
  DS_ASSIGN_OR_RETURN(const UpdatePlan plan, MakePlan(state.layout, options, state.maximum_sites));
  const int moments = ServerStep(options.strategy).moments();
  const bool control = options.strategy.name == "scaffold";
  DS_ASSIGN_OR_RETURN(state.weights, reader.Floats("weights", count));
  DS_ASSIGN_OR_RETURN(state.control, reader.Floats("control", control ? count : 0));
  DS_ASSIGN_OR_RETURN(state.first, reader.Floats("first", moments > 0 ? count : 0));
  DS_ASSIGN_OR_RETURN(state.second, reader.Floats("second", moments > 1 ? count : 0));
  DS_RETURN_IF_ERROR(ReadScales(reader, plan, origin, state));
  DS_ASSIGN_OR_RETURN(const std::string digest, reader.Text("digest"));
  if (digest != DigestOf(state)) return Damaged(origin, "its digest is not that of its contents");
  return state;
}

}  // namespace ds::federated

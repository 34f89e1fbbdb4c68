#include "jobs/train/plan_exchange.h"

#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "comm/bytes.h"
#include "nlohmann/json.hpp"

namespace ds {
namespace {

using Json = nlohmann::json;

Json ToJson(const std::map<std::string, QuantParams>& all) {
  Json json = Json::object();
  for (const auto& [name, params] : all) {
    // A float's shortest decimal as a double gives the same float again.
    json[name] = {params.type.bits, params.type.is_signed, params.type.narrow, params.axis,
                  params.group,     params.scales,         params.zero_points};
  }
  return json;
}

std::map<std::string, QuantParams> ParamsFromJson(const Json& json) {
  std::map<std::string, QuantParams> all;
  for (const auto& [name, entry] : json.items()) {
    all[name] = {.type = {.bits = entry.at(0).get<int>(),
                          .is_signed = entry.at(1).get<bool>(),
                          .narrow = entry.at(2).get<bool>()},
                 .axis = entry.at(3).get<int>(),
                 .group = entry.at(4).get<int64_t>(),
                 .scales = entry.at(5).get<std::vector<float>>(),
                 .zero_points = entry.at(6).get<std::vector<int32_t>>()};
  }
  return all;
}

std::string ToText(const QuantPlan& plan) {
  return Json({{"activations", ToJson(plan.activations)},
               {"weights", ToJson(plan.weights)},
               {"constants", ToJson(plan.constants)},
               {"left_in_float", plan.left_in_float}})
      .dump();
}

}  // namespace

absl::StatusOr<QuantPlan> PlanOfRankZero(const QuantPlan& mine, Communicator& communicator) {
  DS_ASSIGN_OR_RETURN(const std::string received,
                      BroadcastBytes(ToText(mine), /*root=*/0, communicator));
  try {
    const Json json = Json::parse(received);
    return QuantPlan{
        .activations = ParamsFromJson(json.at("activations")),
        .weights = ParamsFromJson(json.at("weights")),
        .constants = ParamsFromJson(json.at("constants")),
        .left_in_float = json.at("left_in_float").get<std::map<std::string, std::string>>()};
  } catch (const Json::exception& error) {
    return absl::DataLossError(
        absl::StrCat("rank 0's plan of quantisation cannot be read: ", error.what(),
                     "; start all ranks with the same program"));
  }
}

}  // namespace ds

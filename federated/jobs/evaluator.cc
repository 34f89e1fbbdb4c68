#include "federated/jobs/evaluator.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "report/json.h"

namespace ds::federated {
namespace {

constexpr char kWeights[] = "evaluator-weights.safetensors";

// A number that JSON cannot hold travels as null.
double Number(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number() ? found->get<double>() : RunSummary::kNone;
}

int64_t Count(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

std::string Text(const nlohmann::json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

Evaluator::Evaluator(EvaluatorOptions options) : options_(std::move(options)) {}
Evaluator::~Evaluator() = default;

absl::Status Evaluator::Start() {
  std::vector<std::string> command = {options_.program, "--config", options_.task, "--rounds",
                                      absl::StrCat(options_.rounds)};
  command.insert(command.end(), options_.overrides.begin(), options_.overrides.end());
  DS_ASSIGN_OR_RETURN(process_, ChildProcess::Start(command));
  if (model_file_.empty()) return absl::OkStatus();
  DS_ASSIGN_OR_RETURN(
      const nlohmann::json opened,
      Ask({{"do", "open"}, {"offer", offer_file_}, {"model", model_file_}, {"weights", ""}}));
  has_data_ = opened.value("has_data", false);
  return absl::OkStatus();
}

absl::StatusOr<nlohmann::json> Evaluator::Ask(const nlohmann::json& request) {
  if (process_ == nullptr) DS_RETURN_IF_ERROR(Start());
  absl::StatusOr<std::string> line = process_->Ask(JsonText(request, /*indent=*/-1));
  if (!line.ok()) {
    process_.reset();
    return line.status();
  }
  nlohmann::json answer = nlohmann::json::parse(*line, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object()) {
    process_.reset();
    return absl::InternalError(absl::StrCat(options_.program, " answered '", *line, "'"));
  }
  if (const std::string error = Text(answer, "error"); !error.empty()) {
    return absl::Status(static_cast<absl::StatusCode>(Count(answer, "code")), error);
  }
  return answer;
}

absl::StatusOr<std::string> Evaluator::WriteOffer(const std::string& model_file) {
  DS_ASSIGN_OR_RETURN(const nlohmann::json answer, Ask({{"do", "offer"}, {"model", model_file}}));
  return Text(answer, "task");
}

absl::StatusOr<FlatModel> Evaluator::Open(const std::string& offer_file,
                                          const std::string& model_file) {
  DS_ASSIGN_OR_RETURN(const nlohmann::json answer, Ask({{"do", "open"},
                                                        {"offer", offer_file},
                                                        {"model", model_file},
                                                        {"weights", File(kWeights)}}));
  offer_file_ = offer_file;
  model_file_ = model_file;
  has_data_ = answer.value("has_data", false);
  return ReadFlatModel(File(kWeights));
}

absl::StatusOr<SiteMetrics> Evaluator::Evaluate(int64_t round, const std::string& weights) {
  DS_ASSIGN_OR_RETURN(const nlohmann::json answer,
                      Ask({{"do", "evaluate"}, {"round", round}, {"weights", weights}}));
  SiteMetrics metrics;
  metrics.evaluated = Count(answer, "evaluated");
  metrics.correct = Count(answer, "correct");
  metrics.evaluation_loss = Number(answer, "loss");
  return metrics;
}

absl::StatusOr<std::vector<QuantizedExport>> Evaluator::WriteModels(const std::string& weights,
                                                                    const std::string& folder) {
  DS_ASSIGN_OR_RETURN(const nlohmann::json answer,
                      Ask({{"do", "write"}, {"weights", weights}, {"folder", folder}}));
  std::vector<QuantizedExport> exports;
  for (const nlohmann::json& file : answer.value("exports", nlohmann::json::array())) {
    exports.push_back({.file = Text(file, "file"),
                       .bits = static_cast<int>(Count(file, "bits")),
                       .activation_bits = static_cast<int>(Count(file, "activation_bits")),
                       .accuracy = Number(file, "accuracy"),
                       .bytes = Count(file, "bytes")});
  }
  return exports;
}

}  // namespace ds::federated

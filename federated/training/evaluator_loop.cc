#include "federated/training/evaluator_loop.h"

#include <istream>
#include <ostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/file/file.h"
#include "base/status.h"
#include "federated/model/weights_file.h"
#include "federated/wire/codec.h"
#include "report/exports.h"
#include "report/json.h"

namespace ds::federated {
namespace {

using Json = nlohmann::ordered_json;

absl::StatusOr<std::string> Text(const nlohmann::json& request, const char* key) {
  const auto found = request.find(key);
  if (found == request.end() || !found->is_string()) {
    return absl::InvalidArgumentError(absl::StrCat("the request has no text '", key, "'"));
  }
  return found->get<std::string>();
}

absl::StatusOr<FlatModel> ReadWeights(const nlohmann::json& request,
                                      const ServerEvaluator& evaluator) {
  DS_ASSIGN_OR_RETURN(const std::string path, Text(request, "weights"));
  DS_ASSIGN_OR_RETURN(FlatModel model, ReadFlatModel(path));
  if (model.weights.size() != evaluator.model().weights.size()) {
    return absl::InvalidArgumentError(absl::StrCat(path, " has ", model.weights.size(),
                                                   " weights, the offered model has ",
                                                   evaluator.model().weights.size()));
  }
  return model;
}

}  // namespace

void EvaluatorLoop::Run(std::istream& requests, std::ostream& answers) {
  for (std::string line; std::getline(requests, line);) {
    answers << Answer(line) << std::endl;
  }
}

std::string EvaluatorLoop::Answer(const std::string& request) {
  const nlohmann::json json = nlohmann::json::parse(request, nullptr, /*allow_exceptions=*/false);
  const absl::StatusOr<Json> answer =
      json.is_object() ? Do(json)
                       : absl::StatusOr<Json>(absl::InvalidArgumentError("not a JSON object"));
  if (answer.ok()) return JsonText(*answer, /*indent=*/-1);
  return JsonText({{"error", std::string(answer.status().message())},
                   {"code", static_cast<int>(answer.status().code())}},
                  /*indent=*/-1);
}

absl::StatusOr<Json> EvaluatorLoop::Do(const nlohmann::json& request) {
  DS_ASSIGN_OR_RETURN(const std::string what, Text(request, "do"));
  if (what == "offer") {
    DS_ASSIGN_OR_RETURN(const std::string model_file, Text(request, "model"));
    DS_ASSIGN_OR_RETURN(const std::string task, WriteOffer(task_, model_file));
    return Json{{"task", task}};
  }
  if (what == "open") return Open(request);
  if (evaluator_ == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat("'", what, "' before 'open'"));
  }
  if (what == "evaluate") return Evaluate(request);
  if (what == "write") return Write(request);
  return absl::InvalidArgumentError(absl::StrCat("unknown request '", what, "'"));
}

absl::StatusOr<Json> EvaluatorLoop::Open(const nlohmann::json& request) {
  DS_ASSIGN_OR_RETURN(const std::string offer_file, Text(request, "offer"));
  DS_ASSIGN_OR_RETURN(const std::string model_file, Text(request, "model"));
  DS_ASSIGN_OR_RETURN(const std::string weights_file, Text(request, "weights"));
  DS_ASSIGN_OR_RETURN(const std::string offer, ReadFile(offer_file));
  DS_ASSIGN_OR_RETURN(const HelloReply said, DecodeHelloReply(offer));
  DS_ASSIGN_OR_RETURN(evaluator_, MakeServerEvaluator(said.offer, model_file, task_.train));
  if (!weights_file.empty()) {
    const LocalModel& model = evaluator_->model();
    DS_RETURN_IF_ERROR(WriteFlatModel(weights_file, model.layout, model.weights));
  }
  return Json{{"has_data", evaluator_->has_data()}};
}

absl::StatusOr<Json> EvaluatorLoop::Evaluate(const nlohmann::json& request) {
  const auto round = request.find("round");
  if (round == request.end() || !round->is_number_integer()) {
    return absl::InvalidArgumentError("the request has no number 'round'");
  }
  DS_ASSIGN_OR_RETURN(const FlatModel model, ReadWeights(request, *evaluator_));
  DS_ASSIGN_OR_RETURN(const SiteMetrics metrics,
                      evaluator_->Evaluate(round->get<int64_t>(), model.weights));
  return Json{{"evaluated", metrics.evaluated},
              {"correct", metrics.correct},
              {"loss", metrics.evaluation_loss}};
}

absl::StatusOr<Json> EvaluatorLoop::Write(const nlohmann::json& request) {
  DS_ASSIGN_OR_RETURN(const std::string folder, Text(request, "folder"));
  DS_ASSIGN_OR_RETURN(const FlatModel model, ReadWeights(request, *evaluator_));
  DS_ASSIGN_OR_RETURN(const std::vector<QuantizedExport> files,
                      evaluator_->WriteModels(model.weights, folder));
  return Json{{"exports", ExportsJson(files)}};
}

}  // namespace ds::federated

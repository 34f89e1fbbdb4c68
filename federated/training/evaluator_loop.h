// ds_evaluator's end of the line to the aggregator (federated/jobs/evaluator.h): requests on one
// stream, an answer for each on the other, both a JSON object a line.
//   {"do": "offer", "model": FILE}                    writes the task's model   → {"task": TEXT}
//   {"do": "open", "offer": FILE, "model": FILE, "weights": FILE or ""}
//                                                     writes version 0          → {"has_data":
//                                                     BOOL}
//   {"do": "evaluate", "round": N, "weights": FILE}   → {"evaluated": N, "correct": N, "loss": X}
//   {"do": "write", "weights": FILE, "folder": FOLDER}   → {"exports": [...]}
//   an error                                          → {"error": TEXT, "code": N}
#pragma once

#include <iosfwd>
#include <memory>
#include <string>

#include "federated/training/server_evaluator.h"
#include "federated/training/task.h"
#include "nlohmann/json.hpp"

namespace ds::federated {

class EvaluatorLoop {
 public:
  explicit EvaluatorLoop(FederatedTask task) : task_(std::move(task)) {}
  // Until `requests` ends.
  void Run(std::istream& requests, std::ostream& answers);
  // One line; never fails but in what it answers.
  std::string Answer(const std::string& request);

 private:
  absl::StatusOr<nlohmann::ordered_json> Do(const nlohmann::json& request);
  absl::StatusOr<nlohmann::ordered_json> Open(const nlohmann::json& request);
  absl::StatusOr<nlohmann::ordered_json> Evaluate(const nlohmann::json& request);
  absl::StatusOr<nlohmann::ordered_json> Write(const nlohmann::json& request);

  const FederatedTask task_;
  std::unique_ptr<ServerEvaluator> evaluator_;  // null before "open"
};

}  // namespace ds::federated

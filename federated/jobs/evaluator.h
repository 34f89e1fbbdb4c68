// The aggregator's LibTorch, in a process of its own (the program ds_evaluator): the aggregator
// stays small, and a model that brings a library down does not bring the run down.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "federated/jobs/child_process.h"
#include "federated/model/weights_file.h"
#include "federated/wire/messages.h"
#include "nlohmann/json.hpp"
#include "report/summary.h"

namespace ds::federated {

struct EvaluatorOptions {
  std::string program = "ds_evaluator";
  std::string task;                    // file, as TaskConfig::config
  std::vector<std::string> overrides;  // of it
  int64_t rounds = 1;
  std::string folder;  // for files between the two processes; exists
};

// Not thread-safe. An error of Unavailable: the process is gone, and the next call starts another.
class Evaluator {
 public:
  explicit Evaluator(EvaluatorOptions options);
  ~Evaluator();

  // Writes the task's model to `model_file`; the task's text for the offer.
  absl::StatusOr<std::string> WriteOffer(const std::string& model_file);
  // Version 0 of the offer in `offer_file` (offer_files.h).
  absl::StatusOr<FlatModel> Open(const std::string& offer_file, const std::string& model_file);
  // After Open. Whether the server has a test split.
  bool has_data() const { return has_data_; }
  // `weights`: a file of WriteFlatModel, of the offered model's layout.
  absl::StatusOr<SiteMetrics> Evaluate(int64_t round, const std::string& weights);
  // model.onnx, model.safetensors and integer files into `folder`.
  absl::StatusOr<std::vector<QuantizedExport>> WriteModels(const std::string& weights,
                                                           const std::string& folder);

 private:
  // Answers of ds_evaluator as JSON (federated/training/evaluator_loop.h has the other end).
  absl::StatusOr<nlohmann::json> Ask(const nlohmann::json& request);
  absl::Status Start();
  std::string File(const char* name) const { return options_.folder + "/" + name; }

  const EvaluatorOptions options_;
  std::unique_ptr<ChildProcess> process_;
  std::string offer_file_, model_file_;  // empty: not opened
  bool has_data_ = false;
};

}  // namespace ds::federated

#include "jobs/run/run_job.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <span>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "data/file_bytes.h"
#include "data/image/image_codec.h"
#include "data/image/image_resize.h"
#include "data/loader.h"
#include "deploy/engine/runtime/session.h"
#include "jobs/data/data_setup.h"

namespace ds {
namespace {

using engine::Port;
using engine::Session;

std::string DimsText(std::span<const uint32_t> dims) {
  return absl::StrCat("[", absl::StrJoin(dims, ", "), "]");
}

absl::StatusOr<std::unique_ptr<Session>> OpenSession(const RunJobOptions& options) {
  std::shared_ptr<const engine::Model> model;
  engine::Status status = engine::Model::Open(options.model, {.isa = options.isa}, model);
  std::unique_ptr<Session> session;
  if (status.ok())
    status = Session::Create(std::move(model), {.threads = options.threads}, session);
  if (status.ok() && options.batch > 0)
    status = session->SetBatch(static_cast<uint32_t>(options.batch));
  if (!status.ok()) return absl::InvalidArgumentError(status.message());
  return session;
}

// Whether a shape is the session's but for the batch.
bool AlikeButForBatch(const Session& session, const engine::FileView& view) {
  for (int i = 0; i < session.input_count(); ++i) {
    const engine::file::Tensor& tensor = view.tensors[view.inputs[static_cast<size_t>(i)]];
    const auto dims = session.input(i).dims;
    if (!dims.empty() && !std::equal(dims.begin() + 1, dims.end(), tensor.dims + 1)) return false;
  }
  return true;
}

// The smallest batch of the file that holds so many samples.
absl::Status FitBatch(Session& session, int64_t samples) {
  int best = session.shape();
  int64_t least = INT64_MAX;
  for (int i = 0; i < session.model().shape_count(); ++i) {
    const engine::FileView& view = session.model().view(i);
    const int64_t batch = view.tensors[view.inputs[0]].dims[0];
    if (batch < samples || batch >= least || !AlikeButForBatch(session, view)) continue;
    least = batch;
    best = i;
  }
  const engine::Status status = session.SelectShape(best);
  return status.ok() ? absl::OkStatus() : absl::InternalError(status.message());
}

// Scores [N, classes] or [N, ..., classes] with ones between.
absl::Status CheckClassifier(const Session& session, const std::string& model) {
  const Port* out = session.output_count() > 0 ? &session.output(0) : nullptr;
  if (out != nullptr && out->type == engine::file::Type::kFloat32 && out->dims.size() >= 2 &&
      session.input_count() > 0 && !session.input(0).dims.empty()) {
    const int64_t rows = out->bytes / 4 / out->dims.back();
    if (rows == out->dims[0] && rows == session.input(0).dims[0]) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "'", model, "' is no classifier: its first output is ",
      out == nullptr ? "not there" : DimsText(out->dims), ", not float scores [N, classes]"));
}

// The place of the label among the scores: how many are higher, equal ones before it included.
int64_t Place(const float* scores, int64_t classes, int64_t label) {
  int64_t place = 0;
  for (int64_t c = 0; c < classes; ++c)
    place += scores[c] > scores[label] || (scores[c] == scores[label] && c < label);
  return place;
}

// The input of a batch that goes to each of the model's.
absl::StatusOr<std::vector<const Tensor*>> Match(const Session& session, const Batch& batch) {
  std::vector<const Tensor*> matched;
  for (int i = 0; i < session.input_count(); ++i) {
    const Port& port = session.input(i);
    const Tensor* found = nullptr;
    for (const BatchInput& input : batch.inputs) {
      if (input.name == port.name || batch.inputs.size() == 1) found = &input.values;
    }
    if (found == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("the data has no input '", std::string(port.name), "' of the model"));
    }
    const size_t of_sample = port.dims.empty() ? 0 : static_cast<size_t>(port.bytes) / port.dims[0];
    if (batch.size() > 0 && found->bytes().size() / batch.size() != of_sample) {
      return absl::InvalidArgumentError(
          absl::StrCat("input '", std::string(port.name), "' of the model is ", DimsText(port.dims),
                       ", a batch of the data [", absl::StrJoin(found->shape(), ", "), "]"));
    }
    matched.push_back(found);
  }
  return matched;
}

absl::Status CheckTargets(const Batch& batch) {
  if (batch.targets.has_value() && batch.targets->dtype() == DType::kInt64 &&
      batch.targets->shape().size() == 1) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "the data has no class for each sample, by which a classifier could be scored");
}

class Scoring {
 public:
  Scoring(Session& session, int64_t ignored) : session_(session), ignored_(ignored) {}

  // One batch, which may be smaller than the model's.
  absl::Status Add(const Batch& batch) {
    DS_RETURN_IF_ERROR(CheckTargets(batch));
    DS_RETURN_IF_ERROR(FitBatch(session_, batch.size()));
    DS_ASSIGN_OR_RETURN(const std::vector<const Tensor*> inputs, Match(session_, batch));
    for (size_t i = 0; i < inputs.size(); ++i) {
      const auto bytes = inputs[i]->bytes();
      std::memcpy(session_.input(static_cast<int>(i)).data, bytes.data(), bytes.size());
    }
    const auto begin = std::chrono::steady_clock::now();
    session_.Run();
    score_.seconds +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    return Count(*batch.targets);
  }
  const RunScore& score() const { return score_; }

 private:
  absl::Status Count(const Tensor& targets) {
    const Port& out = session_.output(0);
    const int64_t classes = out.dims.back();
    for (int64_t i = 0; i < targets.dim(0); ++i) {
      const int64_t label = targets.span<int64_t>()[static_cast<size_t>(i)];
      if (label == ignored_) continue;
      if (label < 0 || label >= classes) {
        return absl::InvalidArgumentError(absl::StrCat(
            "the data has label ", label, ", the model's classes are 0 to ", classes - 1));
      }
      const int64_t place =
          Place(static_cast<const float*>(out.data) + i * classes, classes, label);
      ++score_.samples;
      score_.correct += place == 0;
      score_.correct_of_five += place < 5;
    }
    return absl::OkStatus();
  }

  Session& session_;
  const int64_t ignored_;
  RunScore score_;
};

// The picture as the input [1, C, S, S] of floats; a channel that has no mean or deviation is left
// in [0, 1].
absl::Status FillPicture(const Port& port, const LoaderOptions& loader, const std::string& path) {
  const auto& dims = port.dims;
  if (dims.size() != 4 || dims[0] != 1 || (dims[1] != 1 && dims[1] != 3) || dims[2] != dims[3] ||
      port.type != engine::file::Type::kFloat32) {
    return absl::InvalidArgumentError(absl::StrCat(
        "input '", std::string(port.name), "' of the model is ", DimsText(dims),
        ", not one square picture of floats [1, 1 or 3, S, S]; write the file with --batch 1"));
  }
  constexpr int64_t kMostBytes = int64_t{1} << 28;
  DS_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, ReadFileBytes(path, kMostBytes));
  const int64_t channels = dims[1], side = dims[2];
  DS_ASSIGN_OR_RETURN(const DecodedImage image,
                      DecodeImage(bytes, path, {.channels = channels, .min_side = side}));
  std::vector<uint8_t> planes(static_cast<size_t>(channels * side * side));
  ResizeAndCrop(image, side, absl::MakeSpan(planes));
  auto* values = static_cast<float*>(port.data);
  for (size_t i = 0; i < planes.size(); ++i) {
    const size_t c = i / static_cast<size_t>(side * side);
    const double mean = c < loader.mean.size() ? loader.mean[c] : 0;
    const double stddev = c < loader.stddev.size() ? loader.stddev[c] : 1;
    values[i] = static_cast<float>((planes[i] / 255.0 - mean) / stddev);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RunScore> RunOnData(TrainConfig config, const RunJobOptions& options) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, OpenSession(options));
  DS_RETURN_IF_ERROR(CheckClassifier(*session, options.model));
  if (options.limit > 0)
    (options.split == "train" ? config.data.train_limit : config.data.test_limit) = options.limit;
  config.data.test_batch_size = session->input(0).dims[0];
  config.data.loader.channels_last = false;
  DS_ASSIGN_OR_RETURN(const DataSplits splits, OpenSplits(config));
  const auto& data = options.split == "train" ? splits.train : splits.test;
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<DataLoader> loader,
                      MakeLoader(config, data, DataUse::kTest));
  Scoring scoring(*session, data->info().ignored_label);
  DS_RETURN_IF_ERROR(loader->StartEpoch(0));
  while (true) {
    DS_ASSIGN_OR_RETURN(const std::optional<Batch> batch, loader->Next());
    if (!batch.has_value()) break;
    DS_RETURN_IF_ERROR(scoring.Add(*batch));
  }
  return scoring.score();
}

absl::StatusOr<std::vector<std::pair<int64_t, float>>> RunOnPicture(const TrainConfig& config,
                                                                    const std::string& picture,
                                                                    const RunJobOptions& options) {
  DS_ASSIGN_OR_RETURN(const std::unique_ptr<Session> session, OpenSession(options));
  DS_RETURN_IF_ERROR(CheckClassifier(*session, options.model));
  DS_RETURN_IF_ERROR(FitBatch(*session, 1));
  DS_RETURN_IF_ERROR(FillPicture(session->input(0), config.data.loader, picture));
  session->Run();
  const Port& out = session->output(0);
  const auto* scores = static_cast<const float*>(out.data);
  std::vector<std::pair<int64_t, float>> ranked;
  for (int64_t c = 0; c < out.dims.back(); ++c) ranked.emplace_back(c, scores[c]);
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  ranked.resize(std::min(ranked.size(), static_cast<size_t>(options.top)));
  return ranked;
}

}  // namespace ds

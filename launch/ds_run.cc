// ds_run: a .dsm classifier on a data set or a picture, a detector on a picture.
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "deploy/engine/runtime/session.h"
#include "jobs/config/train_schema.h"
#include "jobs/run/detect_job.h"
#include "jobs/run/run_job.h"
#include "launch/model_job.h"

namespace {

struct Arguments {
  ds::DataFlags yaml;
  ds::RunJobOptions job;
  ds::DetectJobOptions detect;
  std::string task = "classify", detector = "auto", anchors;
  std::string picture, format = "table";
};

void DeclareDetection(CLI::App& app, Arguments& arguments) {
  ds::DetectJobOptions& detect = arguments.detect;
  app.add_option("--output", detect.drawing, "detect: PNG to write, the picture with its boxes");
  app.add_option("--labels", detect.names, "detect: text file with the classes' names, one a line");
  app.add_option("--detector", arguments.detector,
                 "detect: form of the outputs; auto: by their shapes")
      ->check(CLI::IsMember(std::vector<std::string>{"auto", "yolov5", "yolov5-heads", "yolov8"}))
      ->capture_default_str();
  app.add_option("--anchors", arguments.anchors,
                 "detect, yolov5-heads: W,H,W,H,... in pixels, grids apart by ';', the finest "
                 "first (default: YOLOv5's for COCO)");
  app.add_option("--score", detect.detector.yolo.least_score, "detect: boxes above it are shown")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--iou", detect.detector.suppression.iou,
                 "detect: of two boxes of a class that overlap more, the better one is shown")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_flag("--across-classes", detect.detector.suppression.across_labels,
               "detect: of two boxes of different classes, too");
  app.add_option("--most", detect.detector.suppression.most_kept, "detect: boxes shown at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

void Declare(CLI::App& app, Arguments& arguments) {
  ds::RunJobOptions& job = arguments.job;
  app.add_option("--model", job.engine.model, "a .dsm file, as ds_export --format dsm writes it")
      ->required();
  app.add_option("--task", arguments.task, "what the model does")
      ->check(CLI::IsMember(std::vector<std::string>{"classify", "detect"}))
      ->capture_default_str();
  CLI::Option* data = app.add_option(
      "--data", arguments.yaml.file,
      "YAML whose data section says what to run on, for instance a run's config.yaml; detect: a "
      "folder with images/NAME.jpg and labels/NAME.txt (YOLO's), for mAP; --score 0.001 then");
  app.add_option("--image", arguments.picture,
                 "one picture (JPEG, PNG or WebP) instead of the data set; its mean and stddev are "
                 "those of --data, where that is given");
  app.add_option("overrides", arguments.yaml.overrides, "key.path=value of the YAML")->needs(data);
  app.add_option("--split", job.split, "of the data")
      ->check(CLI::IsMember(std::vector<std::string>{"train", "test"}))
      ->capture_default_str();
  app.add_option("--limit", job.limit, "samples; 0: as the YAML says, or all")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--top", job.top, "classify: classes shown of a picture")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  DeclareDetection(app, arguments);
  app.add_option("--threads", job.engine.threads, "threads, this one included")
      ->check(CLI::Range(1, ds::engine::kMostThreads))
      ->capture_default_str();
  app.add_option("--isa", job.engine.isa,
                 "instruction set: scalar, avx2, avx512vnni (default: DS_ISA, or the fastest)");
  app.add_option("--format", arguments.format, "what is printed; csv: of boxes only")
      ->check(CLI::IsMember(std::vector<std::string>{"table", "json", "csv"}))
      ->capture_default_str();
}

void Print(const ds::RunScore& score, bool json) {
  const auto share = [&](int64_t count) {
    return score.samples > 0
               ? 100.0 * static_cast<double>(count) / static_cast<double>(score.samples)
               : 0.0;
  };
  const double milliseconds =
      score.samples > 0 ? 1000 * score.seconds / static_cast<double>(score.samples) : 0;
  std::printf(
      json ? "{\"samples\": %lld, \"accuracy\": %.3f, \"top5\": %.3f, \"ms_a_sample\": %.4f}\n"
           : "samples      %lld\naccuracy     %.2f %%\ntop5         %.2f %%\nms a sample  %.3f\n",
      static_cast<long long>(score.samples), share(score.correct), share(score.correct_of_five),
      milliseconds);
}

absl::Status RunPicture(const Arguments& arguments, const ds::TrainConfig& config) {
  const auto classes = ds::RunOnPicture(config, arguments.picture, arguments.job);
  if (!classes.ok()) return classes.status();
  for (const auto& [label, score] : *classes)
    std::printf("%6lld  %.5g\n", static_cast<long long>(label), score);
  return absl::OkStatus();
}

ds::YoloForm FormNamed(const std::string& name) {
  if (name == "yolov5") return ds::YoloForm::kYolov5;
  if (name == "yolov5-heads") return ds::YoloForm::kYolov5Heads;
  return name == "yolov8" ? ds::YoloForm::kYolov8 : ds::YoloForm::kAuto;
}

ds::DetectionFormat FormatNamed(const std::string& name) {
  if (name == "json") return ds::DetectionFormat::kJson;
  return name == "csv" ? ds::DetectionFormat::kCsv : ds::DetectionFormat::kTable;
}

absl::Status Detect(const Arguments& arguments) {
  if (arguments.picture.empty() == arguments.yaml.file.empty()) {
    return absl::InvalidArgumentError(
        "--task detect takes --image, a picture, or --data, a folder with images/ and labels/");
  }
  ds::DetectJobOptions options = arguments.detect;
  options.detector.engine = arguments.job.engine;
  options.picture = arguments.picture;
  options.data = arguments.yaml.file;
  options.limit = arguments.job.limit;
  options.detector.yolo.form = FormNamed(arguments.detector);
  if (!arguments.anchors.empty()) {
    auto anchors = ds::ParseAnchors(arguments.anchors);
    if (!anchors.ok()) return anchors.status();
    options.detector.yolo.anchors = *std::move(anchors);
  }
  const ds::DetectionFormat format = FormatNamed(arguments.format);
  if (options.picture.empty()) {
    const auto score = ds::DetectOnData(options);
    if (!score.ok()) return score.status();
    std::fputs(ds::ScoreText(*score, format).c_str(), stdout);
    return absl::OkStatus();
  }
  const auto detections = ds::DetectInPicture(options);
  if (!detections.ok()) return detections.status();
  std::fputs(ds::DetectionText(*detections, format).c_str(), stdout);
  return absl::OkStatus();
}

absl::Status Run(const Arguments& arguments) {
  if (arguments.task == "detect") return Detect(arguments);
  if (arguments.format == "csv")
    return absl::InvalidArgumentError("--format csv is for --task detect; give table or json");
  ds::TrainConfig config;
  if (!arguments.yaml.file.empty()) {
    auto read = ds::ReadTrainConfig(arguments.yaml.file,
                                    ds::OverridesFor(arguments.yaml, arguments.job.engine.model));
    if (!read.ok()) return read.status();
    config = *std::move(read);
  }
  if (!arguments.picture.empty()) return RunPicture(arguments, config);
  if (arguments.yaml.file.empty())
    return absl::InvalidArgumentError("give --data, a data set's YAML, or --image, a picture");
  const auto score = ds::RunOnData(config, arguments.job);
  if (!score.ok()) return score.status();
  Print(*score, arguments.format == "json");
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Runs a .dsm file: a classifier on a data set (accuracy) or a picture, a detector on a "
      "picture.");
  Arguments arguments;
  Declare(app, arguments);
  CLI11_PARSE(app, argc, argv);
  return ds::ExitCode("ds_run", Run(arguments));
}

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "jobs/run/detect_job.h"
#include "nlohmann/json.hpp"

namespace ds {
namespace {

std::string Json(const std::vector<Detection>& detections) {
  nlohmann::ordered_json array = nlohmann::ordered_json::array();
  for (const auto& [box, name] : detections) {
    array.push_back({{"class", box.label},
                     {"name", name},
                     {"score", box.score},
                     {"x0", box.x0},
                     {"y0", box.y0},
                     {"x1", box.x1},
                     {"y1", box.y1}});
  }
  // Names come from a file: what is no UTF-8 is replaced.
  return absl::StrCat(array.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace),
                      "\n");
}

std::string Csv(const std::vector<Detection>& detections) {
  std::string text = "class,name,score,x0,y0,x1,y1\n";
  for (const auto& [box, name] : detections) {
    absl::StrAppendFormat(&text, "%d,\"%s\",%.6g,%.7g,%.7g,%.7g,%.7g\n", box.label,
                          absl::StrReplaceAll(name, {{"\"", "\"\""}}), box.score, box.x0, box.y0,
                          box.x1, box.y1);
  }
  return text;
}

std::string Table(const std::vector<Detection>& detections) {
  std::string text = "score     x0      y0      x1      y1  class\n";
  for (const auto& [box, name] : detections) {
    absl::StrAppendFormat(&text, "%5.3f %7.1f %7.1f %7.1f %7.1f  %s\n", box.score, box.x0, box.y0,
                          box.x1, box.y1, name);
  }
  return text;
}

double MillisecondsAPicture(const DetectScore& score) {
  return score.pictures > 0 ? 1000 * score.seconds / static_cast<double>(score.pictures) : 0;
}

}  // namespace

std::string DetectionText(const std::vector<Detection>& detections, DetectionFormat format) {
  switch (format) {
    case DetectionFormat::kJson:
      return Json(detections);
    case DetectionFormat::kCsv:
      return Csv(detections);
    case DetectionFormat::kTable:
      break;
  }
  return Table(detections);
}

std::string ScoreText(const DetectScore& score, DetectionFormat format) {
  std::string text;
  if (format == DetectionFormat::kJson) {
    nlohmann::ordered_json labels = nlohmann::ordered_json::object();
    for (const auto& [label, precision] : score.of_labels) labels[absl::StrCat(label)] = precision;
    const nlohmann::ordered_json json = {{"pictures", score.pictures},
                                         {"true_boxes", score.true_boxes},
                                         {"map50", score.mean},
                                         {"ap50", labels},
                                         {"ms_a_picture", MillisecondsAPicture(score)}};
    return absl::StrCat(json.dump(), "\n");
  }
  if (format == DetectionFormat::kCsv) {
    text = "class,ap50\n";
    for (const auto& [label, precision] : score.of_labels)
      absl::StrAppendFormat(&text, "%d,%.6f\n", label, precision);
    return text;
  }
  absl::StrAppendFormat(&text,
                        "pictures      %d\ntrue boxes    %d\nmAP@0.5       %.2f %%\n"
                        "ms a picture  %.3f\n",
                        score.pictures, score.true_boxes, 100 * score.mean,
                        MillisecondsAPicture(score));
  for (const auto& [label, precision] : score.of_labels)
    absl::StrAppendFormat(&text, "class %-7d %.2f %%\n", label, 100 * precision);
  return text;
}

}  // namespace ds

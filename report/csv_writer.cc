#include "report/csv_writer.h"

#include <cmath>
#include <fstream>
#include <iterator>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/file/file.h"
#include "base/status.h"

namespace ds {
namespace {

std::string Precise(double value) {
  return std::isnan(value) ? "" : absl::StrFormat("%.9g", value);
}

std::string Rounded(double value) {
  return std::isnan(value) ? "" : absl::StrFormat("%.3f", value);
}

std::string Metrics(const std::vector<double>& values) {
  return absl::StrJoin(
      values, ",", [](std::string* out, double value) { absl::StrAppend(out, Precise(value)); });
}

// The part of an earlier file that a run resumed after `step` would have written.
absl::StatusOr<std::string> KeptRows(const std::string& path, const std::string& heading,
                                     int64_t step) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return heading;
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (text.empty()) return heading;
  if (text.compare(0, heading.size(), heading) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, ":1: the columns are not those of this version and loss.metrics; move ",
                     "the file away"));
  }
  std::string kept = heading;
  size_t begin = heading.size();
  for (size_t end = text.find('\n', begin); end != std::string::npos;
       end = text.find('\n', begin)) {
    const std::string row = text.substr(begin, end + 1 - begin);
    int64_t row_step = 0;
    if (absl::SimpleAtoi(row.substr(0, row.find(',')), &row_step) && row_step <= step) kept += row;
    begin = end + 1;
  }
  return kept;
}

}  // namespace

std::string MetricsHeading(const std::vector<std::string>& metrics) {
  return absl::StrCat(
      "step,epoch,split,loss,", absl::StrJoin(metrics, ","),
      ",learning_rate,images_per_second,loss_scale,skipped_steps,data_ms,forward_ms,backward_ms,"
      "exchange_ms,exchange_exposed_ms,optimiser_ms");
}

std::string FormatMetricsRow(const MetricsRow& row) {
  return absl::StrCat(absl::StrJoin({absl::StrCat(row.step), absl::StrCat(row.epoch), row.split,
                                     Precise(row.loss), Metrics(row.metrics),
                                     Precise(row.learning_rate), Rounded(row.images_per_second),
                                     Precise(row.loss_scale), absl::StrCat(row.skipped_steps)},
                                    ","),
                      ",",
                      absl::StrJoin({Rounded(row.data_ms), Rounded(row.forward_ms),
                                     Rounded(row.backward_ms), Rounded(row.exchange_ms),
                                     Rounded(row.exchange_exposed_ms), Rounded(row.optimiser_ms)},
                                    ","));
}

absl::StatusOr<std::unique_ptr<MetricsWriter>> MetricsWriter::Open(
    const std::string& path, int64_t resume_step, const std::vector<std::string>& metrics) {
  std::string text = MetricsHeading(metrics) + "\n";
  if (resume_step >= 0) {
    DS_ASSIGN_OR_RETURN(text, KeptRows(path, text, resume_step));
  }
  DS_RETURN_IF_ERROR(WriteFileAtomically(path, text));
  DS_ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file,
                      FileSystem::Default().Open(path, FileSystem::OpenMode::kAppend));
  return std::unique_ptr<MetricsWriter>(new MetricsWriter(std::move(file)));
}

absl::Status MetricsWriter::Write(const MetricsRow& row) {
  return file_->Append(FormatMetricsRow(row) + "\n");
}

}  // namespace ds

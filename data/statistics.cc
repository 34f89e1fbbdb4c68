// Mean and standard deviation from a histogram of bytes: the sums are exact integers, so the result
// depends neither on the order of the samples, nor on the number of threads, nor on the machine.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <exception>

#include "absl/strings/str_cat.h"
#include "base/cpu/available_cores.h"
#include "base/status.h"
#include "base/thread_pool.h"
#include "data/dataset_checks.h"
#include "data/loader.h"

namespace ds {
namespace {

using Histogram = std::array<uint64_t, 256>;
using Wide = unsigned __int128;  // 255^2 * count^2 fits for any count below 2^56

void Moments(const Histogram& histogram, float* mean, float* stddev) {
  uint64_t count = 0, sum = 0, squares = 0;
  for (uint64_t value = 0; value < histogram.size(); ++value) {
    count += histogram[value];
    sum += histogram[value] * value;
    squares += histogram[value] * value * value;
  }
  const Wide spread = Wide{count} * squares - Wide{sum} * sum;  // count^2 * variance
  *mean = static_cast<float>(static_cast<double>(sum) / (255.0 * count));
  *stddev = static_cast<float>(std::sqrt(static_cast<double>(spread)) / (255.0 * count));
}

// Counts the bytes of samples [begin, end), a histogram a channel.
absl::Status Count(const Dataset& dataset, int64_t begin, int64_t end,
                   std::vector<Histogram>& histograms) {
  const int64_t channels = dataset.info().channels,
                area = dataset.info().height * dataset.info().width;
  histograms.assign(channels, {});
  std::vector<uint8_t> pixels(channels * area);
  for (int64_t i = begin; i < end; ++i) {
    int64_t label;
    DS_RETURN_IF_ERROR(dataset.ReadImage(i, absl::MakeSpan(pixels), &label));
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t p = c * area; p < (c + 1) * area; ++p) ++histograms[c][pixels[p]];
    }
  }
  return absl::OkStatus();
}

// Of a table's columns, in the order of the rows: the same on every rank.
absl::Status ColumnMoments(const Dataset& dataset, std::vector<float>* mean,
                           std::vector<float>* stddev) {
  const DatasetInfo& info = dataset.info();
  std::vector<float> row(static_cast<size_t>(info.channels));
  const absl::Span<std::byte> bytes(reinterpret_cast<std::byte*>(row.data()),
                                    row.size() * sizeof(float));
  std::vector<std::byte> target(info.target.has_value() ? SampleBytes(*info.target) : 0);
  std::vector<double> means(row.size()), squares(row.size());
  for (int64_t i = 0; i < info.size; ++i) {
    DS_RETURN_IF_ERROR(dataset.ReadTensors(i, {bytes}, absl::MakeSpan(target)));
    for (size_t c = 0; c < row.size(); ++c) {  // Welford 1962
      const double off = row[c] - means[c];
      means[c] += off / static_cast<double>(i + 1);
      squares[c] += off * (row[c] - means[c]);
    }
  }
  mean->assign(means.begin(), means.end());
  stddev->clear();
  for (const double sum : squares)
    stddev->push_back(static_cast<float>(std::sqrt(sum / static_cast<double>(info.size))));
  return absl::OkStatus();
}

struct Part {
  std::vector<Histogram> histograms;
  absl::Status status;
};

}  // namespace

absl::Status MeanAndStddev(const Dataset& dataset, int64_t limit, std::vector<float>* mean,
                           std::vector<float>* stddev) {
  const DatasetInfo& info = dataset.info();
  if (!info.channel_names.empty()) return ColumnMoments(dataset, mean, stddev);
  if (info.kind != SampleKind::kImage) return WrongKind(info.kind, SampleKind::kImage);
  const int64_t samples = LimitedSize(info.size, limit);
  const int64_t area = info.height * info.width;
  if (samples == 0 || area == 0) {
    return absl::InvalidArgumentError(
        "mean and standard deviation of a data set without pixels; give them in the configuration");
  }
  // Decoding is what takes the time.
  std::vector<Part> parts(std::min<int64_t>(AvailableCores(), samples));
  {
    const int64_t count = static_cast<int64_t>(parts.size());
    ThreadPool pool(static_cast<int>(count));
    for (int64_t i = 0; i < count; ++i) {
      pool.Submit([&dataset, &part = parts[i], begin = samples * i / count,
                   end = samples * (i + 1) / count] {
        try {
          part.status = Count(dataset, begin, end, part.histograms);
        } catch (const std::exception& e) {  // no memory, or a user's data set that throws
          part.status =
              absl::ResourceExhaustedError(absl::StrCat("mean and standard deviation: ", e.what()));
        }
      });
    }
  }
  std::vector<Histogram> histograms(info.channels);
  for (const Part& part : parts) {
    DS_RETURN_IF_ERROR(part.status);  // of the first sample that failed
    for (int64_t c = 0; c < info.channels; ++c) {
      for (size_t value = 0; value < histograms[c].size(); ++value)
        histograms[c][value] += part.histograms[c][value];
    }
  }
  mean->resize(info.channels);
  stddev->resize(info.channels);
  for (int64_t c = 0; c < info.channels; ++c) {
    Moments(histograms[c], &(*mean)[c], &(*stddev)[c]);
  }
  return absl::OkStatus();
}

}  // namespace ds

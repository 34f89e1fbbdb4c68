#include "jobs/quantize/accuracy_size_plot.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "report/html.h"
#include "report/plot_axis.h"

namespace ds {
namespace {

// Pixels: of the whole, and around the field in which dots may lie.
constexpr double kWidth = 560, kHeight = 260, kLeft = 62, kRight = 140, kTop = 14, kBottom = 46;
constexpr double kFieldRight = kWidth - kRight, kFieldBottom = kHeight - kBottom;
constexpr int kTicks = 5;
constexpr char kDot[] = "#4477aa", kLine[] = "#888888", kGrid[] = "#e4e4e4";

// From `low` to `high` in the axis's unit.
struct Axis {
  double low = 0, high = 1;
  // Share of the way from one end to the other.
  double At(double value) const { return (value - low) / (high - low); }
};

// Per cent.
Axis AccuracyAxis(const std::vector<PlottedModel>& models) {
  const auto [least, most] = std::ranges::minmax(models, {}, &PlottedModel::accuracy);
  const double low = 100 * least.accuracy, high = 100 * most.accuracy;
  const double margin = 0.15 * std::max(1.0, high - low);
  Axis axis = {std::max(0.0, low - margin), std::min(100.0, high + margin)};
  axis.low = std::max(0.0, std::min(axis.low, axis.high - 1));
  axis.high = std::max(axis.high, axis.low + 1);
  return axis;
}

struct SizeUnit {
  const char* name;
  double bytes;
};

SizeUnit UnitFor(int64_t bytes) {
  if (bytes >= 1000000) return {"MB", 1e6};
  if (bytes >= 10000) return {"kB", 1e3};
  return {"bytes", 1};
}

double X(const Axis& axis, double value) { return kLeft + (kFieldRight - kLeft) * axis.At(value); }
double Y(const Axis& axis, double value) {
  return kFieldBottom - (kFieldBottom - kTop) * axis.At(value);
}

std::string Line(double x1, double y1, double x2, double y2, const char* colour) {
  return absl::StrFormat(R"(<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s"/>)", x1, y1,
                         x2, y2, colour);
}

// `anchor`: start | middle | end, where the text is at (x, y).
std::string Text(double x, double y, const char* anchor, const std::string& text) {
  return absl::StrFormat(R"(<text x="%.1f" y="%.1f" font-size="11" text-anchor="%s">%s</text>)", x,
                         y, anchor, EscapeHtml(text));
}

std::string SizeScale(const Axis& axis, const SizeUnit& unit) {
  std::string svg;
  const AxisTicks ticks(axis.low, axis.high, kTicks);
  for (size_t i = 0; i < ticks.values.size(); ++i) {
    const double x = X(axis, ticks.values[i]);
    absl::StrAppend(&svg, Line(x, kTop, x, kFieldBottom, kGrid),
                    Line(x, kFieldBottom, x, kFieldBottom + 4, kLine),
                    Text(x, kFieldBottom + 17, "middle", ticks.labels[i]));
  }
  return svg +
         Text((kLeft + kFieldRight) / 2, kHeight - 8, "middle", absl::StrCat("size, ", unit.name));
}

std::string AccuracyScale(const Axis& axis) {
  std::string svg;
  const AxisTicks ticks(axis.low, axis.high, kTicks);
  for (size_t i = 0; i < ticks.values.size(); ++i) {
    const double y = Y(axis, ticks.values[i]);
    absl::StrAppend(&svg, Line(kLeft, y, kFieldRight, y, kGrid),
                    Line(kLeft - 4, y, kLeft, y, kLine),
                    Text(kLeft - 7, y + 4, "end", ticks.labels[i]));
  }
  const double middle = (kTop + kFieldBottom) / 2;
  return svg + absl::StrFormat(R"svg(<g transform="rotate(-90 14 %.1f)">%s</g>)svg", middle,
                               Text(14, middle, "middle", "accuracy, %"));
}

}  // namespace

std::string AccuracySizePlot(const std::vector<PlottedModel>& models) {
  const int64_t most =
      std::max<int64_t>(1, std::ranges::max(models, {}, &PlottedModel::bytes).bytes);
  const SizeUnit unit = UnitFor(most);
  const Axis sizes = {0, static_cast<double>(most) / unit.bytes}, accuracies = AccuracyAxis(models);
  std::string svg = absl::StrFormat(
      R"(<svg width="%.0f" height="%.0f" role="img"><title>accuracy and size</title>)", kWidth,
      kHeight);
  absl::StrAppend(&svg, SizeScale(sizes, unit), AccuracyScale(accuracies),
                  Line(kLeft, kTop, kLeft, kFieldBottom, kLine),
                  Line(kLeft, kFieldBottom, kFieldRight, kFieldBottom, kLine));
  for (const PlottedModel& model : models) {
    const double x = X(sizes, static_cast<double>(model.bytes) / unit.bytes),
                 y = Y(accuracies, 100 * model.accuracy);
    absl::StrAppendFormat(&svg, R"(<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>)", x, y, kDot);
    absl::StrAppend(&svg, Text(x + 8, y + 4, "start",
                               absl::StrFormat("%s, %.2f %%", model.name, 100 * model.accuracy)));
  }
  return svg + "</svg>";
}

}  // namespace ds

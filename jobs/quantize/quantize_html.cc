#include "jobs/quantize/quantize_html.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "jobs/quantize/accuracy_size_plot.h"
#include "report/html.h"
#include "report/summary.h"
#include "trainer/optim/metric_names.h"

namespace ds {
namespace {

constexpr char kStyle[] =
    "body{font:14px sans-serif;margin:2em auto;max-width:72em;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0}th,td{padding:.2em .7em;border-bottom:1px solid "
    "#ddd;text-align:right}"
    "th:first-child,td:first-child{text-align:left}li{margin:.2em 0}svg{vertical-align:middle}";
constexpr char kBarColour[] = "#4477aa", kClippedColour[] = "#cc4455", kLineColour[] = "#888888";

std::string Row(const char* cell, const std::vector<std::string>& texts) {
  std::string row = "<tr>";
  for (const std::string& text : texts)
    absl::StrAppend(&row, "<", cell, ">", text, "</", cell, ">");
  return row + "</tr>\n";
}

// Counts in `columns` equal parts of [low, high]; a bin goes where its middle is.
std::vector<double> Columns(const Histogram& histogram, double low, double high, int columns) {
  std::vector<double> counts(static_cast<size_t>(columns), 0.0);
  const auto add = [&](double at, int64_t count) {
    if (count == 0) return;
    const double column = (at - low) / (high - low) * columns;
    counts[static_cast<size_t>(std::clamp(column, 0.0, columns - 1.0))] +=
        static_cast<double>(count);
  };
  add(0, histogram.zeros());
  for (int i = 0; i < Histogram::kBins; ++i) {
    const double middle = (i + 0.5) * histogram.bin_width();
    add(middle, histogram.positive()[i]);
    add(-middle, histogram.negative()[i]);
  }
  return counts;
}

// Bars on a logarithmic scale; outside the range that codes span they are red.
std::string HistogramSvg(const Histogram& histogram, const ActivationReport& activation) {
  constexpr int kColumns = 96, kBar = 3, kHeight = 40;
  const double low = std::min({0.0f, histogram.min(), activation.low}),
               high = std::max({0.0f, histogram.max(), activation.high});
  std::string svg = absl::StrFormat(
      "<svg width=\"%d\" height=\"%d\" role=\"img\"><title>%s</title>", kColumns * kBar, kHeight,
      EscapeHtml(absl::StrFormat("%s: %g to %g, codes span %g to %g", activation.value, low, high,
                                 activation.low, activation.high)));
  if (high > low) {
    const std::vector<double> counts = Columns(histogram, low, high, kColumns);
    const double most = std::log1p(*std::max_element(counts.begin(), counts.end()));
    for (int i = 0; i < kColumns && most > 0; ++i) {
      const double height = kHeight * std::log1p(counts[static_cast<size_t>(i)]) / most;
      if (height == 0) continue;
      const double middle = low + (i + 0.5) / kColumns * (high - low);
      const bool clipped = middle < activation.low || middle > activation.high;
      absl::StrAppendFormat(
          &svg, "<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%.1f\" fill=\"%s\"/>", i * kBar,
          kHeight - height, kBar - 1, height, clipped ? kClippedColour : kBarColour);
    }
    for (const double end : {activation.low, activation.high}) {
      const double x = (end - low) / (high - low) * kColumns * kBar;
      absl::StrAppendFormat(
          &svg, "<line class=\"range\" x1=\"%.1f\" y1=\"0\" x2=\"%.1f\" y2=\"%d\" stroke=\"%s\"/>",
          x, x, kHeight, kLineColour);
    }
  }
  return svg + "</svg>";
}

std::string Totals(const QuantizeSummary& summary) {
  std::vector<std::string> heading = {"model"};
  for (const MetricValue& metric : summary.float_metrics) {
    heading.push_back(metric.name);
    heading.push_back("difference");
  }
  heading.push_back("bytes");
  heading.push_back("of fp32");
  std::string table = "<table class=\"totals\">\n" + Row("th", heading);
  const auto row = [&](const std::string& name, const std::vector<MetricValue>& metrics,
                       int64_t bytes) {
    std::vector<std::string> cells = {EscapeHtml(name)};
    for (size_t i = 0; i < metrics.size(); ++i) {
      const MetricValue& metric = metrics[i];
      const double difference = metric.value - summary.float_metrics[i].value;
      cells.push_back(MetricText(metric.name, metric.value));
      cells.push_back(
          absl::StrCat(difference >= 0 ? "+" : "", MetricText(metric.name, difference)));
    }
    cells.push_back(absl::StrCat(bytes));
    cells.push_back(absl::StrFormat(
        "%.1f %%", 100.0 * static_cast<double>(bytes) /
                       static_cast<double>(std::max<int64_t>(1, summary.float_bytes))));
    absl::StrAppend(&table, Row("td", cells));
  };
  row("fp32", summary.float_metrics, summary.float_bytes);
  row(WidthsName(summary), summary.quantized_metrics, summary.quantized_bytes);
  return table + "</table>\n";
}

std::string Outputs(const QuantizeSummary& summary) {
  std::string table =
      "<table class=\"outputs\">\n" + Row("th", {"output", "SNR, dB", "same highest"});
  for (const OutputAgreement& output : summary.outputs) {
    const auto cell = [](double value, const std::string& text) {
      return std::isnan(value) ? std::string("-") : text;
    };
    absl::StrAppend(
        &table,
        Row("td",
            {EscapeHtml(output.output), cell(output.snr_db, absl::StrFormat("%.1f", output.snr_db)),
             cell(output.same_share, absl::StrFormat("%.2f %%", 100 * output.same_share))}));
  }
  return table + "</table>\n";
}

// Accuracy against size, where labels gave shares.
std::string Plot(const QuantizeSummary& summary) {
  if (summary.float_metrics.empty() || !HigherIsBetter(summary.metric)) return "";
  return AccuracySizePlot(
      {{"fp32", summary.float_accuracy, summary.float_bytes},
       {WidthsName(summary), summary.quantized_accuracy, summary.quantized_bytes}});
}

std::string Layers(const QuantizeSummary& summary) {
  std::string table =
      "<table class=\"layers\">\n" + Row("th", {"layer", "op", "weights", "bits", "bytes", "scales",
                                                "SNR, dB", "Gaussian bound, dB"});
  for (const LayerReport& layer : summary.layers) {
    absl::StrAppend(
        &table,
        Row("td", {EscapeHtml(layer.node), EscapeHtml(layer.op), absl::StrCat(layer.weights),
                   absl::StrCat(layer.weight_bits), absl::StrCat(layer.bytes),
                   absl::StrFormat("%.3g to %.3g", layer.least_scale, layer.greatest_scale),
                   absl::StrFormat("%.1f", layer.weight_snr_db),
                   absl::StrFormat("%.1f", layer.gaussian_snr_db)}));
  }
  return table + "</table>\n";
}

std::string Activations(const QuantizeSummary& summary) {
  std::string table = "<table class=\"activations\">\n" +
                      Row("th", {"activation", "bits", "method", "scale", "zero point", "range",
                                 "clipped", "SNR, dB", "values in calibration"});
  for (const ActivationReport& activation : summary.activations) {
    const auto histogram = summary.histograms.find(activation.value);
    absl::StrAppend(
        &table, Row("td", {EscapeHtml(activation.value), absl::StrCat(activation.bits),
                           EscapeHtml(activation.method), absl::StrFormat("%.4g", activation.scale),
                           absl::StrCat(activation.zero_point),
                           absl::StrFormat("%.4g to %.4g", activation.low, activation.high),
                           absl::StrFormat("%.3f %%", 100 * activation.clipped_share),
                           absl::StrFormat("%.1f", activation.snr_db),
                           histogram == summary.histograms.end()
                               ? std::string()
                               : HistogramSvg(histogram->second, activation)}));
  }
  return table + "</table>\n";
}

}  // namespace

std::string QuantizeSummaryHtml(const QuantizeSummary& summary) {
  std::string warnings;
  for (const std::string& warning : summary.warnings)
    absl::StrAppend(&warnings, "<li>", EscapeHtml(warning), "</li>\n");
  if (!warnings.empty()) warnings = absl::StrCat("<h2>Warnings</h2>\n<ul>\n", warnings, "</ul>\n");
  return absl::StrCat(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><title>",
      EscapeHtml(summary.output), "</title><style>", kStyle, "</style></head><body>\n<h1>",
      EscapeHtml(summary.output), "</h1>\n<p>From ", EscapeHtml(summary.model), "</p>\n", "<p>",
      EscapeHtml(summary.samples), "</p>\n", Totals(summary), Plot(summary), "\n", Outputs(summary),
      warnings, "<h2>Layers</h2>\n", Layers(summary), "<h2>Activations</h2>\n",
      "<p>Counts on a logarithmic scale; red: beyond the range that the codes span.</p>\n",
      Activations(summary), "</body></html>\n");
}

}  // namespace ds

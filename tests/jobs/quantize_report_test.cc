#include <string>

#include "gtest/gtest.h"
#include "jobs/quantize/accuracy_size_plot.h"
#include "jobs/quantize/quantize_html.h"
#include "jobs/quantize/quantize_job.h"
#include "nlohmann/json.hpp"

namespace ds {
namespace {

QuantizeSummary Summary() {
  QuantizeSummary summary;
  summary.model = "in & out.onnx";
  summary.output = "a\"b.onnx";
  summary.bits = 4;
  summary.float_accuracy = 0.9117;
  summary.quantized_accuracy = 0.9042;
  summary.float_metrics = {{"accuracy", 0.9117}};
  summary.quantized_metrics = {{"accuracy", 0.9042}};
  summary.outputs = {{"y<", 31.25, 0.985}, {"z", OutputAgreement::kNone, OutputAgreement::kNone}};
  summary.samples = "10 samples & more";
  summary.float_bytes = 1000000;
  summary.quantized_bytes = 130000;
  summary.layers = {
      {"<script>alert(1)</script>", "Conv", "w", 4, 300, 19.3, 20.2, 158, 0.125f, 0.5f},
      {"fc", "Gemm", "v", 8, 100, 44, 40.6, 108, 0.01f, 0.02f}};
  ActivationReport activation;
  activation.value = "x<'&\">\x01";
  activation.low = -1;
  activation.high = 2;
  activation.scale = 0.0117f;
  activation.zero_point = 85;
  activation.clipped_share = 0.25;
  summary.activations = {activation};
  Histogram histogram;
  histogram.Add({-1.0f, 0.0f, 1.0f, 4.0f});  // 4 is beyond the range
  summary.histograms[activation.value] = histogram;
  summary.drift = {{activation.value, {.stability_index = 0.5, .outside_share = 0.125}}};
  summary.warnings = {"value \"x<\" has drifted"};
  return summary;
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(QuantizeReport, NamesCannotBecomeMarkup) {
  const std::string html = QuantizeSummaryHtml(Summary());
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_NE(html.find("&lt;script&gt;alert(1)&lt;/script&gt;"), std::string::npos);
  EXPECT_EQ(html.find("x<'"), std::string::npos);
  EXPECT_EQ(html.find('\x01'), std::string::npos);
  EXPECT_GE(Count(html, "x&lt;&#39;&amp;&quot;&gt;"), 2)
      << "in the table and in the histogram's title";
  EXPECT_NE(html.find("a&quot;b.onnx"), std::string::npos);
}

TEST(QuantizeReport, ThePageLoadsNothing) {
  const std::string html = QuantizeSummaryHtml(Summary());
  for (const char* word : {"src=", "href=", "url(", "@import", "http"})
    EXPECT_EQ(html.find(word), std::string::npos) << word;
}

TEST(QuantizeReport, ThePageShowsWhatWasMeasured) {
  const std::string html = QuantizeSummaryHtml(Summary());
  for (const char* text :
       {"91.17%", "90.42%", "-0.75%", "31.2", "98.50 %", "10 samples &amp; more", "13.0 %", "W4A8",
        "19.3", "20.2", "0.125 to 0.5", "158", "0.0117", ">85<", "25.000 %", "has drifted"}) {
    EXPECT_NE(html.find(text), std::string::npos) << text;
  }
  // The range's two ends, and four values in four columns, of which one is beyond it.
  EXPECT_EQ(Count(html, "class=\"range\""), 2);
  EXPECT_EQ(Count(html, "<rect "), 4);
  EXPECT_EQ(Count(html, "#cc4455"), 1);
  EXPECT_EQ(Count(html, "<circle "), 2) << "fp32 and this model";
}

TEST(QuantizeReport, ThePlotsAxesHaveNumbersAndUnits) {
  const std::string plot = AccuracySizePlot({{"fp32", 0.9117, 1000000}, {"W4A8", 0.9042, 130000}});
  for (const char* text : {">accuracy, %<", ">90.4<", ">90.6<", ">91.2<", ">size, MB<", ">0.0<",
                           ">0.4<", ">1.0<", ">fp32, 91.17 %<", ">W4A8, 90.42 %<"}) {
    EXPECT_NE(plot.find(text), std::string::npos) << text;
  }
  EXPECT_EQ(Count(plot, "<circle "), 2);
  // Accuracies that are equal get an axis of a point all the same, and none goes beyond 100 %.
  const std::string equal = AccuracySizePlot({{"a", 1.0, 900}, {"b", 1.0, 300}});
  for (const char* text : {">99.0<", ">100.0<", ">size, bytes<", ">800<"})
    EXPECT_NE(equal.find(text), std::string::npos) << text;
  EXPECT_EQ(equal.find(">100.2<"), std::string::npos);
}

TEST(QuantizeReport, NamesThatAreNotUtf8AreWrittenAllTheSame) {
  QuantizeSummary summary = Summary();
  summary.layers[0].node = "conv\xFF";
  const auto json = nlohmann::json::parse(QuantizeSummaryJson(summary));
  EXPECT_EQ(json["layers"][0]["node"], "conv\xEF\xBF\xBD");
}

TEST(QuantizeReport, JsonHasDifferenceDriftAndMixedBits) {
  QuantizeSummary summary = Summary();
  summary.activations[0].value = "x";
  summary.drift[0].value = "x";
  auto json = nlohmann::json::parse(QuantizeSummaryJson(summary));
  EXPECT_NEAR(json["drop_points"].get<double>(), 0.75, 1e-9);
  EXPECT_EQ(json["bits"], 4);
  EXPECT_TRUE(json["mixed_bits"].is_null());
  EXPECT_EQ(json["layers"][0]["bytes"], 158);
  EXPECT_EQ(json["activations"][0]["zero_point"], 85);
  EXPECT_EQ(json["drift"][0]["stability_index"], 0.5);
  summary.mixed_bits.bits = {{"w", 4}, {"v", 8}};
  summary.mixed_bits.layers = {{"w", {{4, 158, 0.25}}}};
  summary.mixed_bits.trials = {{300, 0.5}};
  json = nlohmann::json::parse(QuantizeSummaryJson(summary));
  EXPECT_EQ(json["bits"], "auto");
  EXPECT_EQ(json["widths"], "W5.00A8");  // (300 * 4 + 100 * 8) / 400
  EXPECT_EQ(json["mixed_bits"]["sensitivity"][0]["widths"][0]["error"], 0.25);
  EXPECT_EQ(json["mixed_bits"]["trials"][0]["drop_points"], 0.5);
  EXPECT_EQ(json["mixed_bits"]["trials"][0]["learnt"], false);
}

TEST(QuantizeReport, MixedActivationsAndLearntRoundingsAreNamed) {
  QuantizeSummary summary = Summary();
  ActivationReport& activation = summary.activations[0];
  activation.value = "x";
  activation.bits = 4;
  activation.elements = 300;
  summary.drift[0].value = "x";
  summary.activations.push_back(activation);
  summary.activations[1].value = "z";
  summary.activations[1].bits = 8;
  summary.activations[1].elements = 100;
  summary.mixed_bits.bits = {{"x", 4}, {"z", 8}};
  summary.mixed_bits.layers = {{.weight = "x", .widths = {{4, 154, 0.5}}, .activation = true}};
  EXPECT_EQ(QuantizeSummaryTable(summary).find("roundings learnt"), std::string::npos);
  summary.units = {{"first", "last", 200, 10, 0.5, 0.25}};
  const auto json = nlohmann::json::parse(QuantizeSummaryJson(summary));
  EXPECT_EQ(json["widths"], "W4A5.00");  // (300 * 4 + 100 * 8) / 400
  EXPECT_EQ(json["bits"], 4);
  EXPECT_EQ(json["activation_bits"], "auto");
  EXPECT_EQ(json["mixed_bits"]["sensitivity"][0]["activation"], "x");
  EXPECT_EQ(json["units"][0]["flipped"], 10);
  EXPECT_NE(QuantizeSummaryTable(summary).find("roundings learnt: 1 units, 5.0 %"),
            std::string::npos);
}

}  // namespace
}  // namespace ds

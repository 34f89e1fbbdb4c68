#include <array>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "deploy/engine/measure/measure.h"

namespace ds::engine {
namespace {

std::string Number(double value, const char* format = "%.3f") {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      std::array<char, 8> code;
      std::snprintf(code.data(), code.size(), "\\u%04x", c);
      out += code.data();
    } else {
      out += c;
    }
  }
  return out + '"';
}

using Field = std::pair<const char*, std::string>;

// Every figure, by the name that all formats give it.
std::vector<Field> Fields(const Measurement& m) {
  return {{"load_ms", Number(m.load_ms)},
          {"first_ms", Number(m.first_ms)},
          {"median_ms", Number(m.median_ms)},
          {"p99_ms", Number(m.p99_ms)},
          {"least_ms", Number(m.least_ms)},
          {"rss_mib", Number(m.rss_mib, "%.1f")},
          {"file_bytes", std::to_string(m.file_bytes)},
          {"arena_bytes", std::to_string(m.arena_bytes)},
          {"arena_bound_bytes", std::to_string(m.arena_bound_bytes)},
          {"unplanned_bytes", std::to_string(m.unplanned_bytes)},
          {"macs", std::to_string(m.macs)},
          {"threads", std::to_string(m.threads)}};
}

double Gmacs(uint64_t macs, double microseconds) {
  return microseconds > 0 ? static_cast<double>(macs) / microseconds / 1000 : 0;
}

std::string Json(const Measurement& m) {
  std::string out = "{\"model\": " + Quoted(m.model) + ", \"isa\": " + Quoted(m.isa);
  for (const auto& [name, value] : Fields(m)) out += ", \"" + std::string(name) + "\": " + value;
  if (!m.operators.empty()) {
    out += ", \"operators\": [";
    for (size_t i = 0; i < m.operators.size(); ++i) {
      const OperatorTime& op = m.operators[i];
      out += (i == 0 ? "" : ", ") + ("{\"name\": " + Quoted(op.name)) +
             ", \"kind\": " + Quoted(op.kind) + ", \"median_us\": " + Number(op.median_us) +
             ", \"macs\": " + std::to_string(op.macs) + ", \"story\": " + Quoted(op.story) + "}";
    }
    out += "]";
  }
  return out + "}\n";
}

std::string Csv(const Measurement& m) {
  std::string names = "model,isa", values = m.model + "," + m.isa;
  for (const auto& [name, value] : Fields(m)) {
    names += "," + std::string(name);
    values += "," + value;
  }
  return names + "\n" + values + "\n";
}

std::string Row(const std::string& name, const std::string& value) {
  return name + std::string(name.size() < 20 ? 20 - name.size() : 1, ' ') + value + "\n";
}

std::string Table(const Measurement& m) {
  std::string out = Row("model", m.model) + Row("isa", m.isa);
  for (const auto& [name, value] : Fields(m)) out += Row(name, value);
  if (m.operators.empty()) return out;
  double total = 0;
  for (const OperatorTime& op : m.operators) total += op.median_us;
  out += "\n      us   share  GMAC/s  kind            operator\n";
  for (const OperatorTime& op : m.operators) {
    std::array<char, 64> line;
    std::snprintf(line.data(), line.size(), "%8.1f  %5.1f%%  %6.1f  %-14s  ", op.median_us,
                  100 * op.median_us / total, Gmacs(op.macs, op.median_us), op.kind.c_str());
    out += line.data() + op.name + (op.story.empty() ? "" : "  (" + op.story + ")") + "\n";
  }
  return out;
}

}  // namespace

std::string Print(const Measurement& measurement, MeasureFormat format) {
  switch (format) {
    case MeasureFormat::kJson:
      return Json(measurement);
    case MeasureFormat::kCsv:
      return Csv(measurement);
    case MeasureFormat::kTable:
      break;
  }
  return Table(measurement);
}

}  // namespace ds::engine

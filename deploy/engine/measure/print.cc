#include "deploy/engine/measure/print.h"

#include <array>
#include <cstdio>
#include <utility>

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

// As RFC 4180 has it.
std::string CsvText(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? std::string("\"\"") : std::string(1, c);
  return out + '"';
}

// A figure by the name that all formats give it; text as it is.
struct Field {
  const char* name;
  std::string value;
  bool text = false;
};
using Record = std::vector<Field>;

Record FiguresOf(const Measurement& m) {
  return {{"model", m.model, true},
          {"isa", m.isa, true},
          {"load_ms", Number(m.load_ms)},
          {"first_ms", Number(m.first_ms)},
          {"median_ms", Number(m.median_ms)},
          {"p99_ms", Number(m.p99_ms)},
          {"least_ms", Number(m.least_ms)},
          {"rss_mib", Number(m.rss_mib, "%.1f")},
          {"second_private_mib", Number(m.second_private_mib, "%.2f")},
          {"second_pss_mib", Number(m.second_pss_mib, "%.2f")},
          {"file_bytes", std::to_string(m.file_bytes)},
          {"arena_bytes", std::to_string(m.arena_bytes)},
          {"arena_bound_bytes", std::to_string(m.arena_bound_bytes)},
          {"unplanned_bytes", std::to_string(m.unplanned_bytes)},
          {"buffer_bytes", std::to_string(m.buffer_bytes)},
          {"macs", std::to_string(m.macs)},
          {"peak_int8_gmacs", Number(m.peak_int8, "%.1f")},
          {"peak_fp32_gmacs", Number(m.peak_fp32, "%.1f")},
          {"threads", std::to_string(m.threads)}};
}

double Gmacs(const OperatorTime& op) {
  return op.median_us > 0 ? static_cast<double>(op.macs) / op.median_us / 1000 : 0;
}

Record FiguresOf(const OperatorTime& op) {
  return {{"name", op.name, true},
          {"kind", op.kind, true},
          {"median_us", Number(op.median_us)},
          {"macs", std::to_string(op.macs)},
          {"gmacs", Number(Gmacs(op), "%.1f")},
          {"peak_share", Number(op.peak_share)},
          {"story", op.story, true}};
}

Record FiguresOf(const RuntimeFigures& runtime) {
  return {{"runtime", runtime.name, true},      {"median_ms", Number(runtime.median_ms)},
          {"p99_ms", Number(runtime.p99_ms)},   {"first_ms", Number(runtime.first_ms)},
          {"load_ms", Number(runtime.load_ms)}, {"rss_mib", Number(runtime.rss_mib, "%.1f")},
          {"ratio", Number(runtime.ratio)}};
}

// Without its braces.
std::string JsonOf(const Record& record) {
  std::string out;
  for (const Field& field : record) {
    out += (out.empty() ? "" : ", ") + Quoted(field.name) + ": " +
           (field.text ? Quoted(field.value) : field.value);
  }
  return out;
}

template <typename Row>
std::string JsonArray(const char* name, const std::vector<Row>& rows) {
  std::string out;
  for (const Row& row : rows) out += (out.empty() ? "{" : ", {") + JsonOf(FiguresOf(row)) + "}";
  return rows.empty() ? "" : ", \"" + std::string(name) + "\": [" + out + "]";
}

std::string Json(const Measurement& m, const std::vector<RuntimeFigures>& runtimes) {
  return "{" + JsonOf(FiguresOf(m)) + JsonArray("operators", m.operators) +
         JsonArray("runtimes", runtimes) + "}\n";
}

template <typename Row>
std::string CsvBlock(const std::vector<Row>& rows) {
  std::string names, values;
  for (const Row& row : rows) {
    names.clear();
    std::string line;
    for (const Field& field : FiguresOf(row)) {
      names += (names.empty() ? "" : ",") + std::string(field.name);
      line += (line.empty() ? "" : ",") + CsvText(field.value);
    }
    values += line + "\n";
  }
  return names + "\n" + values;
}

std::string Csv(const Measurement& m, const std::vector<RuntimeFigures>& runtimes) {
  std::string out = CsvBlock(std::vector<Measurement>{m});
  if (!m.operators.empty()) out += "\n" + CsvBlock(m.operators);
  if (!runtimes.empty()) out += "\n" + CsvBlock(runtimes);
  return out;
}

std::string OperatorTable(const std::vector<OperatorTime>& operators) {
  double total = 0;
  for (const OperatorTime& op : operators) total += op.median_us;
  std::string out = "\n      us   share  GMAC/s  of peak  kind            operator\n";
  for (const OperatorTime& op : operators) {
    std::array<char, 96> line;
    std::snprintf(line.data(), line.size(), "%8.1f  %5.1f%%  %6.1f  %6.1f%%  %-14s  ", op.median_us,
                  100 * op.median_us / total, Gmacs(op), 100 * op.peak_share, op.kind.c_str());
    out += line.data() + op.name + (op.story.empty() ? "" : "  (" + op.story + ")") + "\n";
  }
  return out;
}

std::string RuntimeTable(const std::vector<RuntimeFigures>& runtimes) {
  std::string out = "\nruntime       median_ms    p99_ms  first_ms   load_ms  rss_mib  ratio\n";
  for (const RuntimeFigures& r : runtimes) {
    std::array<char, 128> line;
    std::snprintf(line.data(), line.size(), "%-12s %10.3f %9.3f %9.3f %9.3f %8.1f %6.2f\n",
                  r.name.c_str(), r.median_ms, r.p99_ms, r.first_ms, r.load_ms, r.rss_mib, r.ratio);
    out += line.data();
  }
  return out;
}

std::string Table(const Measurement& m, const std::vector<RuntimeFigures>& runtimes) {
  constexpr size_t kNames = 20;
  std::string out;
  for (const Field& field : FiguresOf(m)) {
    const std::string name = field.name;
    out += name + std::string(name.size() < kNames ? kNames - name.size() : 1, ' ') + field.value +
           "\n";
  }
  if (!m.operators.empty()) out += OperatorTable(m.operators);
  if (!runtimes.empty()) out += RuntimeTable(runtimes);
  return out;
}

}  // namespace

std::string Print(const Measurement& measurement, const std::vector<RuntimeFigures>& runtimes,
                  MeasureFormat format) {
  switch (format) {
    case MeasureFormat::kJson:
      return Json(measurement, runtimes);
    case MeasureFormat::kCsv:
      return Csv(measurement, runtimes);
    case MeasureFormat::kTable:
      break;
  }
  return Table(measurement, runtimes);
}

}  // namespace ds::engine

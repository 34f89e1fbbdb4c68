#include "deploy/engine/measure/measure.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <random>

#include "deploy/engine/measure/memory.h"
#include "deploy/engine/measure/peak.h"
#include "deploy/engine/measure/second_process.h"
#include "deploy/engine/runtime/parameters.h"
#include "deploy/engine/runtime/steps/step.h"

namespace ds::engine {
namespace {

using Clock = std::chrono::steady_clock;

double Milliseconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

template <typename T, typename Next>
void Fill(const Port& port, Next next) {
  auto* values = static_cast<T*>(port.data);
  for (int64_t i = 0; i < port.bytes / static_cast<int64_t>(sizeof(T)); ++i)
    values[i] = static_cast<T>(next());
}

void FillInputs(const Session& session, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const auto number = [&](uint32_t most) { return random() % most; };
  for (int i = 0; i < session.input_count(); ++i) {
    const Port& port = session.input(i);
    switch (port.type) {
      case file::Type::kFloat32:
        Fill<float>(port, [&] { return normal(random); });
        break;
      case file::Type::kUint8:
      case file::Type::kInt8:
        Fill<uint8_t>(port, [&] { return number(256); });
        break;
      case file::Type::kBool:
        Fill<uint8_t>(port, [&] { return number(2); });
        break;
      case file::Type::kInt32:
        Fill<int32_t>(port, [&] { return number(100); });
        break;
      case file::Type::kInt64:
        Fill<int64_t>(port, [&] { return number(100); });
        break;
    }
  }
}

// What the operator's multiply-accumulates are of, if it has any.
double PeakOf(file::OperatorKind kind, const Peak& peak) {
  switch (kind) {
    case file::OperatorKind::kConv8:
    case file::OperatorKind::kConv4:
    case file::OperatorKind::kDepthwise8:
    case file::OperatorKind::kDense8:
    case file::OperatorKind::kDense4:
    case file::OperatorKind::kMatMul8:
    case file::OperatorKind::kConvChain8:
    case file::OperatorKind::kSqueezeExcite8:
      return peak.int8;
    default:
      return peak.fp32;
  }
}

// Of sorted values.
double Quantile(const std::vector<double>& sorted, double q) {
  const auto at = static_cast<size_t>(q * static_cast<double>(sorted.size() - 1) + 0.5);
  return sorted[at];
}

void AddOperators(const FileView& view, int threads, const std::vector<std::vector<double>>& sorted,
                  Measurement& out) {
  const Peak all = {out.peak_int8 * threads, out.peak_fp32 * threads};
  for (size_t op = 0; op < sorted.size(); ++op) {
    const file::Operator& record = view.operators[op];
    OperatorTime& row = out.operators.emplace_back();
    row.name = view.Name(record);
    row.kind = KindName(record.kind);
    row.story = view.Story(record);
    row.median_us = Quantile(sorted[op], 0.5);
    row.macs = record.macs;
    const double peak = PeakOf(static_cast<file::OperatorKind>(record.kind), all);
    if (row.median_us > 0 && peak > 0)
      row.peak_share = static_cast<double>(row.macs) / (1000 * row.median_us) / peak;
  }
}

void Time(Session& session, const MeasureOptions& options, Measurement& out) {
  for (int i = 1; i < options.warm_up; ++i) session.Run();
  std::vector<double> times;
  times.reserve(static_cast<size_t>(options.runs));
  std::vector<std::vector<double>> each(session.profile().size());
  std::vector<int64_t> before(session.profile().begin(), session.profile().end());
  for (int i = 0; i < options.runs; ++i) {
    const auto begin = Clock::now();
    session.Run();
    times.push_back(Milliseconds(begin, Clock::now()));
    for (size_t op = 0; op < each.size(); ++op) {
      each[op].push_back(static_cast<double>(session.profile()[op] - before[op]) / 1000);
      before[op] = session.profile()[op];
    }
  }
  std::sort(times.begin(), times.end());
  out.median_ms = Quantile(times, 0.5);
  out.p99_ms = Quantile(times, 0.99);
  out.least_ms = times.front();
  for (std::vector<double>& one : each) std::sort(one.begin(), one.end());
  if (options.session.profile) {
    const Peak peak = MeasurePeak(session.model().kernels().isa);
    out.peak_int8 = peak.int8;
    out.peak_fp32 = peak.fp32;
  }
  AddOperators(session.model().view(session.shape()), session.threads(), each, out);
}

}  // namespace

Status Measure(const MeasureOptions& options, Measurement& out) {
  if (options.runs < 1) return Status::Error("at least one timed run is needed (--runs)");
  out.model = options.model;
  out.threads = options.session.threads;
  SecondProcess second;
  if (options.second_process)
    DS_ENGINE_RETURN_IF_ERROR(second.Start(options.model, options.open, options.session));
  const double resident = ReadProcessMemory().resident_mib;
  const auto begin = Clock::now();
  std::shared_ptr<const Model> model;
  DS_ENGINE_RETURN_IF_ERROR(Model::Open(options.model, options.open, model));
  std::unique_ptr<Session> session;
  DS_ENGINE_RETURN_IF_ERROR(Session::Create(model, options.session, session));
  if (!options.shape.empty()) {
    DS_ENGINE_RETURN_IF_ERROR(session->SetShape(options.shape));
  } else if (options.batch > 0) {
    DS_ENGINE_RETURN_IF_ERROR(session->SetBatch(options.batch));
  }
  const auto ready = Clock::now();
  out.load_ms = Milliseconds(begin, ready);
  FillInputs(*session, options.seed);
  const auto filled = Clock::now();
  session->Run();
  out.first_ms = Milliseconds(filled, Clock::now());
  Time(*session, options, out);
  out.rss_mib = ReadProcessMemory().resident_mib - resident;
  if (options.second_process) {
    AddedMemory added;
    DS_ENGINE_RETURN_IF_ERROR(second.Measure(added));
    out.second_private_mib = added.private_mib;
    out.second_pss_mib = added.pss_mib;
  }
  out.buffer_bytes = session->buffer_bytes();
  const FileView& view = model->view(session->shape());
  out.isa = model->kernels().name;
  out.file_bytes = static_cast<int64_t>(view.header->file_bytes);
  out.arena_bytes = view.plan->arena_bytes;
  out.arena_bound_bytes = view.plan->arena_bound_bytes;
  out.unplanned_bytes = view.plan->unplanned_bytes;
  for (const file::Operator& op : view.operators) out.macs += op.macs;
  return {};
}

}  // namespace ds::engine

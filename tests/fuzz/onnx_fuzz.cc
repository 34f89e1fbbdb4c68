// Any bytes as an ONNX model: an error that says something, or a valid graph that can be written
// and read again; never a crash, a hang or much memory.
#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "graph/onnx/onnx.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const absl::StatusOr<ds::Graph> graph = ds::ImportOnnxFromBytes(bytes, "fuzz.onnx");
  if (!graph.ok()) {
    DS_CHECK(!graph.status().message().empty());
    return 0;
  }
  if (!graph->inputs().empty()) {  // the same with an input that is always 1
    ds::OnnxImportOptions given;
    given.input_values[graph->value(graph->inputs()[0]).name] = {1};
    const absl::StatusOr<ds::Graph> fixed = ds::ImportOnnxFromBytes(bytes, "given.onnx", given);
    DS_CHECK(!fixed.ok() || fixed->Validate().ok()) << fixed->Validate();
  }
  DS_CHECK(graph->Validate().ok()) << graph->Validate();
  const absl::StatusOr<std::string> written = ds::ExportOnnxToBytes(*graph);
  if (!written.ok()) return 0;  // opset 17 lacks int4, say
  const absl::StatusOr<ds::Graph> again = ds::ImportOnnxFromBytes(*written, "again.onnx");
  DS_CHECK(again.ok()) << again.status();
  DS_CHECK(again->ParameterCount() == graph->ParameterCount());
  return 0;
}

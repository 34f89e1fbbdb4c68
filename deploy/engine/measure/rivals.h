// The engine beside other runtimes on the same network: each in a fresh process, taking turns,
// round after round, so that a machine that others slow down slows all alike.
#pragma once

#include <string>
#include <vector>

#include "deploy/engine/measure/measure.h"
#include "deploy/engine/runtime/status.h"

namespace ds::engine {

struct RivalOptions {
  std::vector<std::string> names;  // "onnxruntime", "openvino", "litert", "executorch"
  std::string onnx, tflite, pte;   // the network's files, for those that read them
  std::string python = "python3";  // that can import the runtimes
  int rounds = 3;
};

// Medians over the rounds. `ratio`: the median of the rounds' own ratios of this median_ms to the
// engine's; 1 for the engine, which comes first.
struct RuntimeFigures {
  std::string name;
  double median_ms = 0, p99_ms = 0, first_ms = 0, load_ms = 0, rss_mib = 0, ratio = 1;
};

// `bench` is the program ds_bench, run for the engine's rows. An instruction set that is asked for
// holds OpenVINO, too (ONEDNN_MAX_CPU_ISA); the others have no such switch. Errors name the
// runtime: its file was not given, it cannot be imported, it does not run the file.
Status MeasureRivals(const MeasureOptions& measure, const RivalOptions& rivals,
                     const std::string& bench, std::vector<RuntimeFigures>& runtimes);

}  // namespace ds::engine

// What was measured, as text.
#pragma once

#include <string>
#include <vector>

#include "deploy/engine/measure/measure.h"
#include "deploy/engine/measure/rivals.h"

namespace ds::engine {

// For people, for programs and for spreadsheets; all have all and end with a line end. CSV has a
// block of lines each for the figures, the operators and the runtimes, an empty line between them.
enum class MeasureFormat { kTable, kJson, kCsv };
std::string Print(const Measurement& measurement, const std::vector<RuntimeFigures>& runtimes,
                  MeasureFormat format);

}  // namespace ds::engine

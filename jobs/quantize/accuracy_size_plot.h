// Accuracy against size, as a picture for a report.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ds {

struct PlottedModel {
  std::string name;
  double accuracy = 0;  // share 0..1
  int64_t bytes = 0;    // of its file
};

// An <svg> element: size to the right from 0, accuracy upwards, a labelled dot for each of `models`
// (at least one). The axis of accuracy is at least a point long, so that a thousandth does not look
// like a cliff, and stays within 0 and 100 %.
std::string AccuracySizePlot(const std::vector<PlottedModel>& models);

}  // namespace ds

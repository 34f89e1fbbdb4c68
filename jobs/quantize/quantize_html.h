// A quantised model's report as one HTML page: tables, the activations' histograms with the range
// that their codes span, accuracy against size. Nothing is loaded from elsewhere; the page is
// well-formed XML.
#pragma once

#include <string>

#include "jobs/quantize/quantize_job.h"

namespace ds {

std::string QuantizeSummaryHtml(const QuantizeSummary& summary);

}  // namespace ds

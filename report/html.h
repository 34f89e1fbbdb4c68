// Markup for reports: pages that load nothing and are well-formed XML.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace ds {

// Text for elements and attributes: & < > " ' as entities; control characters, which XML does not
// have, as U+FFFD.
std::string EscapeHtml(absl::string_view text);

}  // namespace ds

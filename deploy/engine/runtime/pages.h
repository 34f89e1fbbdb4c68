// Memory's pages asked of the system all at once, so that nobody waits for them one by one: a page
// that is missed costs a microsecond or more, twice what it does here.
#pragma once

#include <cstddef>

namespace ds::engine {

enum class PageUse { kRead, kWrite };

// The pages that lie in these bytes wholly, and of what is only read those that do in part, too. A
// wish: where the system cannot, they come as they are touched. Changes no content.
void PopulatePages(const void* first, size_t bytes, PageUse use);

}  // namespace ds::engine

// Long work of one rank, or of all, at their own pace: an export, a measurement, a calibration,
// opening data on a slow disk. A collective's deadline is not for that: it cannot tell a rank that
// works from one that is dead. Here ranks that work say so from time to time (a beat, from a thread
// of its own), and whoever waits goes on waiting as long as beats come. A rank that is gone, or
// stopped, gives no beats and is an error for the others soon.
#pragma once

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "comm/communicator.h"

namespace ds {

// A beat a second, so this is long for a process that lives, on a busy machine too. Where the
// communicator's own timeout is shorter, that counts.
inline constexpr absl::Duration kLongestSilence = absl::Seconds(30);

// Every rank does its `work`, however long it takes; returns when all are through. `what` completes
// "rank 0 could not ..." and "rank 0 was to ...". Before the first beat the communicator's timeout
// counts, as in any collective: all are to come here within that time.
//
// A rank whose work failed gets its own error; the others Aborted, with the first such rank and its
// message. Errors of the communicator (Unavailable or DeadlineExceeded, where a rank is gone) come
// back when this rank's work is done; that of the others is not waited for then. The work must not
// use `communicator`, whose calls the beats make meanwhile; a duplicate it may. Collective.
absl::Status WorkAtOwnPace(Communicator& communicator, absl::string_view what,
                           absl::FunctionRef<absl::Status()> work);

// The same for work of rank `worker` alone; `work` is not looked at elsewhere.
absl::Status WhileOthersWait(Communicator& communicator, int worker, absl::string_view what,
                             absl::FunctionRef<absl::Status()> work);

}  // namespace ds

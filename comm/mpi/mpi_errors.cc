#include "comm/mpi/mpi_errors.h"

#include <mpi.h>

#include "absl/strings/str_cat.h"

namespace ds {

absl::Status MpiStatus(int code, absl::string_view call) {
  if (code == MPI_SUCCESS) return absl::OkStatus();
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0, error_class = MPI_ERR_OTHER;
  MPI_Error_string(code, text, &length);
  MPI_Error_class(code, &error_class);
  const std::string message = absl::StrCat("MPI: ", call.substr(0, call.find('(')), ": ",
                                           absl::string_view(text, static_cast<size_t>(length)));
  switch (error_class) {
    case MPI_ERR_TRUNCATE:
      return absl::InvalidArgumentError(absl::StrCat(message, " (ranks disagree about a size)"));
    case MPI_ERR_OTHER:
      return absl::UnavailableError(absl::StrCat(message, " (a peer may be gone)"));
    default:
      return absl::InternalError(message);
  }
}

}  // namespace ds

#include "federated/pki/check/endpoint.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/file/file_system.h"

namespace ds::federated {
namespace {

bool IsAddress(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> parsed = {};
  return inet_pton(AF_INET, host.c_str(), parsed.data()) == 1 ||
         inet_pton(AF_INET6, host.c_str(), parsed.data()) == 1;
}

std::string Text(const sockaddr* address, socklen_t size) {
  std::array<char, NI_MAXHOST> text = {};
  const int failed =
      getnameinfo(address, size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST);
  return failed == 0 ? text.data() : "?";
}

// 0, or the error number.
int ConnectOne(int fd, const SocketAddress& address, const Deadline& deadline) {
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address.bytes), address.size) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  if (!WaitFor(fd, POLLOUT, deadline)) return ETIMEDOUT;
  int error = 0;
  socklen_t size = sizeof(error);
  return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

}  // namespace

absl::StatusOr<Endpoint> ParseEndpoint(absl::string_view address) {
  const size_t colon = address.rfind(':');
  absl::string_view host = address.substr(0, colon);
  const absl::string_view port = colon == absl::string_view::npos ? "" : address.substr(colon + 1);
  const bool bracketed = absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
  int number = 0;
  if (host.empty() || !absl::SimpleAtoi(port, &number) || number < 1 || number > 65535 ||
      host.find_first_of("[]/ ") != absl::string_view::npos ||
      (!bracketed && host.find(':') != absl::string_view::npos)) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", absl::CHexEscape(address),
                     "' is not host:port, such as hub.example.org:7443 or [::1]:7443"));
  }
  Endpoint endpoint{std::string(host), absl::StrCat(number)};
  endpoint.is_address = IsAddress(endpoint.host);
  return endpoint;
}

absl::StatusOr<std::vector<SocketAddress>> Resolve(const Endpoint& endpoint) {
  addrinfo hints = {};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int failed = getaddrinfo(endpoint.host.c_str(), endpoint.port.c_str(), &hints, &list);
  if (failed != 0) {
    return absl::NotFoundError(
        absl::StrCat("the name '", endpoint.host, "' has no address: ", gai_strerror(failed)));
  }
  std::vector<SocketAddress> addresses;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    SocketAddress address;
    address.size = entry->ai_addrlen;
    std::copy_n(reinterpret_cast<const char*>(entry->ai_addr), entry->ai_addrlen,
                reinterpret_cast<char*>(&address.bytes));
    address.text = Text(entry->ai_addr, entry->ai_addrlen);
    addresses.push_back(std::move(address));
  }
  freeaddrinfo(list);
  return addresses;
}

absl::StatusOr<std::unique_ptr<Descriptor>> Connect(const Endpoint& endpoint,
                                                    const std::vector<SocketAddress>& addresses,
                                                    const Deadline& deadline) {
  std::vector<std::string> failures;
  for (const SocketAddress& address : addresses) {
    auto socket = std::make_unique<Descriptor>(
        ::socket(address.bytes.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int error = socket->get() < 0 ? errno : ConnectOne(socket->get(), address, deadline);
    if (error == 0) return socket;
    failures.emplace_back(
        ErrnoStatus(error, absl::StrCat(address.text, " port ", endpoint.port)).message());
  }
  return absl::UnavailableError(absl::StrCat("no connection: ", absl::StrJoin(failures, "; ")));
}

bool WaitFor(int fd, short events, const Deadline& deadline) {  // NOLINT(google-runtime-int)
  while (!deadline.IsPast()) {
    pollfd wanted = {fd, events, 0};
    const auto left = std::min<int64_t>(absl::ToInt64Milliseconds(deadline.Left()) + 1, 60'000);
    const int ready = ::poll(&wanted, 1, static_cast<int>(left));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return true;  // whoever reads gets the error
  }
  return false;
}

}  // namespace ds::federated

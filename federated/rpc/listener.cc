#include "federated/rpc/listener.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ds::federated {
namespace {

constexpr int kBacklog = 1024;
// Between two looks for room, while there is none.
constexpr int kLookMs = 50;
// Ended connections are looked for from so many on, and each time their number has doubled.
constexpr size_t kLeastSweep = 64;

bool IsOpen(int fd) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return false;
  return info.tcpi_state == TCP_ESTABLISHED || info.tcpi_state == TCP_CLOSE_WAIT;
}

int PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  char port[NI_MAXSERV] = "0";
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0)
    ::getnameinfo(reinterpret_cast<sockaddr*>(&address), size, nullptr, 0, port, sizeof(port),
                  NI_NUMERICSERV);
  return std::atoi(port);
}

absl::StatusOr<std::unique_ptr<Descriptor>> Listen(const std::string& host, int port) {
  const std::string address = absl::StrCat(host, ":", port);
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (error != 0)
    return absl::UnavailableError(
        absl::StrCat("cannot listen on ", address, ": ", ::gai_strerror(error)));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  auto socket = std::make_unique<Descriptor>(
      ::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int one = 1;
  ::setsockopt(socket->get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
  if (::bind(socket->get(), found->ai_addr, found->ai_addrlen) != 0 ||
      ::listen(socket->get(), kBacklog) != 0)
    return absl::UnavailableError(absl::StrCat("cannot listen on ", address, ": ",
                                               std::strerror(errno),
                                               "; is another aggregator running there?"));
  return socket;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> Listener::Open(const std::string& host, int port,
                                                         int max_connections) {
  auto socket = Listen(host, port);
  if (!socket.ok()) return socket.status();
  std::unique_ptr<Listener> listener(new Listener(static_cast<size_t>(max_connections)));
  listener->socket_ = *std::move(socket);
  listener->stop_ = std::make_unique<Descriptor>(::eventfd(0, EFD_CLOEXEC));
  listener->port_ = PortOf(listener->socket_->get());
  return listener;
}

Listener::~Listener() { Stop(); }

void Listener::Start(std::function<void(int fd)> accepted) {
  thread_ = std::thread([this, accepted = std::move(accepted)] { Accept(accepted); });
}

void Listener::Stop() {
  if (!thread_.joinable()) return;
  ::eventfd_write(stop_->get(), 1);
  thread_.join();
}

bool Listener::HasRoom() {
  if (open_.size() >= sweep_at_) {
    open_.erase(std::remove_if(open_.begin(), open_.end(),
                               [](const auto& one) { return !IsOpen(one->get()); }),
                open_.end());
    sweep_at_ = std::min(max_connections_, std::max(kLeastSweep, 2 * open_.size()));
  }
  return open_.size() < max_connections_;
}

void Listener::Accept(const std::function<void(int fd)>& accepted) {
  while (true) {
    const bool room = HasRoom();
    pollfd waits[] = {{stop_->get(), POLLIN, 0}, {socket_->get(), POLLIN, 0}};
    ::poll(waits, room ? 2 : 1, room ? -1 : kLookMs);
    if (waits[0].revents != 0) return;
    if (!room || waits[1].revents == 0) continue;
    const int fd = ::accept4(socket_->get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      // Out of descriptors: those that have ended may give some back.
      if (errno == EMFILE || errno == ENFILE) ::poll(waits, 1, kLookMs);
      continue;
    }
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    const int second = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (second < 0) {
      ::close(fd);
      continue;
    }
    open_.push_back(std::make_unique<Descriptor>(second));
    accepted(fd);
  }
}

}  // namespace ds::federated

#include "tests/federated/rpc/relay.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <utility>

#include "base/check.h"

namespace ds::federated {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// False: the connection has ended.
bool CarrySome(int from, int to, int64_t& left) {
  std::array<char, 65536> bytes;
  const ssize_t count = ::recv(from, bytes.data(), bytes.size(), 0);
  if (count <= 0) return false;
  const ssize_t carried = std::min<int64_t>(count, left);
  left -= carried;
  for (ssize_t sent = 0; sent < carried;) {
    const ssize_t now =
        ::send(to, bytes.data() + sent, static_cast<size_t>(carried - sent), MSG_NOSIGNAL);
    if (now <= 0) return false;
    sent += now;
  }
  return left > 0;
}

}  // namespace

int ConnectTo(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(port);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) return fd;
  ::close(fd);
  return -1;
}

Relay::Relay(int port, std::function<Limits()> limits) : target_(port), limits_(std::move(limits)) {
  socket_ = std::make_unique<Descriptor>(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  DS_CHECK(::bind(socket_->get(), reinterpret_cast<sockaddr*>(&address), size) == 0 &&
           ::listen(socket_->get(), 64) == 0 &&
           ::getsockname(socket_->get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

Relay::~Relay() {
  ending_ = true;
  acceptor_.join();
  for (std::thread& carrier : carriers_) carrier.join();
}

void Relay::Accept() {
  while (!ending_) {
    pollfd wait{socket_->get(), POLLIN, 0};
    if (::poll(&wait, 1, 20) <= 0) continue;
    auto client = std::make_shared<Descriptor>(::accept(socket_->get(), nullptr, nullptr));
    ++connections_;
    carriers_.emplace_back([this, client, limits = limits_()] { Carry(client, limits); });
  }
}

void Relay::Carry(std::shared_ptr<Descriptor> client, Limits limits) {
  const Descriptor server(ConnectTo(target_));
  while (!ending_ && server.get() >= 0) {
    pollfd waits[] = {{client->get(), POLLIN, 0}, {server.get(), POLLIN, 0}};
    if (::poll(waits, 2, 20) < 0) return;
    if (waits[0].revents != 0 && !CarrySome(client->get(), server.get(), limits.up)) return;
    if (waits[1].revents != 0 && !CarrySome(server.get(), client->get(), limits.down)) return;
  }
}

}  // namespace ds::federated

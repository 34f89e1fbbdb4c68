// ds_pki: the authority of a federation, and enrolment by hand. docs/federated-pki.md.
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "federated/pki/authority/commands.h"

namespace {

struct Arguments {
  std::string folder, name, site, role = "site", valid = "24h", token, request, reply, who;
  std::vector<std::string> hosts;
};

using Command = std::function<absl::StatusOr<ds::federated::CommandText>()>;

// `chosen` becomes what the command line asks for.
void Declare(CLI::App& app, Arguments& a, Command& chosen) {
  using namespace ds::federated;  // NOLINT(google-build-using-namespace): the commands
  const auto add = [&](const char* name, const char* what, Command command) {
    CLI::App* const sub = app.add_subcommand(name, what);
    sub->callback([&chosen, command] { chosen = command; });
    return sub;
  };
  const auto folder = [&](CLI::App* sub, const char* what) {
    sub->add_option("--folder", a.folder, what)->required();
  };
  const auto site = [&](CLI::App* sub) {
    sub->add_option("--site", a.site, "the site's name")->required();
    sub->add_option("--role", a.role, "site or operator")->capture_default_str();
  };
  const auto text = [](CLI::App* sub, const char* flag, std::string& field, const char* what) {
    sub->add_option(flag, field, what)->required();
  };
  const auto hosts = [&](CLI::App* sub) {
    return sub
        ->add_option("--server", a.hosts, "names and IP addresses of the aggregator, by commas")
        ->delimiter(',');
  };
  CLI::App* sub = add("init", "make an authority and the aggregator's certificate",
                      [&a] { return InitCommand(a.folder, a.name, a.hosts); });
  folder(sub, "the authority's folder, which is made");
  text(sub, "--name", a.name, "of the federation");
  hosts(sub)->required();
  sub = add("token", "issue an enrolment token: one site, one use",
            [&a] { return TokenCommand(a.folder, a.site, a.role, a.valid); });
  folder(sub, "the authority's folder");
  site(sub);
  sub->add_option("--valid", a.valid, "for how long, such as 24h or 90m")->capture_default_str();
  sub = add("list", "show certificates and tokens", [&a] { return ListCommand(a.folder); });
  folder(sub, "the authority's folder");
  sub = add("revoke", "take certificates out of force, within a second",
            [&a] { return RevokeCommand(a.folder, a.who); });
  folder(sub, "the authority's folder");
  text(sub, "who", a.who, "a site (all of it, its tokens too) or a serial number");
  sub = add("renew-server", "a new certificate for the aggregator",
            [&a] { return RenewServerCommand(a.folder, a.hosts); });
  folder(sub, "the authority's folder");
  hosts(sub);
  sub = add("request", "by hand, at the site: make its key and a request for a certificate",
            [&a] { return RequestCommand(a.folder, a.site, a.role, a.request); });
  folder(sub, "the site's folder");
  site(sub);
  text(sub, "--request", a.request, "file to write");
  sub = add("enrol", "by hand, at the authority: answer a request",
            [&a] { return EnrolCommand(a.folder, a.token, a.request, a.reply); });
  folder(sub, "the authority's folder");
  text(sub, "--token", a.token, "the site's");
  text(sub, "--request", a.request, "the site's file");
  text(sub, "--reply", a.reply, "file to write");
  sub = add("install", "by hand, at the site: take the authority's answer",
            [&a] { return InstallCommand(a.folder, a.site, a.role, a.token, a.reply); });
  folder(sub, "the site's folder");
  site(sub);
  text(sub, "--token", a.token, "the site's");
  text(sub, "--reply", a.reply, "the authority's file");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("The authority of a federation: who is which site.");
  app.require_subcommand(1);
  Arguments arguments;
  Command command;
  Declare(app, arguments, command);
  CLI11_PARSE(app, argc, argv);
  const auto text = command();
  if (!text.ok()) {
    std::fprintf(stderr, "ds_pki: %s\n", std::string(text.status().message()).c_str());
    return 1;
  }
  std::fputs(text->result.c_str(), stdout);
  std::fflush(stdout);
  std::fputs(text->note.c_str(), stderr);
  return 0;
}

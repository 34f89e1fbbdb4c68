// ds_pki as people call it.
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/federated/pki/pki_fixture.h"

namespace ds::federated {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class DsPkiTest : public ::testing::Test {
 protected:
  // Its standard output; both outputs are in output_.
  std::string Call(const std::string& arguments, int code = 0) {
    const std::string all = folder_.File("stderr");
    const std::string command =
        absl::StrCat("cd ", folder_.path(), " && ", DS_BINARY_DIR, "/bin/ds_pki ", arguments,
                     " 2>stderr >stdout </dev/null");
    const int status = std::system(command.c_str());
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), code) << command << "\n" << ReadText(all);
    output_ = ReadText(folder_.File("stdout")) + ReadText(all);
    return std::string(absl::StripAsciiWhitespace(ReadText(folder_.File("stdout"))));
  }

  const TempFolder folder_;
  std::string output_;
};

TEST_F(DsPkiTest, EnrolsASiteByHandAndRevokesIt) {
  const std::string fingerprint =
      Call("init --folder ca --name fed --server hub.example.org,127.0.0.1");
  EXPECT_EQ(fingerprint, PkiTest::Must(Authority::Open(folder_.File("ca")))->fingerprint());
  const std::string token = Call("token --folder ca --site alice --valid 90m");
  EXPECT_THAT(token, HasSubstr(fingerprint));
  EXPECT_THAT(output_, HasSubstr("For site 'alice', once, until "));
  Call("request --folder alice --site alice --request alice.csr");
  Call("enrol --folder ca --token " + token + " --request alice.csr --reply alice.pem");
  Call("install --folder alice --site alice --token " + token + " --reply alice.pem");
  EXPECT_TRUE(FileSiteIdentity::Open(folder_.File("alice/identity.pem")).ok());
  const std::string serial =
      PkiTest::Must(ReadCertificate(ReadText(folder_.File("alice/identity.pem")))).serial;

  EXPECT_THAT(Call("list --folder ca"), AllOf(HasSubstr(serial), Not(HasSubstr("revoked"))));
  EXPECT_EQ(Call("revoke --folder ca alice"), serial);
  EXPECT_THAT(Call("list --folder ca"), HasSubstr("revoked"));
  const std::string before = ReadText(folder_.File("ca/server.pem"));
  Call("renew-server --folder ca");
  EXPECT_THAT(output_, HasSubstr("is for hub.example.org, 127.0.0.1,"));
  EXPECT_NE(ReadText(folder_.File("ca/server.pem")), before);
}

TEST_F(DsPkiTest, SaysWhatIsWrongAndHowToMendIt) {
  Call("init --folder ca --name fed --server localhost");
  for (const auto& [arguments, words] : std::vector<std::pair<std::string, std::string>>{
           {"init --folder ca --name fed --server localhost", "is there already"},
           {"init --folder new --name fed --server 'a b'", "is neither a host's name"},
           {"token --folder none --site alice", "ds_pki init makes one"},
           {"token --folder ca --site a/b", "is no name"},
           {"token --folder ca --site alice --role king", "site or operator"},
           {"token --folder ca --site alice --valid soon", "is no span of time"},
           {"revoke --folder ca nobody", "ds_pki list shows"},
           {"enrol --folder ca --token x --request none --reply r", "none"}}) {
    Call(arguments, 1);
    EXPECT_THAT(output_, AllOf(HasSubstr("ds_pki: "), HasSubstr(words))) << arguments;
  }
  Call("", 106);
  EXPECT_THAT(output_, HasSubstr("subcommand"));
}

}  // namespace
}  // namespace ds::federated

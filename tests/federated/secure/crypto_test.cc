// The primitives against published vectors.
#include "federated/secure/crypto/crypto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "federated/secure/crypto/mask.h"
#include "federated/secure/crypto/shamir.h"

namespace ds::federated::secure {
namespace {

std::string Bytes(absl::string_view hex) { return absl::HexStringToBytes(hex); }
std::string Hex(absl::string_view bytes) { return absl::BytesToHexString(bytes); }
Bytes32 Bytes32Of(absl::string_view hex) {
  const std::string bytes = Bytes(hex);
  Bytes32 out{};
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

// RFC 7748, section 5.2.
TEST(X25519, MultipliesAsTheRfc) {
  const auto first =
      X25519Key(
          Secret(Bytes32Of("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")))
          .Agree(Bytes32Of("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"));
  EXPECT_EQ(Hex(View(*first)), "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
  const auto second =
      X25519Key(
          Secret(Bytes32Of("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d")))
          .Agree(Bytes32Of("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"));
  EXPECT_EQ(Hex(View(*second)), "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957");
}

// RFC 7748, section 6.1.
TEST(X25519, AgreesAsTheRfc) {
  const Secret alice(Bytes32Of("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"));
  const Secret bob(Bytes32Of("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
  EXPECT_EQ(Hex(View(X25519Public(alice))),
            "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  EXPECT_EQ(Hex(View(X25519Public(bob))),
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  const std::string shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
  EXPECT_EQ(Hex(View(*X25519Key(alice).Agree(X25519Public(bob)))), shared);
  EXPECT_EQ(Hex(View(*X25519Key(bob).Agree(X25519Public(alice)))), shared);
}

TEST(X25519, RefusesPointsOfSmallOrder) {
  Bytes32 point{};
  EXPECT_EQ(X25519Key(RandomSecret()).Agree(point).status().code(),
            absl::StatusCode::kInvalidArgument);
  point[0] = 1;
  EXPECT_EQ(X25519Key(RandomSecret()).Agree(point).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// RFC 5869, appendix A.1, A.2 and A.3.
TEST(Hkdf, IsAsTheRfc) {
  std::string long_key, long_salt, long_info;
  for (int i = 0; i < 80; ++i) {
    long_key.push_back(static_cast<char>(i));
    long_salt.push_back(static_cast<char>(0x60 + i));
    long_info.push_back(static_cast<char>(0xb0 + i));
  }
  const std::string key(22, '\x0b');
  const auto derive = [](absl::string_view k, absl::string_view salt, absl::string_view info,
                         size_t size) {
    std::vector<uint8_t> out(size);
    Hkdf(k, salt, info, absl::MakeSpan(out));
    return Hex(View(out));
  };
  EXPECT_EQ(derive(key, Bytes("000102030405060708090a0b0c"), Bytes("f0f1f2f3f4f5f6f7f8f9"), 42),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  EXPECT_EQ(
      derive(long_key, long_salt, long_info, 82),
      "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e"
      "590e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
  EXPECT_EQ(derive(key, "", "", 42),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

// NIST SP 800-38A, section F.5.5.
TEST(AesCtr, IsAsNist) {
  const Secret key(Bytes32Of("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"));
  std::array<uint8_t, 16> counter;
  for (int i = 0; i < 16; ++i) counter[i] = static_cast<uint8_t>(0xf0 + i);
  const std::string plain = Bytes(
      "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
      "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
  std::vector<uint8_t> stream(plain.size());
  Keystream(key, counter, absl::MakeSpan(stream));
  std::string cipher;
  for (size_t i = 0; i < plain.size(); ++i)
    cipher.push_back(static_cast<char>(plain[i] ^ stream[i]));
  EXPECT_EQ(Hex(cipher),
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
            "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6");
}

// McGrew and Viega's test cases 14 and 16 (the GCM specification's).
TEST(AesGcm, IsAsItsSpecification) {
  EXPECT_EQ(Hex(Seal(Secret(), std::string(12, '\0'), "", std::string(16, '\0'))),
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919");
  const Secret key(Bytes32Of("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"));
  const std::string nonce = Bytes("cafebabefacedbaddecaf888");
  const std::string bound = Bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2");
  const std::string plain = Bytes(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6"
      "b525b16aedf5aa0de657ba637b39");
  const std::string sealed = Seal(key, nonce, bound, plain);
  EXPECT_EQ(
      Hex(sealed),
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056"
      "828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b");
  EXPECT_EQ(*Unseal(key, nonce, bound, sealed), plain);
  for (size_t at : {size_t{0}, sealed.size() - 1}) {
    std::string bad = sealed;
    bad[at] ^= 1;
    EXPECT_EQ(Unseal(key, nonce, bound, bad).status().code(), absl::StatusCode::kDataLoss);
  }
  EXPECT_FALSE(Unseal(key, nonce, "", sealed).ok());
  EXPECT_FALSE(Unseal(Secret(), nonce, bound, sealed).ok());
  EXPECT_FALSE(Unseal(key, nonce, bound, sealed.substr(0, 15)).ok());
}

// RFC 8032, section 7.1, test 2.
TEST(Ed25519, IsAsTheRfc) {
  const Secret key(Bytes32Of("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"));
  EXPECT_EQ(Hex(View(Ed25519Public(key))),
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  const Signature signature = Ed25519Sign(key, "r");
  EXPECT_EQ(
      Hex(View(signature)),
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0"
      "f11d8c387b2eaeb4302aeeb00d291612bb0c00");
  EXPECT_TRUE(Ed25519Verify(Ed25519Public(key), "r", signature));
  EXPECT_FALSE(Ed25519Verify(Ed25519Public(key), "s", signature));
  EXPECT_FALSE(Ed25519Verify(Ed25519Public(RandomSecret()), "r", signature));
}

TEST(HashFields, FieldsDoNotRunIntoEachOther) {
  EXPECT_NE(HashFields("a", {"b", "c"}), HashFields("a", {"bc"}));
  EXPECT_NE(HashFields("a", {"b", "c"}), HashFields("a", {"bc", ""}));
  EXPECT_NE(HashFields("a", {"b"}), HashFields("ab", {""}));
}

// FIPS 197, section 4.2.
TEST(Shamir, TheFieldIsThatOfAes) {
  EXPECT_EQ(FieldMultiply(0x57, 0x83), 0xc1);
  EXPECT_EQ(FieldMultiply(0x57, 0x13), 0xfe);
  for (int a = 1; a < 256; ++a)
    EXPECT_EQ(FieldMultiply(static_cast<uint8_t>(a), FieldInverse(static_cast<uint8_t>(a))), 1);
}

// draft-mcgrew-tss-03, section 9: "test" and a zero, two of two.
TEST(Shamir, SharesAreAsThePublishedOnes) {
  const std::string secret("test\0", 5);
  std::string random = Bytes("b9fa07e185");
  for (size_t i = 0; i < random.size(); ++i) random[i] ^= secret[i];
  const std::vector<std::string> shares = Share(secret, 2, 2, random);
  EXPECT_EQ(Hex(shares[0]), "b9fa07e185");
  EXPECT_EQ(Hex(shares[1]), "f5409b4511");
  EXPECT_EQ(Recovery(std::vector<uint8_t>{1, 2}).Secret({shares[0], shares[1]}), secret);
}

TEST(Shamir, AnyThresholdOfSharesGivesTheSecret) {
  constexpr uint64_t kSeed = 3;
  CounterRandom random(kSeed);
  for (const auto& [threshold, count] :
       std::vector<std::pair<int, int>>{{1, 1}, {1, 4}, {2, 3}, {5, 9}, {66, 128}, {128, 255}}) {
    for (size_t size : {size_t{1}, size_t{13}, size_t{64}}) {
      std::string secret(size, '\0'), coefficients((threshold - 1) * size, '\0');
      for (char& byte : secret) byte = static_cast<char>(random.NextUint32());
      for (char& byte : coefficients) byte = static_cast<char>(random.NextUint32());
      const std::vector<std::string> shares = Share(secret, threshold, count, coefficients);
      std::vector<uint8_t> points(count);
      for (int i = 0; i < count; ++i) points[i] = static_cast<uint8_t>(i + 1);
      for (int i = count - 1; i > 0; --i) std::swap(points[i], points[random.NextBelow(i + 1)]);
      points.resize(threshold);
      std::vector<absl::string_view> values;
      for (uint8_t point : points) values.push_back(shares[point - 1]);
      EXPECT_EQ(Recovery(points).Secret(values), secret)
          << "seed " << kSeed << ", " << threshold << " of " << count;
    }
  }
}

// With one share fewer every secret fits: for a byte, each of its 256 values to one last share.
TEST(Shamir, OneShareFewerFitsEverySecret) {
  const std::vector<std::string> shares = Share("\x42", 3, 5, Bytes("a7c1"));
  std::vector<bool> seen(256);
  for (int last = 0; last < 256; ++last) {
    const std::string third(1, static_cast<char>(last));
    const std::string secret =
        Recovery(std::vector<uint8_t>{1, 2, 3}).Secret({shares[0], shares[1], third});
    seen[static_cast<uint8_t>(secret[0])] = true;
  }
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), 256);
}

// The words of the stream, one a value, in every width and at lengths around the blocks'.
TEST(Masks, AreTheStreamsWordsAndGoAsTheyCame) {
  for (int bits : {1, 7, 8, 9, 16, 17, 24, 32}) {
    for (int64_t count : {1, 15, 16, 17, 4095, 8192, 8193, 20001}) {
      IntegerVector values(bits, count);
      CounterRandom random(static_cast<uint64_t>(bits), static_cast<uint64_t>(count));
      for (int64_t i = 0; i < count; ++i) values.Set(i, random.NextUint32());
      const IntegerVector before = values;
      const std::vector<MaskKey> keys = {{.key = RandomSecret()},
                                         {.key = RandomSecret(), .take = true}};
      AddMasks(keys, values);
      const int width = values.width();
      std::vector<uint8_t> added(count * width), taken(count * width);
      Keystream(keys[0].key, {}, absl::MakeSpan(added));
      Keystream(keys[1].key, {}, absl::MakeSpan(taken));
      for (int64_t i = 0; i < count; ++i) {
        uint32_t word = before.Get(i), plus = 0, minus = 0;
        for (int byte = 0; byte < width; ++byte) {
          plus |= uint32_t{added[i * width + byte]} << (8 * byte);
          minus |= uint32_t{taken[i * width + byte]} << (8 * byte);
        }
        word += plus - minus;
        if (bits < 32) word &= (uint32_t{1} << bits) - 1;
        ASSERT_EQ(values.Get(i), word) << bits << " bits, value " << i << " of " << count;
      }
      AddMasks({{.key = keys[0].key, .take = true}, {.key = keys[1].key}}, values);
      EXPECT_EQ(values.bytes(), before.bytes());
    }
  }
}

}  // namespace
}  // namespace ds::federated::secure

// SPDX-License-Identifier: Apache-2.0
// Packing against a bit-by-bit writer, for every element width 1..8 and every row width 0..70.
#include "fpq/format/pack.hpp"

#include <array>
#include <vector>

#include "catch.hpp"
#include "fpq/core/random.hpp"

namespace {

constexpr std::array<std::uint8_t, 2> packed_pair() {
    std::uint8_t const codes[] = {0x1, 0x2, 0x3};
    std::array<std::uint8_t, 2> out{};
    fpq::pack_row(4, codes, 3, out.data());
    return out;
}
static_assert(packed_pair()[0] == 0x21 && packed_pair()[1] == 0x03);
static_assert(fpq::packed_bytes(6, 3) == 3 && fpq::packed_bytes(4, 5) == 3);

std::vector<std::uint8_t> random_codes(int bits, std::size_t cols) {
    fpq::philox const random{7, static_cast<std::uint64_t>(bits)};
    std::vector<std::uint8_t> codes(cols);
    for (std::size_t i = 0; i < cols; ++i) {
        codes[i] = static_cast<std::uint8_t>(random.at(cols * 100 + i) & ((1u << bits) - 1u));
    }
    return codes;
}

/// The stream one bit at a time: bit k of code i is bit i * bits + k.
std::vector<std::uint8_t> slow_pack(int bits, std::vector<std::uint8_t> const& codes) {
    auto const width = static_cast<std::size_t>(bits);
    std::vector<std::uint8_t> out((codes.size() * width + 7) / 8, 0);
    for (std::size_t i = 0; i < codes.size(); ++i) {
        for (std::size_t k = 0; k < width; ++k) {
            std::size_t const at = i * width + k;
            int const bit = (codes[i] >> k) & 1;
            out[at / 8] = static_cast<std::uint8_t>(out[at / 8] | (bit << (at % 8)));
        }
    }
    return out;
}

}  // namespace

TEST_CASE("packing is the bit stream and unpacking its inverse at every width", "[format]") {
    for (int bits = 1; bits <= 8; ++bits) {
        for (std::size_t cols = 0; cols <= 70; ++cols) {
            INFO("bits " << bits << " cols " << cols);
            std::vector<std::uint8_t> const codes = random_codes(bits, cols);
            std::vector<std::uint8_t> const wanted = slow_pack(bits, codes);
            REQUIRE(fpq::packed_bytes(bits, cols) == wanted.size());
            std::vector<std::uint8_t> packed(wanted.size() + 1, 0xA5);
            fpq::pack_row(bits, codes.data(), cols, packed.data());
            REQUIRE(packed.back() == 0xA5);  // nothing is written past the row
            packed.pop_back();
            REQUIRE(packed == wanted);
            std::vector<std::uint8_t> back(cols + 1, 0x5A);
            fpq::unpack_row(bits, packed.data(), cols, back.data());
            REQUIRE(back.back() == 0x5A);
            back.pop_back();
            REQUIRE(back == codes);
            for (std::size_t i = 0; i < cols; ++i) {
                REQUIRE(fpq::packed_code(bits, packed.data(), i) == codes[i]);
            }
        }
    }
}

TEST_CASE("the even element lies in the low nibble", "[format]") {
    std::uint8_t const codes[] = {0x1, 0xF, 0x7, 0x8};
    std::uint8_t packed[2] = {};
    fpq::pack_row(4, codes, 4, packed);
    CHECK(packed[0] == 0xF1);
    CHECK(packed[1] == 0x87);
}

TEST_CASE("bits above the element's width do not leak and the last byte is padded with zeros",
          "[format]") {
    std::uint8_t const codes[] = {0xF1, 0xF2, 0xF3};
    std::uint8_t packed[2] = {0xFF, 0xFF};
    fpq::pack_row(4, codes, 3, packed);
    CHECK(packed[0] == 0x21);
    CHECK(packed[1] == 0x03);
    std::uint8_t const wide[] = {0xFF};
    std::uint8_t one = 0xFF;
    fpq::pack_row(6, wide, 1, &one);
    CHECK(one == 0x3F);
}

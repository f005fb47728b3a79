// SPDX-License-Identifier: Apache-2.0
// The number formats against tests/vectors: decode tables and encodings that the package ml_dtypes
// and numpy made (tests/interop/make_vectors.py). The files are committed, so a missing one fails.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "fpq/format/element.hpp"
#include "fpq/format/minifloat.hpp"
#include "support/number_oracle.hpp"

namespace {

std::filesystem::path vector_file(std::string const& name) {
#ifdef FPQ_SOURCE_DIR
    return std::filesystem::path(FPQ_SOURCE_DIR) / "tests" / "vectors" / (name + ".txt");
#else
    return std::filesystem::path(__FILE__).parent_path().parent_path() / "vectors" /
           (name + ".txt");
#endif
}

struct tally {
    std::size_t decoded = 0;
    std::size_t encoded = 0;
};

/// Checks every line of a file: decode(code) to the bits, encode(float) to the code.
template <class Decode, class Encode>
tally check_file(std::string const& name, Decode decode, Encode encode) {
    std::ifstream in(vector_file(name));
    INFO("vectors of " << name);
    REQUIRE(in.good());
    tally seen;
    std::string line;
    while (std::getline(in, line)) {
        if (line.empty() || line[0] == '#') {
            continue;
        }
        INFO(name << ": " << line);
        std::istringstream fields(line.substr(1));
        std::uint32_t from = 0;
        std::uint32_t to = 0;
        fields >> std::hex >> from >> to;
        REQUIRE(!fields.fail());
        if (line[0] == 'd') {
            float const value = decode(from);
            float const wanted = fpq_test::float_from(to);
            REQUIRE(std::isnan(value) == std::isnan(wanted));
            if (!std::isnan(wanted)) {
                REQUIRE(fpq_test::float_bits(value) == to);
            }
            ++seen.decoded;
        } else {
            REQUIRE(line[0] == 'e');
            REQUIRE(std::uint32_t{encode(fpq_test::float_from(from))} == to);
            ++seen.encoded;
        }
    }
    return seen;
}

template <class Format>
void check_format(std::string const& name) {
    tally const seen = check_file(
        name, [](std::uint32_t code) { return Format::decode(static_cast<std::uint8_t>(code)); },
        [](float x) { return Format::encode(x); });
    CHECK(seen.decoded == std::size_t{1} << Format::bits);
    CHECK(seen.encoded == 1992);
}

}  // namespace

TEST_CASE("minifloats agree with the vectors of ml_dtypes", "[format][vectors]") {
    check_format<fpq::e2m1>("e2m1");
    check_format<fpq::e2m3>("e2m3");
    check_format<fpq::e3m2>("e3m2");
    check_format<fpq::e4m3>("e4m3");
    check_format<fpq::e5m2>("e5m2");
}

TEST_CASE("e8m0 agrees with the vectors of ml_dtypes", "[format][vectors]") {
    tally const seen = check_file(
        "e8m0",
        [](std::uint32_t code) { return fpq::e8m0::decode(static_cast<std::uint8_t>(code)); },
        [](float x) { return fpq::e8m0::encode_nearest(x); });
    CHECK(seen.decoded == 256);
    CHECK(seen.encoded == 1620);
}

TEST_CASE("halves agree with the vectors of numpy and ml_dtypes", "[core][vectors]") {
    tally const half = check_file(
        "fp16",
        [](std::uint32_t code) {
            return fpq::to_float(fpq::fp16{static_cast<std::uint16_t>(code)});
        },
        [](float x) { return fpq::to_fp16(x).bits; });
    CHECK(half.encoded == 4509);
    tally const brain = check_file(
        "bf16",
        [](std::uint32_t code) {
            return fpq::to_float(fpq::bf16{static_cast<std::uint16_t>(code)});
        },
        [](float x) { return fpq::to_bf16(x).bits; });
    CHECK(brain.encoded == 4692);
}

TEST_CASE("integers agree with the vectors of numpy", "[format][vectors]") {
    check_format<fpq::signed_integer<2>>("int2");
    check_format<fpq::signed_integer<3>>("int3");
    check_format<fpq::signed_integer<4>>("int4");
    check_format<fpq::signed_integer<5>>("int5");
    check_format<fpq::signed_integer<6>>("int6");
    check_format<fpq::signed_integer<7>>("int7");
    check_format<fpq::signed_integer<8>>("int8");
}

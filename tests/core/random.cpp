// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10 against the known answers of its authors (Random123, kat_vectors), and the
// properties of what is built on it.
#include "fpq/core/random.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <set>
#include <vector>

#include "catch.hpp"

namespace {

static_assert(fpq::philox4x32({{0, 0, 0, 0}}, 0, 0).word[0] == 0x6627E8D5u);
static_assert(std::uniform_random_bit_generator<fpq::philox_engine>);
static_assert(fpq::uniform(0xFFFFFFFFu) < 1.0F && fpq::uniform(0) == 0.0F);

bool same(fpq::philox_block const& a, fpq::philox_block const& b) {
    return std::equal(a.word, a.word + 4, b.word);
}

}  // namespace

TEST_CASE("philox gives the published known answers", "[core]") {
    CHECK(same(fpq::philox4x32({{0, 0, 0, 0}}, 0, 0),
               {{0x6627E8D5u, 0xE169C58Du, 0xBC57AC4Cu, 0x9B00DBD8u}}));
    CHECK(same(fpq::philox4x32({{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u),
               {{0x408F276Du, 0x41C83B0Eu, 0xA20BC7C6u, 0x6D5451FDu}}));
    CHECK(same(fpq::philox4x32({{0x243F6A88u, 0x85A308D3u, 0x13198A2Eu, 0x03707344u}}, 0xA4093822u,
                               0x299F31D0u),
               {{0xD16CFE09u, 0x94FDCCEBu, 0x5001E420u, 0x24126EA1u}}));
}

TEST_CASE("a value depends on seed, stream and index, and on nothing else", "[core]") {
    fpq::philox const a{42, 0};
    fpq::philox const again{42, 0};
    std::set<std::uint32_t> seen;
    for (std::uint64_t i = 0; i < 64; ++i) {
        CHECK(a.at(i) == again.at(i));
        seen.insert(a.at(i));
        seen.insert(fpq::philox{43, 0}.at(i));
        seen.insert(fpq::philox{42, 1}.at(i));
        seen.insert(a.at(i + (std::uint64_t{1} << 40)));
    }
    CHECK(seen.size() == 256);
    fpq::philox_engine engine(a);
    for (std::uint64_t i = 0; i < 10; ++i) {
        CHECK(engine() == a.at(i));
    }
}

TEST_CASE("bounded integers are in range and even", "[core]") {
    fpq::philox const random{1, 2};
    std::vector<int> hits(10, 0);
    for (std::uint64_t i = 0; i < 100000; ++i) {
        std::uint64_t const n = random.below(i, 10);
        REQUIRE(n < 10);
        ++hits[n];
    }
    for (int const h : hits) {
        CHECK(std::abs(h - 10000) < 500);  // five standard deviations
    }
    CHECK(random.below(5, 1) == 0);
    CHECK(random.below(5, 0xFFFFFFFFu) < 0xFFFFFFFFu);
}

TEST_CASE("normal numbers have the moments of N(0, 1)", "[core]") {
    fpq::philox const random{5, 9};
    double sum = 0;
    double squares = 0;
    double fourth = 0;
    constexpr int count = 200000;
    for (std::uint64_t i = 0; i < count; ++i) {
        double const x = double{random.normal_at(i)};
        REQUIRE(std::isfinite(x));
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
    }
    CHECK(std::fabs(sum / count) < 0.012);
    CHECK(std::fabs(squares / count - 1.0) < 0.016);
    CHECK(std::fabs(fourth / count - 3.0) < 0.12);
}

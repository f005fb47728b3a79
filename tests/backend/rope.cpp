// SPDX-License-Identifier: Apache-2.0
// Rotary frequencies and rotation against the formulas, and the published llama3 scaling.
#include "fpq/backend/rope.hpp"

#include <cmath>
#include <vector>

#include "catch.hpp"

TEST_CASE("default and linear frequencies follow theta", "[backend]") {
    fpq::rope_config rope;
    rope.theta = 500000.0;
    const std::vector<float> plain = fpq::rope_frequencies(rope, 64);
    REQUIRE(plain.size() == 32);
    REQUIRE(plain[0] == 1.0F);
    REQUIRE(plain[16] == Approx(1.0 / std::sqrt(500000.0)));
    rope.kind = fpq::rope_kind::linear;
    rope.factor = 4.0;
    const std::vector<float> linear = fpq::rope_frequencies(rope, 64);
    for (std::size_t i = 0; i < 32; ++i) {
        REQUIRE(linear[i] == Approx(static_cast<double>(plain[i]) / 4.0));
    }
}

TEST_CASE("llama3 scaling keeps high, divides low and mixes middle frequencies", "[backend]") {
    // Llama-3.1: theta 500000, head_dim 128, factor 8, 1 to 4 turns in 8192 positions.
    fpq::rope_config rope{fpq::rope_kind::llama3, 500000.0, 8.0, 1.0, 4.0, 8192.0};
    const std::vector<float> found = fpq::rope_frequencies(rope, 128);
    std::size_t mixed = 0;
    for (std::size_t i = 0; i < 64; ++i) {
        const double base = std::pow(500000.0, -static_cast<double>(i) / 64.0);
        const double wavelength = 2.0 * std::acos(-1.0) / base;
        double expected = base;
        if (wavelength > 8192.0 / 1.0) {
            expected = base / 8.0;
        } else if (wavelength > 8192.0 / 4.0) {
            const double smooth = (8192.0 / wavelength - 1.0) / (4.0 - 1.0);
            expected = (1.0 - smooth) * base / 8.0 + smooth * base;
            ++mixed;
        }
        REQUIRE(found[i] == Approx(expected).epsilon(1e-6));
    }
    REQUIRE(mixed > 3);
    // Worked by hand: pair 28 turns every 1956 positions (kept), pair 32 every 4443 (mixed:
    // smooth = 0.28128), pair 40 every 22911 (divided by 8).
    REQUIRE(found[28] == Approx(3.21145e-3).epsilon(1e-4));
    REQUIRE(found[32] == Approx(5.248462e-4).epsilon(1e-4));
    REQUIRE(found[40] == Approx(2.742482e-4 / 8).epsilon(1e-4));
}

TEST_CASE("rotation pairs value i with value i + half", "[backend]") {
    fpq::rope_config rope;
    const fpq::rope_table table(rope, 4, 10);
    REQUIRE(table.positions() == 10);
    std::vector<float> head = {1.0F, 2.0F, 3.0F, 4.0F};
    table.rotate(head.data(), 0);
    REQUIRE(head == std::vector<float>{1.0F, 2.0F, 3.0F, 4.0F});
    table.rotate(head.data(), 7);
    const double a = 7.0;
    const double b = 7.0 * 0.01;  // 10000^(-2/4)
    REQUIRE(head[0] == Approx(1 * std::cos(a) - 3 * std::sin(a)).epsilon(1e-5));
    REQUIRE(head[2] == Approx(3 * std::cos(a) + 1 * std::sin(a)).epsilon(1e-5));
    REQUIRE(head[1] == Approx(2 * std::cos(b) - 4 * std::sin(b)).epsilon(1e-5));
    REQUIRE(head[3] == Approx(4 * std::cos(b) + 2 * std::sin(b)).epsilon(1e-5));
}

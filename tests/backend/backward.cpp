// SPDX-License-Identifier: Apache-2.0
// The backward verbs whose rows do not meet, and the linear, against central differences of their
// forward formulas in double. Every test's function is sum of c y with random c, so that c is the
// gradient at y. Tolerances are in units of the largest gradient: float32 sums of a few dozen terms
// lose some 1e-7 each.
#include "fpq/backend/cpu/backward/linear.hpp"

#include <cmath>
#include <vector>

#include "catch.hpp"
#include "fpq/backend/cpu/backward/rows.hpp"
#include "model/random_model.hpp"
#include "support/numeric_gradient.hpp"

using namespace fpq_test;

namespace {

constexpr float eps = 1e-2F;  // large enough to count

std::vector<double> slow_norm(double const* x, std::vector<float> const& w, std::size_t n) {
    double mean = 0;
    for (std::size_t j = 0; j < n; ++j) {
        mean += x[j] * x[j] / static_cast<double>(n);
    }
    std::vector<double> y(n);
    for (std::size_t j = 0; j < n; ++j) {
        y[j] = x[j] / std::sqrt(mean + static_cast<double>(eps)) * static_cast<double>(w[j]);
    }
    return y;
}

double inner(std::vector<float> const& c, std::size_t at, std::vector<double> const& y) {
    double sum = 0;
    for (std::size_t j = 0; j < y.size(); ++j) {
        sum += static_cast<double>(c[at + j]) * y[j];
    }
    return sum;
}

}  // namespace

TEST_CASE("the gradient of RMSNorm is that of its formula", "[backend]") {
    for (const std::size_t n : {1U, 6U, 16U, 53U}) {
        const std::size_t rows = 40;  // more than a chunk
        const auto x = random_values(rows * n, 1, 0.7F);
        const auto w = random_values(n, 2, 0.3F, 1.0F);
        const auto c = random_values(rows * n, 3, 1.0F);
        const auto expected = numeric_gradient(
            [&](const std::vector<double>& at) {
                double sum = 0;
                for (std::size_t i = 0; i < rows; ++i) {
                    sum += inner(c, i * n, slow_norm(at.data() + i * n, w, n));
                }
                return sum;
            },
            widened(x));
        std::vector<float> apart(rows * n, -7.0F);
        fpq::rms_norm_backward(fpq::cpu{2}, fpq::as_view(x.data(), rows, n), w, eps,
                               fpq::as_view(c.data(), rows, n),
                               fpq::as_view(apart.data(), rows, n));
        INFO(n);
        REQUIRE(worst_error(apart, expected) < 1e-6);
        std::vector<float> in_place = c;
        const auto d = fpq::as_view(in_place.data(), rows, n);
        fpq::rms_norm_backward(fpq::cpu{1}, fpq::as_view(x.data(), rows, n), w, eps, d, d);
        REQUIRE(in_place == apart);
    }
}

TEST_CASE("the gradient of head norms and rotation is that of their formulas", "[backend]") {
    constexpr std::size_t length = 3, windows = 2, tokens = length * windows, d = 6;
    constexpr std::size_t first = 2;
    const fpq::rope_table table(fpq::rope_config{}, d, first + length);
    const auto norm = random_values(d, 5, 0.3F, 1.0F);
    for (const bool q_normed : {true, false}) {
        for (const bool k_normed : {true, false}) {
            const auto q = random_values(tokens * 2 * d, 1, 1.0F);
            const auto k = random_values(tokens * d, 2, 1.0F);
            std::vector<float> dq = random_values(q.size(), 3, 1.0F);
            std::vector<float> dk = random_values(k.size(), 4, 1.0F);
            const auto gradient = [&](const std::vector<float>& x, const std::vector<float>& c,
                                      bool normed) {
                const std::size_t heads = x.size() / tokens / d;
                return numeric_gradient(
                    [&](const std::vector<double>& at) {
                        double sum = 0;
                        for (std::size_t h = 0; h < tokens * heads; ++h) {
                            std::vector<double> y(
                                at.begin() + static_cast<std::ptrdiff_t>(h * d),
                                at.begin() + static_cast<std::ptrdiff_t>(h * d + d));
                            y = normed ? slow_norm(y.data(), norm, d) : y;
                            const std::size_t p = first + h / heads % length;
                            for (std::size_t i = 0; i < d / 2; ++i) {
                                const double cosine =
                                    static_cast<double>(table.cosines()[p * (d / 2) + i]);
                                const double sine =
                                    static_cast<double>(table.sines()[p * (d / 2) + i]);
                                const double a = y[i];
                                y[i] = a * cosine - y[i + d / 2] * sine;
                                y[i + d / 2] = y[i + d / 2] * cosine + a * sine;
                            }
                            sum += inner(c, h * d, y);
                        }
                        return sum;
                    },
                    widened(x));
            };
            const auto expected_q = gradient(q, dq, q_normed);
            const auto expected_k = gradient(k, dk, k_normed);
            fpq::rotate_backward(
                fpq::cpu{2}, fpq::as_view(q.data(), tokens, 2 * d),
                fpq::as_view(k.data(), tokens, d), d, q_normed ? norm : std::vector<float>(),
                k_normed ? norm : std::vector<float>(), eps, table, {length, first, 1},
                fpq::as_view(dq.data(), tokens, 2 * d), fpq::as_view(dk.data(), tokens, d));
            REQUIRE(worst_error(dq, expected_q) < 1e-6);
            REQUIRE(worst_error(dk, expected_k) < 1e-6);
        }
    }
}

TEST_CASE("the gradient of the SiLU gate is that of its formula", "[backend]") {
    constexpr std::size_t rows = 34, n = 19;
    std::vector<float> gate = random_values(rows * n, 1, 3.0F);
    std::vector<float> up = random_values(rows * n, 2, 1.0F);
    const auto c = random_values(rows * n, 3, 1.0F);
    const auto value = [&](const std::vector<double>& g, const std::vector<double>& u) {
        double sum = 0;
        for (std::size_t i = 0; i < g.size(); ++i) {
            sum += static_cast<double>(c[i]) * g[i] / (1 + std::exp(-g[i])) * u[i];
        }
        return sum;
    };
    const auto g0 = widened(gate);
    const auto u0 = widened(up);
    const auto dgate = numeric_gradient([&](const auto& g) { return value(g, u0); }, g0);
    const auto dup = numeric_gradient([&](const auto& u) { return value(g0, u); }, u0);
    fpq::silu_mul_backward(fpq::cpu{2}, fpq::as_view(c.data(), rows, n),
                           fpq::as_view(gate.data(), rows, n), fpq::as_view(up.data(), rows, n));
    REQUIRE(worst_error(gate, dgate) < 1e-6);
    REQUIRE(worst_error(up, dup) < 1e-6);
}

TEST_CASE("a saturated gate has a finite gradient", "[backend]") {
    std::vector<float> gate{-200.0F, 200.0F, 0.0F};
    std::vector<float> up{2.0F, 2.0F, 2.0F};
    const std::vector<float> ones(3, 1.0F);
    fpq::silu_mul_backward(fpq::cpu{1}, fpq::as_view(ones.data(), 1, 3),
                           fpq::as_view(gate.data(), 1, 3), fpq::as_view(up.data(), 1, 3));
    REQUIRE(std::abs(gate[0]) < 1e-30F);
    REQUIRE(gate[1] == 2.0F);
    REQUIRE(gate[2] == 1.0F);
    REQUIRE(std::abs(up[0]) < 1e-30F);
    REQUIRE(up[1] == 200.0F);
    REQUIRE(up[2] == 0.0F);
}

TEST_CASE("the gradient of linears that read one input is the sum of theirs", "[backend]") {
    constexpr std::size_t tokens = 7, in = 11;
    std::vector<float> dx(tokens * in, -7.0F);
    std::vector<double> expected(tokens * in, 0.0);
    bool add = false;
    for (const std::size_t out : {5U, 600U}) {
        const auto w = random_values(out * in, out, 1.0F);
        const auto dy = random_values(tokens * out, out + 1, 1.0F);
        for (std::size_t t = 0; t < tokens; ++t) {
            for (std::size_t j = 0; j < in; ++j) {
                for (std::size_t o = 0; o < out; ++o) {
                    expected[t * in + j] +=
                        static_cast<double>(dy[t * out + o]) * static_cast<double>(w[o * in + j]);
                }
            }
        }
        fpq::linear_backward(fpq::cpu{2}, fpq::as_view(dy.data(), tokens, out),
                             fpq::as_view(w.data(), out, in), add,
                             fpq::as_view(dx.data(), tokens, in));
        add = true;
        REQUIRE(worst_error(dx, expected) < 2e-6);  // 600 terms
    }
}

TEST_CASE("weighted rows give the weighted second moment", "[backend]") {
    const std::vector<float> x{1, 2, 3, 4, 5, 6};
    const std::vector<float> dy{3, 4, 0, 0, 1, 7};
    const auto weights = fpq::mean_squares(fpq::cpu{2}, fpq::as_view(dy.data(), 3, 2));
    REQUIRE(weights == std::vector<float>{12.5F, 0.0F, 25.0F});
    std::vector<float> y(6, -7.0F);
    fpq::weigh_rows(fpq::cpu{2}, fpq::as_view(x.data(), 3, 2), {4.0F, 0.0F, 25.0F},
                    fpq::as_view(y.data(), 3, 2));
    REQUIRE(y == std::vector<float>{2, 4, 0, 0, 25, 30});
}

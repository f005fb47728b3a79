// SPDX-License-Identifier: Apache-2.0
// The backward verbs whose rows do not meet, the linear and the head against central differences of
// their forward formulas in double. Every test's function is sum of c y with random c, so that c is
// the gradient at y. Tolerances are in units of the largest gradient: float32 sums of a few dozen
// terms lose some 1e-7 each.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "catch.hpp"
#include "fpq/backend/cpu/backward/head.hpp"
#include "fpq/backend/cpu/backward/linear.hpp"
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

/// -log softmax(x head^T)[label], summed.
double cross_entropy(std::vector<double> const& x, std::vector<float> const& head,
                     std::size_t width, std::vector<std::int32_t> const& labels) {
    double loss = 0;
    for (std::size_t t = 0; t < labels.size(); ++t) {
        double total = 0;
        double own = 0;
        for (std::size_t v = 0; v < head.size() / width && labels[t] >= 0; ++v) {
            double logit = 0;
            for (std::size_t j = 0; j < width; ++j) {
                logit += x[t * width + j] * static_cast<double>(head[v * width + j]);
            }
            total += std::exp(logit);
            own = v == static_cast<std::size_t>(labels[t]) ? logit : own;
        }
        loss += labels[t] >= 0 ? std::log(total) - own : 0.0;
    }
    return loss;
}

struct head_case {
    std::size_t tokens, width, vocab;
    std::vector<float> x, head;
    std::vector<std::int32_t> labels;

    head_case(std::size_t t, std::size_t w, std::size_t v)
        : tokens(t),
          width(w),
          vocab(v),
          x(random_values(t * w, 1, 1.0F)),
          head(random_values(v * w, 2, 0.5F)),
          labels(some_tokens(t, v)) {}

    [[nodiscard]] fpq::weight_rows table() const {
        return fpq::weight_rows::from_floats(head, vocab, width);
    }
    [[nodiscard]] std::vector<float> backward(int threads, fpq::label_draw const* draw,
                                              std::vector<fpq::label_score>& scores) {
        std::vector<float> dx(x.size(), -7.0F);
        scores.assign(tokens, {});
        fpq::cpu::score_workspace held;
        fpq::head_backward(fpq::cpu{threads}, fpq::as_view(std::as_const(x).data(), tokens, width),
                           table(), draw, labels, scores, fpq::as_view(dx.data(), tokens, width),
                           held);
        return dx;
    }
};

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

TEST_CASE("the gradient at the head's input is that of the cross entropy", "[backend]") {
    head_case c(5, 4, 1100);  // three tiles of the vocabulary, the last one ragged
    c.labels[2] = fpq::no_label;
    const auto expected = numeric_gradient(
        [&](const std::vector<double>& at) { return cross_entropy(at, c.head, c.width, c.labels); },
        widened(c.x));
    std::vector<fpq::label_score> scores;
    const std::vector<float> dx = c.backward(2, nullptr, scores);
    REQUIRE(worst_error(dx, expected) < 1e-6);
    REQUIRE(std::all_of(dx.begin() + 8, dx.begin() + 12, [](float v) { return v == 0.0F; }));
    double loss = 0;
    for (const fpq::label_score& s : scores) {
        loss += static_cast<double>(s.nll);
    }
    REQUIRE(loss == Approx(cross_entropy(widened(c.x), c.head, c.width, c.labels)).epsilon(1e-6));
    REQUIRE(scores[2].nll == 0.0F);
    REQUIRE(scores[2].square == 0.0F);
}

TEST_CASE("the squared gradient at the logits is told", "[backend]") {
    head_case c(1, 1, 2);  // logits 0 and 1: p = 1 / (1 + e), and the gradient is (p - 1, 1 - p)
    c.x = {1.0F};
    c.head = {0.0F, 1.0F};
    c.labels = {0};
    std::vector<fpq::label_score> scores;
    static_cast<void>(c.backward(1, nullptr, scores));
    const double p = 1 / (1 + std::exp(1.0));
    REQUIRE(scores[0].square == Approx(2 * (1 - p) * (1 - p)).epsilon(1e-6));
}

TEST_CASE("head gradients and drawn labels are the same for any number of threads", "[backend]") {
    head_case c(300, 12, 1100);  // more rows than are held at once
    const fpq::label_draw draw{5, 17, 3};
    std::vector<fpq::label_score> scores;
    const auto one = c.backward(1, &draw, scores);
    const auto labels = c.labels;
    for (const int threads : {2, 3, 7}) {
        c.labels.assign(300, fpq::no_label);
        REQUIRE(c.backward(threads, &draw, scores) == one);
        REQUIRE(c.labels == labels);
    }
    // Position t draws number `step` of stream + t, wherever the rows are cut.
    head_case later = c;
    later.tokens = 30;
    later.x.assign(c.x.begin() + 270 * 12, c.x.end());
    later.labels.assign(30, 0);
    const fpq::label_draw shifted{5, 17 + 270, 3};
    static_cast<void>(later.backward(1, &shifted, scores));
    REQUIRE(std::equal(later.labels.begin(), later.labels.end(), labels.begin() + 270));
    const fpq::label_draw other{5, 17, 4};
    static_cast<void>(c.backward(1, &other, scores));
    REQUIRE(c.labels != labels);
    // The gradient is that of the labels that were drawn.
    c.labels = labels;
    REQUIRE(c.backward(2, nullptr, scores) == one);
}

TEST_CASE("labels come as often as the softmax says", "[backend]") {
    constexpr std::size_t n = 20000, vocab = 6;
    head_case c(n, 1, vocab);
    c.x.assign(n, 1.0F);
    c.head = {0.0F, 1.0F, 2.0F, -1.0F, 0.5F, -3.0F};
    const fpq::label_draw draw{1, 0, 0};
    std::vector<fpq::label_score> scores;
    static_cast<void>(c.backward(2, &draw, scores));
    double total = 0;
    for (const float logit : c.head) {
        total += std::exp(static_cast<double>(logit));
    }
    for (std::size_t v = 0; v < vocab; ++v) {
        const double p = std::exp(static_cast<double>(c.head[v])) / total;
        const auto count = static_cast<double>(
            std::count(c.labels.begin(), c.labels.end(), static_cast<std::int32_t>(v)));
        INFO(v);
        // Five standard deviations of a binomial count.
        REQUIRE(std::abs(count - n * p) < 5 * std::sqrt(n * p * (1 - p)));
    }
}

TEST_CASE("logits that are not finite are refused", "[backend]") {
    head_case c(2, 2, 3);
    c.x[1] = std::numeric_limits<float>::infinity();
    std::vector<fpq::label_score> scores;
    REQUIRE_THROWS_WITH(c.backward(1, nullptr, scores),
                        "backward pass: logits: expected finite values, found NaN or infinity");
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

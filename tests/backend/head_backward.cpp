// SPDX-License-Identifier: Apache-2.0
// The backward verb of the head: its gradient against central differences of the cross entropy in
// double, its labels against the softmax.
#include "fpq/backend/cpu/backward/head.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "model/random_model.hpp"
#include "support/numeric_gradient.hpp"

using namespace fpq_test;

namespace {

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

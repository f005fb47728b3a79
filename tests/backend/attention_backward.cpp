// SPDX-License-Identifier: Apache-2.0
// The gradient of attention against a double loop in double, and that loop against central
// differences of the forward formula.
#include "fpq/backend/cpu/backward/attention.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "catch.hpp"
#include "model/random_model.hpp"
#include "support/numeric_gradient.hpp"

using namespace fpq_test;

namespace {

struct attention_case {
    std::size_t windows, length;
    fpq::attention_shape shape;
    std::size_t tokens = windows * length;
    std::size_t wide = shape.heads * shape.head_dim;
    std::size_t narrow = shape.kv_heads * shape.head_dim;
    std::vector<float> q = random_values(tokens * wide, 1, 1.5F);
    std::vector<float> k = random_values(tokens * narrow, 2, 1.5F);
    std::vector<float> v = random_values(tokens * narrow, 3, 1.0F);
    std::vector<float> dout = random_values(tokens * wide, 4, 1.0F);
};

struct attention_gradients {
    std::vector<double> q, k, v;
};

/// f(window's first row, query, head, its probabilities) for every query.
template <class F>
void for_each_query(attention_case const& c, std::vector<double> const& q,
                    std::vector<double> const& k, F const& f) {
    std::size_t const d = c.shape.head_dim;
    for (std::size_t t = 0; t < c.tokens; ++t) {
        std::size_t const first = t / c.length * c.length;
        for (std::size_t h = 0; h < c.shape.heads; ++h) {
            std::size_t const g = h / (c.shape.heads / c.shape.kv_heads);
            std::vector<double> p(t - first + 1, 0.0);
            double total = 0;
            for (std::size_t s = first; s <= t; ++s) {
                for (std::size_t i = 0; i < d; ++i) {
                    p[s - first] += q[t * c.wide + h * d + i] * k[s * c.narrow + g * d + i];
                }
                p[s - first] = std::exp(p[s - first] / std::sqrt(static_cast<double>(d)));
                total += p[s - first];
            }
            for (double& one : p) {
                one /= total;
            }
            f(first, t, h, g, p);
        }
    }
}

/// sum of dout times the output.
double forward(attention_case const& c, std::vector<double> const& q, std::vector<double> const& k,
               std::vector<double> const& v) {
    std::size_t const d = c.shape.head_dim;
    double sum = 0;
    for_each_query(c, q, k, [&](auto first, auto t, auto h, auto g, auto const& p) {
        for (std::size_t s = 0; s < p.size(); ++s) {
            for (std::size_t i = 0; i < d; ++i) {
                sum += static_cast<double>(c.dout[t * c.wide + h * d + i]) * p[s] *
                       v[(first + s) * c.narrow + g * d + i];
            }
        }
    });
    return sum;
}

/// By the full Jacobian of every softmax.
attention_gradients slow_backward(attention_case const& c) {
    auto const q = widened(c.q);
    auto const k = widened(c.k);
    std::size_t const d = c.shape.head_dim;
    double const scale = 1 / std::sqrt(static_cast<double>(d));
    attention_gradients out{std::vector<double>(q.size()), std::vector<double>(k.size()),
                            std::vector<double>(k.size())};
    for_each_query(c, q, k, [&](auto first, auto t, auto h, auto g, auto const& p) {
        std::vector<double> dp(p.size(), 0.0);
        for (std::size_t s = 0; s < p.size(); ++s) {
            for (std::size_t i = 0; i < d; ++i) {
                double const dy = static_cast<double>(c.dout[t * c.wide + h * d + i]);
                std::size_t const at = (first + s) * c.narrow + g * d + i;
                dp[s] += dy * static_cast<double>(c.v[at]);
                out.v[at] += p[s] * dy;
            }
        }
        for (std::size_t s = 0; s < p.size(); ++s) {
            double ds = 0;
            for (std::size_t r = 0; r < p.size(); ++r) {
                ds += dp[r] * p[r] * ((r == s ? 1.0 : 0.0) - p[s]);
            }
            for (std::size_t i = 0; i < d; ++i) {
                std::size_t const key = (first + s) * c.narrow + g * d + i;
                std::size_t const query = t * c.wide + h * d + i;
                out.q[query] += ds * scale * k[key];
                out.k[key] += ds * scale * q[query];
            }
        }
    });
    return out;
}

struct found_gradients {
    std::vector<float> q, k, v;
    friend bool operator==(found_gradients const&, found_gradients const&) = default;
};

found_gradients backward(attention_case const& c, int threads) {
    found_gradients out{std::vector<float>(c.q.size(), -7.0F),
                        std::vector<float>(c.k.size(), -7.0F),
                        std::vector<float>(c.k.size(), -7.0F)};
    fpq::attention_backward(fpq::cpu{threads}, fpq::as_view(c.q.data(), c.tokens, c.wide),
                            fpq::as_view(c.k.data(), c.tokens, c.narrow),
                            fpq::as_view(c.v.data(), c.tokens, c.narrow),
                            fpq::as_view(c.dout.data(), c.tokens, c.wide), c.shape, c.length,
                            fpq::as_view(out.q.data(), c.tokens, c.wide),
                            fpq::as_view(out.k.data(), c.tokens, c.narrow),
                            fpq::as_view(out.v.data(), c.tokens, c.narrow));
    return out;
}

}  // namespace

TEST_CASE("the slow gradient of attention is that of its formula", "[backend]") {
    const attention_case c{2, 5, {4, 2, 6}};
    const auto q = widened(c.q);
    const auto k = widened(c.k);
    const auto v = widened(c.v);
    const attention_gradients slow = slow_backward(c);
    const auto check = [](std::vector<double> const& a, std::vector<double> const& b) {
        for (std::size_t i = 0; i < a.size(); ++i) {
            REQUIRE(std::abs(a[i] - b[i]) < 1e-6);
        }
    };
    check(numeric_gradient([&](auto const& x) { return forward(c, x, k, v); }, q), slow.q);
    check(numeric_gradient([&](auto const& x) { return forward(c, q, x, v); }, k), slow.k);
    check(numeric_gradient([&](auto const& x) { return forward(c, q, k, x); }, v), slow.v);
}

TEST_CASE("the gradient of attention agrees with the double loop at tile borders", "[backend]") {
    for (const std::size_t length : {1U, 2U, 63U, 64U, 65U, 150U}) {
        for (const fpq::attention_shape shape :
             {fpq::attention_shape{4, 2, 8}, {3, 3, 2}, {6, 1, 10}}) {
            const attention_case c{length < 65 ? 2U : 1U, length, shape};
            const attention_gradients expected = slow_backward(c);
            const found_gradients found = backward(c, 1);
            INFO(length << " tokens, " << shape.heads << " heads");
            if (length > 1) {  // alone, a key has all the weight whatever it is
                REQUIRE(worst_error(found.q, expected.q) < 3e-6);
                REQUIRE(worst_error(found.k, expected.k) < 3e-6);
            } else {
                REQUIRE(*std::max_element(found.q.begin(), found.q.end()) < 1e-6F);
                REQUIRE(*std::max_element(found.k.begin(), found.k.end()) < 1e-6F);
            }
            REQUIRE(worst_error(found.v, expected.v) < 3e-6);
            REQUIRE(backward(c, 3) == found);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
// Tiled causal attention against a double loop.
#include "fpq/backend/cpu/attention.hpp"

#include <cmath>
#include <vector>

#include "catch.hpp"
#include "model/random_model.hpp"

namespace {

std::vector<double> slow_attention(const std::vector<float>& q, const std::vector<float>& k,
                                   const std::vector<float>& v, std::size_t tokens,
                                   const fpq::attention_shape& shape) {
    const std::size_t wide = shape.heads * shape.head_dim;
    const std::size_t narrow = shape.kv_heads * shape.head_dim;
    std::vector<double> out(tokens * wide, 0.0);
    for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t h = 0; h < shape.heads; ++h) {
            const std::size_t g = h / (shape.heads / shape.kv_heads);
            double total = 0;
            for (std::size_t s = 0; s <= t; ++s) {
                double dot = 0;
                for (std::size_t i = 0; i < shape.head_dim; ++i) {
                    dot += static_cast<double>(q[t * wide + h * shape.head_dim + i]) *
                           static_cast<double>(k[s * narrow + g * shape.head_dim + i]);
                }
                const double p = std::exp(dot / std::sqrt(static_cast<double>(shape.head_dim)));
                total += p;
                for (std::size_t i = 0; i < shape.head_dim; ++i) {
                    out[t * wide + h * shape.head_dim + i] +=
                        p * static_cast<double>(v[s * narrow + g * shape.head_dim + i]);
                }
            }
            for (std::size_t i = 0; i < shape.head_dim; ++i) {
                out[t * wide + h * shape.head_dim + i] /= total;
            }
        }
    }
    return out;
}

}  // namespace

TEST_CASE("tiled attention agrees with the double loop at every tile border", "[backend]") {
    for (const std::size_t tokens : {1U, 2U, 63U, 64U, 65U, 128U, 200U}) {
        for (const fpq::attention_shape shape :
             {fpq::attention_shape{4, 2, 8}, {3, 3, 2}, {6, 1, 10}}) {
            const std::size_t wide = shape.heads * shape.head_dim;
            const std::size_t narrow = shape.kv_heads * shape.head_dim;
            const auto q = fpq_test::random_values(tokens * wide, 1, 2.0F);
            const auto k = fpq_test::random_values(tokens * narrow, 2, 2.0F);
            const auto v = fpq_test::random_values(tokens * narrow, 3, 1.0F);
            const auto expected = slow_attention(q, k, v, tokens, shape);
            std::vector<float> first;
            for (const int threads : {1, 3}) {
                std::vector<float> found(tokens * wide, -1.0F);
                fpq::causal_attention(fpq::as_view(q.data(), tokens, wide),
                                      fpq::as_view(k.data(), tokens, narrow),
                                      fpq::as_view(v.data(), tokens, narrow),
                                      fpq::as_view(found.data(), tokens, wide), shape, threads);
                double worst = 0;
                for (std::size_t i = 0; i < found.size(); ++i) {
                    worst = std::max(worst, std::abs(static_cast<double>(found[i]) - expected[i]));
                }
                INFO(tokens << " tokens, " << shape.heads << " heads");
                REQUIRE(worst < 1e-5);
                first = threads == 1 ? found : first;
                REQUIRE(found == first);
            }
        }
    }
}

TEST_CASE("attention survives scores whose exponentials overflow", "[backend]") {
    const std::vector<float> q = {100.0F, 0.0F, 100.0F, 0.0F};
    const std::vector<float> k = {100.0F, 0.0F, -100.0F, 0.0F};
    const std::vector<float> v = {1.0F, 2.0F, 3.0F, 4.0F};
    std::vector<float> out(4);
    fpq::causal_attention(fpq::as_view(q.data(), 2, 2), fpq::as_view(k.data(), 2, 2),
                          fpq::as_view(v.data(), 2, 2), fpq::as_view(out.data(), 2, 2), {1, 1, 2},
                          1);
    REQUIRE(out == std::vector<float>{1.0F, 2.0F, 1.0F, 2.0F});
}

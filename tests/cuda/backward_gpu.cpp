// SPDX-License-Identifier: Apache-2.0
// The backward verbs of a GPU against those of the CPU on values that bf16 holds: gradients agree
// within bf16's rounding, drawn labels are where the CPU draws them, and the bytes are the same
// from run to run.
#include "gpu.hpp"
// (first: it ends the program where there is no device)

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "forward_support.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/api/backward.hpp"

namespace {

namespace cuda = fpq::cuda;
using fpq::bf16;
using fpq_test::on_device;
using fpq_test::on_host;
using fpq_test::poisoned;
using fpq_test::random_values;
using fpq_test::require_ok;

std::vector<double> widened(std::vector<bf16> const& x) {
    std::vector<double> out(x.size());
    std::transform(x.begin(), x.end(), out.begin(),
                   [](bf16 v) { return static_cast<double>(fpq::to_float(v)); });
    return out;
}

/// Each value within bf16's rounding of what it should be, and a little of the largest.
void require_close(std::vector<bf16> const& found, std::vector<double> const& expected,
                   double part = 1.0 / 128) {
    REQUIRE(found.size() == expected.size());
    double most = 0;
    for (double const e : expected) {
        most = std::max(most, std::abs(e));
    }
    for (std::size_t i = 0; i < found.size(); ++i) {
        INFO(i);
        REQUIRE(std::abs(static_cast<double>(fpq::to_float(found[i])) - expected[i]) <=
                std::abs(expected[i]) * part + most * 1e-4);
    }
}

constexpr std::size_t rows = 37;

}  // namespace

TEST_CASE("the gradient of RMSNorm") {
    for (std::size_t const cols : {8UL, 100UL, 256UL, 1000UL}) {
        std::size_t const stride = cols + 8;
        auto const x = random_values<bf16>(rows * stride, 1);
        auto const dy = random_values<bf16>(rows * stride, 2);
        auto const weight = random_values<float>(cols, 3);
        float const eps = 1e-5F;
        auto const on_x = on_device(x);
        auto const on_dy = on_device(dy);
        auto const on_weight = on_device(weight);
        auto const dx = poisoned<bf16>(rows * cols);
        require_ok(cuda::launch_rms_norm_backward({on_x.data(), stride}, on_weight.data(), eps,
                                                  rows, cols, {on_dy.data(), stride},
                                                  {dx.data(), cols}, nullptr));
        auto const xs = widened(x);
        auto const ds = widened(dy);
        std::vector<double> expected(rows * cols);
        for (std::size_t i = 0; i < rows; ++i) {
            double squares = 0;
            double dot = 0;
            for (std::size_t k = 0; k < cols; ++k) {
                double const v = xs[i * stride + k];
                squares += v * v;
                dot += v * static_cast<double>(weight[k]) * ds[i * stride + k];
            }
            double const n = static_cast<double>(cols);
            double const r = 1 / std::sqrt(squares / n + static_cast<double>(eps));
            for (std::size_t k = 0; k < cols; ++k) {
                expected[i * cols + k] = r * (static_cast<double>(weight[k]) * ds[i * stride + k] -
                                              xs[i * stride + k] * dot / n * r * r);
            }
        }
        require_close(on_host(dx), expected);
    }
}

TEST_CASE("the gradients of SiLU(gate) up") {
    std::size_t const cols = 77;
    auto const gate = random_values<bf16>(rows * cols, 4, 3.0F);
    auto const up = random_values<bf16>(rows * cols, 5);
    auto const dy = random_values<bf16>(rows * cols, 6);
    auto const on_gate = on_device(gate);
    auto const on_up = on_device(up);
    auto const on_dy = on_device(dy);
    require_ok(cuda::launch_silu_mul_backward({on_dy.data(), cols}, {on_gate.data(), cols},
                                              {on_up.data(), cols}, rows, cols, nullptr));
    auto const g = widened(gate);
    auto const u = widened(up);
    auto const d = widened(dy);
    std::vector<double> dg(g.size());
    std::vector<double> du(g.size());
    for (std::size_t i = 0; i < g.size(); ++i) {
        double const s = 1 / (1 + std::exp(-g[i]));
        dg[i] = d[i] * u[i] * s * (1 + g[i] * (1 - s));
        du[i] = d[i] * g[i] * s;
    }
    require_close(on_host(on_gate), dg);
    require_close(on_host(on_up), du);
}

TEST_CASE("gradients of heads turn back, through their norm where there is one") {
    for (bool const normed : {false, true}) {
        for (std::size_t const head_dim : {2UL, 32UL, 80UL, 256UL}) {
            std::size_t const heads = 3;
            std::size_t const length = 10;
            std::size_t const tokens = 2 * length;
            std::size_t const half = head_dim / 2;
            std::size_t const cols = heads * head_dim;
            auto const d = random_values<bf16>(tokens * cols, 7);
            auto const x = random_values<bf16>(tokens * cols, 8);
            auto const norm = random_values<float>(head_dim, 9);
            auto const angle = random_values<float>(length * half, 10, 2.0F);
            std::vector<float> c(angle.size());
            std::vector<float> s(angle.size());
            for (std::size_t i = 0; i < angle.size(); ++i) {
                c[i] = std::cos(angle[i]);
                s[i] = std::sin(angle[i]);
            }
            auto const on_d = on_device(d);
            auto const on_x = on_device(x);
            auto const on_c = on_device(c);
            auto const on_s = on_device(s);
            auto const on_norm = on_device(norm);
            cuda::rotate_back_args args;
            args.d = {on_d.data(), cols};
            args.x = {on_x.data(), cols};
            args.tokens = tokens;
            args.heads = heads;
            args.head_dim = head_dim;
            args.cos = on_c.data();
            args.sin = on_s.data();
            args.length = length;
            args.norm = normed ? on_norm.data() : nullptr;
            args.eps = 1e-6F;
            require_ok(cuda::launch_rotate_back(args, nullptr));
            auto expected = widened(d);
            auto const xs = widened(x);
            for (std::size_t t = 0; t < tokens; ++t) {
                for (std::size_t h = 0; h < heads; ++h) {
                    double* const e = expected.data() + t * cols + h * head_dim;
                    double const* const v = xs.data() + t * cols + h * head_dim;
                    double squares = 0;
                    double dot = 0;
                    for (std::size_t k = 0; k < half; ++k) {
                        auto const cosine = static_cast<double>(c[t % length * half + k]);
                        auto const sine = static_cast<double>(s[t % length * half + k]);
                        double const low = e[k] * cosine + e[k + half] * sine;
                        double const high = e[k + half] * cosine - e[k] * sine;
                        e[k] = low * (normed ? static_cast<double>(norm[k]) : 1.0);
                        e[k + half] = high * (normed ? static_cast<double>(norm[k + half]) : 1.0);
                    }
                    for (std::size_t k = 0; k < head_dim; ++k) {
                        squares += v[k] * v[k];
                        dot += v[k] * e[k];
                    }
                    double const n = static_cast<double>(head_dim);
                    double const r = 1 / std::sqrt(squares / n + 1e-6);
                    for (std::size_t k = 0; k < head_dim && normed; ++k) {
                        e[k] = r * (e[k] - v[k] * dot / n * r * r);
                    }
                }
            }
            require_close(on_host(on_d), expected);
        }
    }
}

TEST_CASE("rows are weighed by the mean square of another matrix") {
    std::size_t const cols = 50;
    std::size_t const wide = 300;
    auto const g = random_values<bf16>(rows * wide, 11, 1e-6F);
    auto const x = random_values<bf16>(rows * cols, 12);
    auto const on_g = on_device(g);
    auto const on_x = on_device(x);
    auto const weights = poisoned<float>(rows);
    auto const y = poisoned<bf16>(rows * cols);
    require_ok(cuda::launch_mean_squares({on_g.data(), wide}, rows, wide, weights.data(), nullptr));
    require_ok(cuda::launch_weigh_rows({on_x.data(), cols}, weights.data(), rows, cols,
                                       {y.data(), cols}, nullptr));
    auto const gs = widened(g);
    auto const xs = widened(x);
    std::vector<double> expected(rows * cols);
    for (std::size_t i = 0; i < rows; ++i) {
        double sum = 0;
        for (std::size_t k = 0; k < wide; ++k) {
            sum += gs[i * wide + k] * gs[i * wide + k];
        }
        for (std::size_t k = 0; k < cols; ++k) {
            expected[i * cols + k] = xs[i * cols + k] * std::sqrt(sum / static_cast<double>(wide));
        }
    }
    require_close(on_host(y), expected);
}

TEST_CASE("the gradient of attention's scores, of queries in the middle of a window") {
    std::size_t const heads = 2;
    std::size_t const queries = 5;
    std::size_t const first = 300;
    std::size_t const keys = first + queries;
    auto const scores = random_values<float>(heads * queries * keys, 13, 8.0F);
    auto const dp = random_values<float>(heads * queries * keys, 14);
    auto const on_scores = on_device(scores);
    auto const on_dp = on_device(dp);
    auto const p = poisoned<bf16>(scores.size());
    auto const ds = poisoned<bf16>(scores.size());
    float const scale = 0.25F;
    require_ok(cuda::launch_attention_scores_backward(
        {on_scores.data(), on_dp.data(), p.data(), ds.data(), heads, queries, first, scale},
        nullptr));
    std::vector<double> expected_p(scores.size());
    std::vector<double> expected_ds(scores.size());
    for (std::size_t i = 0; i < heads * queries; ++i) {
        std::size_t const visible = first + i % queries + 1;
        double sum = 0;
        double dot = 0;
        for (std::size_t j = 0; j < visible; ++j) {
            double const e = std::exp(static_cast<double>(scale * scores[i * keys + j]));
            sum += e;
            dot += e * static_cast<double>(dp[i * keys + j]);
        }
        for (std::size_t j = 0; j < visible; ++j) {
            double const one = std::exp(static_cast<double>(scale * scores[i * keys + j])) / sum;
            expected_p[i * keys + j] = one;
            expected_ds[i * keys + j] = static_cast<double>(scale) * one *
                                        (static_cast<double>(dp[i * keys + j]) - dot / sum);
        }
    }
    require_close(on_host(p), expected_p);
    require_close(on_host(ds), expected_ds);
}

TEST_CASE("cross entropy: labels given, drawn and missing") {
    for (std::size_t const vocab : {2UL, 31UL, 1024UL, 5000UL}) {
        auto const logits = random_values<float>(rows * vocab, 15, 3.0F);
        std::vector<float> uniform(rows);
        for (std::size_t i = 0; i < rows; ++i) {
            uniform[i] = static_cast<float>(i) / static_cast<float>(rows);
        }
        std::vector<std::int32_t> given(rows);
        for (std::size_t i = 0; i < rows; ++i) {
            given[i] = i % 5 == 0 ? -1 : static_cast<std::int32_t>(i * 7 % vocab);
        }
        auto const on_logits = on_device(logits);
        auto const on_uniform = on_device(uniform);
        for (bool const draws : {false, true}) {
            auto const labels = on_device(given);
            auto const gradient = poisoned<bf16>(rows * vocab);
            auto const nll = poisoned<float>(rows);
            auto const square = poisoned<float>(rows);
            require_ok(cuda::launch_cross_entropy_backward(
                {on_logits.data(), rows, vocab, draws ? on_uniform.data() : nullptr, labels.data(),
                 gradient.data(), nll.data(), square.data()},
                nullptr));
            auto const chosen = on_host(labels);
            auto const nlls = on_host(nll);
            auto const squares = on_host(square);
            std::vector<double> expected(rows * vocab);
            for (std::size_t i = 0; i < rows; ++i) {
                INFO("vocabulary " << vocab << ", row " << i);
                if (!draws && given[i] < 0) {
                    CHECK(chosen[i] < 0);
                    CHECK(nlls[i] == 0.0F);
                    CHECK(squares[i] == 0.0F);
                    continue;
                }
                double total = 0;
                for (std::size_t j = 0; j < vocab; ++j) {
                    total += std::exp(static_cast<double>(logits[i * vocab + j]));
                }
                auto const label = static_cast<std::size_t>(chosen[i]);
                REQUIRE(label < vocab);
                double before = 0;
                double norm = 0;
                for (std::size_t j = 0; j < vocab; ++j) {
                    double const p = std::exp(static_cast<double>(logits[i * vocab + j])) / total;
                    before += j < label ? p : 0.0;
                    expected[i * vocab + j] = p - (j == label ? 1.0 : 0.0);
                    norm += expected[i * vocab + j] * expected[i * vocab + j];
                }
                double const own = expected[i * vocab + label] + 1.0;
                if (draws) {
                    CHECK(before <= static_cast<double>(uniform[i]) + 1e-5);
                    CHECK(before + own >= static_cast<double>(uniform[i]) - 1e-5);
                } else {
                    CHECK(chosen[i] == given[i]);
                }
                CHECK(static_cast<double>(nlls[i]) == Approx(-std::log(own)).epsilon(1e-4));
                CHECK(static_cast<double>(squares[i]) == Approx(norm).epsilon(1e-3));
            }
            require_close(on_host(gradient), expected);
        }
    }
}

TEST_CASE("backward launchers refuse what is not there") {
    CHECK(!cuda::launch_mean_squares({nullptr, 8}, 1, 8, nullptr, nullptr).ok());
    auto const x = poisoned<bf16>(64);
    auto const out = poisoned<float>(8);
    CHECK(!cuda::launch_mean_squares({x.data(), 4}, 8, 8, out.data(), nullptr).ok());
    CHECK(cuda::launch_mean_squares({nullptr, 8}, 0, 8, nullptr, nullptr).ok());
    cuda::rotate_back_args args;
    args.head_dim = 258;
    CHECK(!cuda::launch_rotate_back(args, nullptr).ok());
}

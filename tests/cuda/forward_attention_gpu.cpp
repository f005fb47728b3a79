// SPDX-License-Identifier: Apache-2.0
// Causal attention on a GPU against the same in float64, row by row: sizes of heads, odd lengths,
// shared key heads, sliding windows; the same bits in every run and every batch.
#include "gpu.hpp"
// (first: it ends the program where there is no device)

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "forward_support.hpp"

namespace {

using namespace fpq_test;
namespace cuda = fpq::cuda;
using fpq::bf16;

struct attention_case {
    std::size_t windows, length, heads, kv_heads, head_dim, sliding;
};

/// q, k and v in one matrix, as a fused product leaves them, with a gap after each row.
struct attention_data {
    attention_case c;
    std::size_t stride;
    std::vector<bf16> x;

    explicit attention_data(attention_case const& of)
        : c(of),
          stride((of.heads + 2 * of.kv_heads) * of.head_dim + 8),
          x(random_values<bf16>(of.windows * of.length * stride, 20, 1.5F)) {
        for (std::size_t i = 0; i < x.size(); ++i) {
            if (i % stride >= stride - 8) {
                x[i].bits = 0xFFFF;  // NaN: not to be read
            }
        }
    }
    [[nodiscard]] std::size_t columns() const { return c.heads * c.head_dim; }
    [[nodiscard]] double at(std::size_t token, std::size_t column) const {
        return static_cast<double>(fpq::to_float(x[token * stride + column]));
    }
    /// The rows of one query.
    [[nodiscard]] std::vector<double> expected(std::size_t window, std::size_t i,
                                               std::size_t head) const {
        std::size_t const kv = c.heads * c.head_dim + head / (c.heads / c.kv_heads) * c.head_dim;
        std::size_t const first = window * c.length;
        std::size_t const from = c.sliding != 0 && i >= c.sliding ? i - c.sliding + 1 : 0;
        std::vector<double> p;
        for (std::size_t j = from; j <= i; ++j) {
            double dot = 0;
            for (std::size_t d = 0; d < c.head_dim; ++d) {
                dot += at(first + i, head * c.head_dim + d) * at(first + j, kv + d);
            }
            p.push_back(dot / std::sqrt(static_cast<double>(c.head_dim)));
        }
        double const top = *std::max_element(p.begin(), p.end());
        double sum = 0;
        for (double& s : p) {
            s = std::exp(s - top);
            sum += s;
        }
        std::vector<double> out(c.head_dim, 0.0);
        for (std::size_t j = from; j <= i; ++j) {
            for (std::size_t d = 0; d < c.head_dim; ++d) {
                out[d] += p[j - from] / sum * at(first + j, kv + c.kv_heads * c.head_dim + d);
            }
        }
        return out;
    }
    /// What the device makes of windows [from, from + count).
    [[nodiscard]] std::vector<bf16> run(std::size_t from, std::size_t count) const {
        auto const there = on_device(std::vector<bf16>(
            x.begin() + static_cast<std::ptrdiff_t>(from * c.length * stride),
            x.begin() + static_cast<std::ptrdiff_t>((from + count) * c.length * stride)));
        auto out = poisoned<bf16>(count * c.length * columns());
        cuda::attention_args args;
        args.q = {there.data(), stride};
        args.k = {there.data() + columns(), stride};
        args.v = {there.data() + columns() + c.kv_heads * c.head_dim, stride};
        args.out = {out.data(), columns()};
        args.windows = count;
        args.length = c.length;
        args.heads = c.heads;
        args.kv_heads = c.kv_heads;
        args.head_dim = c.head_dim;
        args.sliding = c.sliding;
        require_ok(cuda::launch_attention(args, nullptr));
        return on_host(out);
    }
};

/// Every `step`-th query of every head.
void attends(attention_case const& c, std::size_t step = 1) {
    attention_data const data(c);
    auto const found = widened(data.run(0, c.windows));
    double worst = 0;
    std::vector<float> all_found;
    std::vector<double> all_want;
    for (std::size_t w = 0; w < c.windows; ++w) {
        for (std::size_t head = 0; head < c.heads; ++head) {
            for (std::size_t i = (w + head) % step; i < c.length; i += step) {
                auto const want = data.expected(w, i, head);
                auto const begin =
                    found.begin() + static_cast<std::ptrdiff_t>(
                                        (w * c.length + i) * data.columns() + head * c.head_dim);
                std::vector<float> const row(begin,
                                             begin + static_cast<std::ptrdiff_t>(c.head_dim));
                double const error = relative_error(row, want);
                worst = error <= worst ? worst : error;  // a NaN stays
                all_found.insert(all_found.end(), row.begin(), row.end());
                all_want.insert(all_want.end(), want.begin(), want.end());
            }
        }
    }
    INFO(c.windows << " windows of " << c.length << ", heads " << c.heads << "/" << c.kv_heads
                   << " of " << c.head_dim << ", sliding " << c.sliding);
    CHECK(worst <= 1.5e-2);
    CHECK(relative_error(all_found, all_want) <= 4e-3);
}

}  // namespace

TEST_CASE("the GPU's attention is that of float64 for every size of head", "[gpu]") {
    for (std::size_t const dim : {8u, 16u, 64u, 72u, 80u, 96u, 112u, 128u, 192u, 256u}) {
        attends({2, 150, 4, 2, dim, 0});
        attends({1, 293, 2, 1, dim, 70});
    }
}

TEST_CASE("the GPU's attention takes windows of any length", "[gpu]") {
    for (std::size_t const length :
         {1u, 2u, 31u, 32u, 33u, 63u, 64u, 65u, 127u, 128u, 129u, 257u}) {
        attends({3, length, 2, 2, 128, 0});
        attends({2, length, 3, 1, 64, 0});
        attends({2, length, 2, 1, 256, 0});
    }
    attends({2, 2048, 8, 2, 128, 0}, 97);
    attends({1, 2047, 4, 4, 80, 0}, 61);
}

TEST_CASE("the GPU's attention shares key heads", "[gpu]") {
    for (std::size_t const heads : {1u, 6u, 7u, 40u}) {
        for (std::size_t const ratio : {1u, 2u, 5u, 7u, 8u}) {
            if (heads % ratio == 0) {
                attends({1, 130, heads, heads / ratio, 128, 0}, 3);
            }
        }
    }
    attends({70, 40, 2, 1, 64, 0});  // more pairs than are worked on together
}

TEST_CASE("the GPU's attention slides", "[gpu]") {
    for (std::size_t const sliding :
         {1u, 2u, 31u, 63u, 64u, 65u, 100u, 128u, 200u, 299u, 300u, 4096u}) {
        attends({1, 300, 2, 1, 128, sliding});
        attends({1, 300, 1, 1, 256, sliding});
        attends({1, 300, 2, 1, 64, sliding});
    }
}

TEST_CASE("the GPU's attention has the same bits in every run and every batch", "[gpu]") {
    for (std::size_t const dim : {64u, 128u, 256u}) {
        attention_data const data({5, 333, 8, 2, dim, 0});
        auto const all = data.run(0, 5);
        CHECK(same_bytes(all, data.run(0, 5)));
        std::size_t const window = 333 * data.columns();
        for (std::size_t w = 0; w < 5; ++w) {
            auto const first = all.begin() + static_cast<std::ptrdiff_t>(w * window);
            CHECK(same_bytes(data.run(w, 1), {first, first + static_cast<std::ptrdiff_t>(window)}));
        }
    }
}

TEST_CASE("what the GPU's attention cannot do is refused", "[gpu]") {
    auto x = poisoned<bf16>(4096);
    cuda::attention_args good;
    good.q = good.k = good.v = good.out = {x.data(), 64};
    good.windows = good.heads = good.kv_heads = 1;
    good.length = 4;
    good.head_dim = 64;
    auto const refused = [](cuda::attention_args const& args, char const* word) {
        auto const s = cuda::launch_attention(args, nullptr);
        INFO(s.text);
        CHECK(!s.ok());
        CHECK(std::strstr(s.text, word) != nullptr);
    };
    auto bad = good;
    bad.head_dim = 257;
    refused(bad, "head_dim");
    bad = good;
    bad.heads = 3;
    bad.kv_heads = 2;
    refused(bad, "kv_heads");
    bad = good;
    bad.k.stride = 60;
    refused(bad, "stride");
    bad = good;
    bad.v.data = x.data() + 1;
    refused(bad, "16 bytes");
    bad = good;
    bad.scale = -1;
    refused(bad, "scale");
}

// SPDX-License-Identifier: Apache-2.0
// Attention of one token to its cache on a GPU, against float64 and against the last row of a whole
// window's attention; what lies behind the last key is never read; the same bits in every run,
// every batch and every size of cache. Rotation at one position.
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

struct cached_case {
    std::size_t sequences, length, heads, kv_heads, head_dim;
};

/// q, k and v of whole windows, one below the other; the last token of each is the one asked for.
struct cached_data {
    cached_case c;
    std::vector<bf16> q;
    std::vector<bf16> k;
    std::vector<bf16> v;

    explicit cached_data(cached_case const& of)
        : c(of),
          q(random_values<bf16>(of.sequences * of.length * wide(), 30, 1.5F)),
          k(random_values<bf16>(of.sequences * of.length * narrow(), 31, 1.5F)),
          v(random_values<bf16>(of.sequences * of.length * narrow(), 32, 1.5F)) {}
    [[nodiscard]] std::size_t wide() const { return c.heads * c.head_dim; }
    [[nodiscard]] std::size_t narrow() const { return c.kv_heads * c.head_dim; }

    /// The result of a sequence's last token, every head.
    [[nodiscard]] std::vector<double> expected(std::size_t sequence) const {
        auto const at = [](std::vector<bf16> const& x, std::size_t i) {
            return static_cast<double>(fpq::to_float(x[i]));
        };
        std::size_t const first = sequence * c.length;
        std::vector<double> out(wide(), 0.0);
        for (std::size_t head = 0; head < c.heads; ++head) {
            std::size_t const column = head / (c.heads / c.kv_heads) * c.head_dim;
            std::size_t const own = (first + c.length - 1) * wide() + head * c.head_dim;
            std::vector<double> p;
            for (std::size_t t = 0; t < c.length; ++t) {
                double dot = 0;
                for (std::size_t d = 0; d < c.head_dim; ++d) {
                    dot += at(q, own + d) * at(k, (first + t) * narrow() + column + d);
                }
                p.push_back(dot / std::sqrt(static_cast<double>(c.head_dim)));
            }
            double const top = *std::max_element(p.begin(), p.end());
            double sum = 0;
            for (double& s : p) {
                s = std::exp(s - top);
                sum += s;
            }
            for (std::size_t t = 0; t < c.length; ++t) {
                for (std::size_t d = 0; d < c.head_dim; ++d) {
                    out[head * c.head_dim + d] +=
                        p[t] / sum * at(v, (first + t) * narrow() + column + d);
                }
            }
        }
        return out;
    }

    /// Last tokens of sequences [from, from + count), from caches with room for `capacity` tokens
    /// and NaN where there is none.
    [[nodiscard]] std::vector<bf16> run(std::size_t from, std::size_t count,
                                        std::size_t capacity) const {
        std::vector<bf16> queries;
        std::vector<bf16> keys(count * capacity * narrow(), bf16{0xFFFF});
        std::vector<bf16> values = keys;
        for (std::size_t s = 0; s < count; ++s) {
            std::size_t const first = (from + s) * c.length;
            auto const last =
                q.begin() + static_cast<std::ptrdiff_t>((first + c.length - 1) * wide());
            queries.insert(queries.end(), last, last + static_cast<std::ptrdiff_t>(wide()));
            std::size_t const size = c.length * narrow();
            std::copy_n(k.data() + first * narrow(), size, keys.data() + s * capacity * narrow());
            std::copy_n(v.data() + first * narrow(), size, values.data() + s * capacity * narrow());
        }
        auto const q_there = on_device(queries);
        auto const k_there = on_device(keys);
        auto const v_there = on_device(values);
        auto out = poisoned<bf16>(count * wide());
        cuda::cached_attention_args args;
        args.q = {q_there.data(), wide()};
        args.k = {k_there.data(), narrow()};
        args.v = {v_there.data(), narrow()};
        args.out = {out.data(), wide()};
        args.sequences = count;
        args.capacity = capacity;
        args.length = c.length;
        args.heads = c.heads;
        args.kv_heads = c.kv_heads;
        args.head_dim = c.head_dim;
        require_ok(cuda::launch_cached_attention(args, nullptr));
        return on_host(out);
    }

    /// The last row of each whole window.
    [[nodiscard]] std::vector<bf16> whole() const {
        auto const q_there = on_device(q);
        auto const k_there = on_device(k);
        auto const v_there = on_device(v);
        auto out = poisoned<bf16>(q.size());
        cuda::attention_args args;
        args.q = {q_there.data(), wide()};
        args.k = {k_there.data(), narrow()};
        args.v = {v_there.data(), narrow()};
        args.out = {out.data(), wide()};
        args.windows = c.sequences;
        args.length = c.length;
        args.heads = c.heads;
        args.kv_heads = c.kv_heads;
        args.head_dim = c.head_dim;
        require_ok(cuda::launch_attention(args, nullptr));
        auto const all = on_host(out);
        std::vector<bf16> last;
        for (std::size_t s = 0; s < c.sequences; ++s) {
            auto const at =
                all.begin() + static_cast<std::ptrdiff_t>(((s + 1) * c.length - 1) * wide());
            last.insert(last.end(), at, at + static_cast<std::ptrdiff_t>(wide()));
        }
        return last;
    }
};

void attends(cached_case const& c) {
    cached_data const data(c);
    auto const found = widened(data.run(0, c.sequences, c.length + 5));
    std::vector<double> want;
    for (std::size_t s = 0; s < c.sequences; ++s) {
        auto const one = data.expected(s);
        want.insert(want.end(), one.begin(), one.end());
    }
    INFO(c.sequences << " sequences of " << c.length << ", heads " << c.heads << "/" << c.kv_heads
                     << " of " << c.head_dim);
    CHECK(relative_error(found, want) <= 4e-3);
    CHECK(off_by_more_than_rounding(found, want, 2e-5) == 0);
    // A window's attention rounds its probabilities to bf16 as well.
    auto const whole = widened(data.whole());
    CHECK(relative_error(found, std::vector<double>(whole.begin(), whole.end())) <= 1e-2);
}

}  // namespace

TEST_CASE("the GPU's attention to a cache is that of float64 for every size of head", "[gpu]") {
    for (std::size_t const dim : {8u, 16u, 64u, 72u, 80u, 96u, 112u, 128u, 192u, 256u}) {
        attends({2, 150, 4, 2, dim});
        attends({1, 37, 2, 1, dim});
    }
}

TEST_CASE("the GPU's attention to a cache takes any number of keys", "[gpu]") {
    for (std::size_t length = 1; length <= 300; length += length < 70 ? 1 : 23) {
        attends({2, length, 8, 2, 128});
        attends({1, length, 2, 1, 64});
        attends({1, length, 5, 1, 256});
    }
    attends({3, 2048, 8, 2, 128});
}

TEST_CASE("the GPU's attention to a cache shares key heads", "[gpu]") {
    for (std::size_t const ratio : {1u, 2u, 3u, 4u, 5u, 7u, 8u, 9u, 16u, 24u}) {
        attends({2, 130, 3 * ratio, 3, 128});
        attends({1, 65, ratio, 1, 64});
    }
}

TEST_CASE("the GPU's attention to a cache has the same bits in every run, batch and cache",
          "[gpu]") {
    for (std::size_t const dim : {64u, 128u, 256u}) {
        cached_data const data({5, 211, 8, 2, dim});
        auto const all = data.run(0, 5, 300);
        CHECK(same_bytes(all, data.run(0, 5, 300)));
        CHECK(same_bytes(all, data.run(0, 5, 211)));
        for (std::size_t s = 0; s < 5; ++s) {
            auto const first = all.begin() + static_cast<std::ptrdiff_t>(s * data.wide());
            CHECK(same_bytes(data.run(s, 1, 300),
                             {first, first + static_cast<std::ptrdiff_t>(data.wide())}));
        }
    }
}

TEST_CASE("the GPU rotates single tokens at one position as it does in a window", "[gpu]") {
    constexpr std::size_t length = 21;
    constexpr std::size_t heads = 3;
    for (std::size_t const dim : {8u, 64u, 80u, 128u}) {
        auto const x = random_values<bf16>(length * 2 * heads * dim, 33);
        auto const cos = on_device(random_values<float>(length * dim / 2, 34));
        auto const sin = on_device(random_values<float>(length * dim / 2, 35));
        // The first `tokens` rows of `from`, positions `first` on.
        auto const rotated = [&](std::vector<bf16> const& from, std::size_t tokens,
                                 std::size_t first, std::size_t window) {
            auto there = on_device(from);
            cuda::rope_args args;
            args.q = {there.data(), 2 * heads * dim};
            args.k = {there.data() + heads * dim, 2 * heads * dim};
            args.tokens = tokens;
            args.heads = args.kv_heads = heads;
            args.head_dim = dim;
            args.cos = cos.data() + first * (dim / 2);
            args.sin = sin.data() + first * (dim / 2);
            args.length = window;
            require_ok(cuda::launch_rope(args, nullptr));
            return on_host(there);
        };
        auto const whole = rotated(x, length, 0, length);
        std::size_t const row = 2 * heads * dim;
        auto const rows_of = [&](std::vector<bf16> const& from, std::size_t first,
                                 std::size_t count) {
            auto const at = from.begin() + static_cast<std::ptrdiff_t>(first * row);
            return std::vector<bf16>(at, at + static_cast<std::ptrdiff_t>(count * row));
        };
        for (std::size_t const position : {0u, 1u, 20u}) {
            auto const one = rows_of(x, position, 1);
            std::vector<bf16> twice = one;
            twice.insert(twice.end(), one.begin(), one.end());
            auto const found = rotated(twice, 2, position, 1);
            CHECK(same_bytes(rows_of(found, 0, 1), rows_of(whole, position, 1)));
            CHECK(same_bytes(rows_of(found, 1, 1), rows_of(whole, position, 1)));
        }
    }
}

TEST_CASE("what the GPU's attention to a cache cannot do is refused", "[gpu]") {
    auto x = poisoned<bf16>(4096);
    cuda::cached_attention_args good;
    good.q = good.k = good.v = good.out = {x.data(), 64};
    good.sequences = good.heads = good.kv_heads = 1;
    good.capacity = 8;
    good.length = 4;
    good.head_dim = 64;
    auto const refused = [](cuda::cached_attention_args const& args, char const* word) {
        auto const s = cuda::launch_cached_attention(args, nullptr);
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
    bad.length = 9;
    refused(bad, "length");
    bad.length = 0;
    refused(bad, "length");
    bad = good;
    bad.k.stride = 60;
    refused(bad, "stride");
    bad = good;
    bad.v.data = x.data() + 1;
    refused(bad, "16 bytes");
    bad = good;
    bad.out.data = nullptr;
    refused(bad, "null");
    bad = good;
    bad.scale = -1;
    refused(bad, "scale");
}

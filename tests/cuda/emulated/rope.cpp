// SPDX-License-Identifier: Apache-2.0
// The kernel of rotation, lane by lane on the host: heads alone and four a group, in place and into
// slots, against plain loops of the same roundings.
#include "emulated/block.hpp"
//
#include <vector>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/forward/rope.cuh"
#include "support/gaussian.hpp"

using fpq::bf16;
namespace cuda = fpq::cuda;

namespace {

struct rope_case {
    std::size_t heads, kv_heads, head_dim;
    bool norm, stored;
};

constexpr std::size_t tokens = 5;

/// A head, normed where there are weights, and turned.
std::vector<double> turned(std::vector<double> x, std::vector<float> const& norm, bool normed,
                           float const* cosines, float const* sines) {
    std::size_t const half = x.size() / 2;
    double squares = 0;
    for (double const value : x) {
        squares += value * value;
    }
    double const inverse = 1 / std::sqrt(squares / static_cast<double>(x.size()) + 1e-6);
    for (std::size_t i = 0; normed && i < x.size(); ++i) {
        x[i] *= inverse * static_cast<double>(norm[i]);
    }
    for (std::size_t i = 0; i < half; ++i) {
        double const a = x[i];
        double const b = x[i + half];
        auto const c = static_cast<double>(cosines[i]);
        auto const s = static_cast<double>(sines[i]);
        x[i] = a * c - b * s;
        x[i + half] = b * c + a * s;
    }
    return x;
}

template <int Width, int Lanes, int Held>
void rotates(rope_case const& c) {
    std::size_t const half = c.head_dim / 2;
    std::size_t const all = c.heads + 2 * c.kv_heads;
    std::size_t const stride = all * c.head_dim;
    std::size_t const narrow = c.kv_heads * c.head_dim;
    std::vector<std::int32_t> const slots{4, 0, -1, 6, 2};
    std::vector<bf16> x;
    for (float const value : fpq_test::gaussian(tokens * stride, 43, c.head_dim, 2.0F)) {
        x.push_back(fpq::to_bf16(value));
    }
    auto const cosines = fpq_test::gaussian(tokens * half, 43, 1);
    auto const sines = fpq_test::gaussian(tokens * half, 43, 2);
    auto const q_norm = fpq_test::gaussian(c.head_dim, 43, 3, 0.2F, 1.0F);
    auto const k_norm = fpq_test::gaussian(c.head_dim, 43, 4, 0.2F, 1.0F);
    std::vector<bf16> there = x;
    std::vector<bf16> keys(7 * narrow, bf16{0xFFFF});
    std::vector<bf16> values = keys;
    bf16* const k = there.data() + c.heads * c.head_dim;
    cuda::rope_work work{};
    work.q = there.data();
    work.k = k;
    work.q_stride = work.k_stride = work.v_stride = stride;
    work.heads = static_cast<std::uint32_t>(c.heads);
    work.kv_heads = static_cast<std::uint32_t>(c.kv_heads);
    work.tokens = work.length = tokens;
    work.cos = cosines.data();
    work.sin = sines.data();
    work.q_norm = c.norm ? q_norm.data() : nullptr;
    work.k_norm = c.norm ? k_norm.data() : nullptr;
    work.eps = 1e-6F;
    work.keys = c.stored ? keys.data() : k;
    work.keys_stride = c.stored ? narrow : stride;
    work.slots = c.stored ? slots.data() : nullptr;
    work.v = k + narrow;
    work.heads_values = values.data();
    work.values_stride = narrow;
    work.map = cuda::plan_rope(c.head_dim, c.heads + (c.stored ? 2 : 1) * c.kv_heads,
                               Held == 1 ? tokens : 100000);
    REQUIRE((work.map.held == Held && work.map.lanes == Lanes && work.map.width == Width));
    std::size_t const groups = cuda::rope_threads / Lanes;
    emulated::block::run(
        dim3(static_cast<unsigned>((tokens * work.map.groups_a_token + groups - 1) / groups)),
        cuda::rope_threads, [&] { cuda::rope_kernel<Width, Lanes, Held>(work); });

    std::size_t wrong = 0;
    auto const check = [&](bf16 const* found, std::vector<double> const& want) {
        for (std::size_t i = 0; i < want.size(); ++i) {
            double const off = std::abs(static_cast<double>(fpq::to_float(found[i])) - want[i]);
            wrong += off <= std::abs(want[i]) / 256 + 1e-6 ? 0 : 1;
        }
    };
    auto const untouched = [&](bf16 const* found, bf16 const* from) {
        for (std::size_t i = 0; i < c.head_dim; ++i) {
            wrong += found[i].bits == from[i].bits ? 0 : 1;
        }
    };
    for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t h = 0; h < all; ++h) {
            std::size_t const at = t * stride + h * c.head_dim;
            bool const query = h < c.heads;
            bool const value = h >= c.heads + c.kv_heads;
            std::vector<double> head;
            for (std::size_t i = 0; i < c.head_dim; ++i) {
                head.push_back(static_cast<double>(fpq::to_float(x[at + i])));
            }
            auto const want = turned(head, query ? q_norm : k_norm, c.norm,
                                     cosines.data() + t * half, sines.data() + t * half);
            if (query || (!c.stored && !value)) {
                check(there.data() + at, want);
                continue;
            }
            untouched(there.data() + at, x.data() + at);
            if (!c.stored || slots[t] < 0) {
                continue;
            }
            std::size_t const head_of = h - c.heads - (value ? c.kv_heads : 0);
            std::size_t const to =
                static_cast<std::size_t>(slots[t]) * narrow + head_of * c.head_dim;
            value ? untouched(values.data() + to, x.data() + at) : check(keys.data() + to, want);
        }
    }
    for (std::size_t const slot : {1u, 3u, 5u}) {  // nobody's
        for (std::size_t i = 0; c.stored && i < narrow; ++i) {
            wrong += keys[slot * narrow + i].bits == 0xFFFF ? 0 : 1;
        }
    }
    INFO("heads " << c.heads << "+" << c.kv_heads << " of " << c.head_dim << ", norm " << c.norm
                  << ", stored " << c.stored << ", held " << Held);
    CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("a block's rotation is that of plain loops, in place and into slots", "[cuda]") {
    for (bool const norm : {false, true}) {
        for (bool const stored : {false, true}) {
            rotates<8, 16, 1>({6, 2, 256, norm, stored});
            rotates<8, 16, 4>({6, 2, 256, norm, stored});
            rotates<8, 8, 1>({3, 1, 128, norm, stored});
            rotates<8, 8, 4>({8, 4, 96, norm, stored});
            rotates<8, 4, 4>({5, 5, 64, norm, stored});
            rotates<4, 32, 1>({3, 3, 24, norm, stored});
        }
    }
}

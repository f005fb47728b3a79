// SPDX-License-Identifier: Apache-2.0
// The kernel of attention to pages, lane by lane on the host, against the same in float64.
#include "emulated/block.hpp"
//
#include <bit>
#include <limits>
#include <numeric>
#include <vector>

#include "catch.hpp"
#include "fpq/core/half.hpp"
#include "fpq/cuda/forward/paged_attention.cuh"
#include "support/gaussian.hpp"

using fpq::bf16;
namespace cuda = fpq::cuda;

namespace {

std::vector<bf16> random_values(std::size_t count, std::uint64_t stream) {
    std::vector<bf16> out;
    for (float const x : fpq_test::gaussian(count, 41, stream)) {
        out.push_back(fpq::to_bf16(x));
    }
    return out;
}

double wide(bf16 x) { return static_cast<double>(fpq::to_float(x)); }

struct heads_of {
    std::size_t heads, kv_heads, head_dim;
};

/// One row of each sequence, its pages backwards in a pool with NaN wherever nothing was stored.
struct step {
    heads_of h;
    std::vector<std::size_t> lengths;
    std::size_t page;
    std::vector<std::int32_t> pages;
    std::vector<std::size_t> tables;
    std::vector<bf16> q, k, v;

    step(heads_of const& heads, std::vector<std::size_t> of, std::size_t tokens_of_a_page)
        : h(heads), lengths(std::move(of)), page(tokens_of_a_page) {
        for (std::size_t const length : lengths) {
            tables.push_back(pages.size());
            pages.resize(pages.size() + (length + page - 1) / page);
        }
        std::iota(pages.rbegin(), pages.rend(), 0);
        q = random_values(lengths.size() * h.heads * h.head_dim, 1);
        k = random_values(pages.size() * page * h.kv_heads * h.head_dim, 2);
        v = random_values(k.size(), 3);
        for (std::size_t s = 0; s < lengths.size(); ++s) {
            for (std::size_t t = lengths[s]; t % page != 0; ++t) {
                std::fill_n(k.begin() + at(s, t, 0), h.kv_heads * h.head_dim, bf16{0x7FC0});
                std::fill_n(v.begin() + at(s, t, 0), h.kv_heads * h.head_dim, bf16{0x7FC0});
            }
        }
    }

    [[nodiscard]] std::ptrdiff_t at(std::size_t sequence, std::size_t t, std::size_t head) const {
        auto const number = static_cast<std::size_t>(pages[tables[sequence] + t / page]);
        return static_cast<std::ptrdiff_t>(((number * page + t % page) * h.kv_heads + head) *
                                           h.head_dim);
    }

    template <int Dim>
    [[nodiscard]] std::vector<bf16> run(unsigned splits) const {
        std::vector<cuda::paged_query> queries;
        std::size_t parts = 0;
        for (std::size_t s = 0; s < lengths.size(); ++s) {
            queries.push_back({static_cast<std::int32_t>(s), static_cast<std::int32_t>(lengths[s]),
                               static_cast<std::int32_t>(tables[s]),
                               static_cast<std::int32_t>(parts)});
            parts += (lengths[s] + cuda::paged_split - 1) / cuda::paged_split;
        }
        queries.push_back({0, 0, 0, 0});  // one that fills up: nothing happens
        std::vector<bf16> out(q.size(), bf16{0xFFFF});
        std::vector<float> partials((parts + 1) * cuda::paged_partials(h.heads, h.head_dim),
                                    std::numeric_limits<float>::quiet_NaN());
        std::vector<unsigned> counters(queries.size() * h.heads);
        cuda::paged_attention_work work{};
        work.q = q.data();
        work.k = k.data();
        work.v = v.data();
        work.out = out.data();
        work.q_stride = work.out_stride = h.heads * h.head_dim;
        work.k_stride = work.v_stride = h.kv_heads * h.head_dim;
        work.pages = pages.data();
        work.queries = queries.data();
        work.page_bits = static_cast<std::uint32_t>(std::countr_zero(page));
        work.kv_heads = static_cast<std::uint32_t>(h.kv_heads);
        work.queries_a_key = static_cast<std::uint32_t>(h.heads / h.kv_heads);
        work.chunks = (work.queries_a_key + 7) / 8;
        work.head_dim = static_cast<std::uint32_t>(h.head_dim);
        work.scale = static_cast<float>(std::log2(std::exp(1.0)) /
                                        std::sqrt(static_cast<double>(h.head_dim)));
        work.partials = partials.data();
        work.counters = counters.data();
        dim3 const grid(static_cast<unsigned>(queries.size()) * work.kv_heads * work.chunks,
                        splits);
        emulated::block::run(grid, cuda::paged_attention_threads,
                             [&] { cuda::paged_attention_kernel<Dim>(work); });
        CHECK(counters == std::vector<unsigned>(counters.size()));
        return out;
    }

    /// Values that are not within a rounding and 2e-5 of what they should be.
    [[nodiscard]] std::size_t wrong(std::vector<bf16> const& out) const {
        std::size_t count = 0;
        for (std::size_t s = 0; s < lengths.size(); ++s) {
            for (std::size_t head = 0; head < h.heads; ++head) {
                std::size_t const from = head / (h.heads / h.kv_heads);
                std::size_t const row = (s * h.heads + head) * h.head_dim;
                std::vector<double> p(lengths[s]);
                double sum = 0;
                for (std::size_t t = 0; t < p.size(); ++t) {
                    double dot = 0;
                    for (std::size_t i = 0; i < h.head_dim; ++i) {
                        dot += wide(q[row + i]) *
                               wide(k[static_cast<std::size_t>(at(s, t, from)) + i]);
                    }
                    p[t] = std::exp(dot / std::sqrt(static_cast<double>(h.head_dim)));
                    sum += p[t];
                }
                for (std::size_t i = 0; i < h.head_dim; ++i) {
                    double want = 0;
                    for (std::size_t t = 0; t < p.size(); ++t) {
                        want += p[t] / sum * wide(v[static_cast<std::size_t>(at(s, t, from)) + i]);
                    }
                    double const off = std::abs(wide(out[row + i]) - want);
                    count += off <= std::abs(want) / 256 + 2e-5 ? 0 : 1;
                }
            }
        }
        return count;
    }
};

}  // namespace

TEST_CASE("a block's attention to pages is that of float64", "[cuda]") {
    step const usual({8, 2, 128}, {1, 16, 17, 255, 256, 257, 600}, 16);
    CHECK(usual.wrong(usual.run<128>(2)) == 0);
    step const alone({4, 4, 128}, {40}, 64);
    CHECK(alone.wrong(alone.run<128>(1)) == 0);
    step const many({18, 2, 72}, {70, 5}, 4);  // nine heads of a key head: two blocks
    CHECK(many.wrong(many.run<128>(1)) == 0);
    step const narrow({4, 1, 64}, {300}, 32);
    CHECK(narrow.wrong(narrow.run<64>(1)) == 0);
    step const least({4, 2, 8}, {33}, 1);
    CHECK(least.wrong(least.run<64>(1)) == 0);
    step const broad({4, 1, 256}, {300, 20}, 16);
    CHECK(broad.wrong(broad.run<256>(2)) == 0);
    step const odd({2, 1, 136}, {20}, 16);
    CHECK(odd.wrong(odd.run<256>(1)) == 0);
}

TEST_CASE("a block's attention has the same bits however splits are shared out", "[cuda]") {
    step const s({8, 2, 128}, {700, 30}, 16);
    auto const same = [](std::vector<bf16> const& a, std::vector<bf16> const& b) {
        return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                          [](bf16 x, bf16 y) { return x.bits == y.bits; });
    };
    auto const one = s.run<128>(1);
    CHECK(same(one, s.run<128>(2)));
    CHECK(same(one, s.run<128>(5)));
}

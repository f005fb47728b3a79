// SPDX-License-Identifier: Apache-2.0
// Attention to keys and values in pages on a GPU: single rows and pieces of prompts against
// float64; a row has the same bits wherever its pages lie, whatever else is in the step and however
// its splits are shared out; what lies behind the last key is never read. The store of keys and
// values, and what is read from rows of logits.
#include "gpu.hpp"
// (first: it ends the program where there is no device)

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "forward_support.hpp"
#include "fpq/core/random.hpp"
#include "fpq/cuda/api/paged.hpp"

namespace {

using namespace fpq_test;
namespace cuda = fpq::cuda;
using fpq::bf16;

struct heads_of {
    std::size_t heads, kv_heads, head_dim;
    [[nodiscard]] std::size_t wide() const { return heads * head_dim; }
    [[nodiscard]] std::size_t narrow() const { return kv_heads * head_dim; }
};

/// Keys, values and queries of every position of one sequence.
struct one_sequence {
    heads_of h;
    std::size_t length;
    std::vector<bf16> q, k, v;

    one_sequence(heads_of const& of, std::size_t tokens, std::uint64_t stream)
        : h(of),
          length(tokens),
          q(random_values<bf16>(tokens * of.wide(), stream, 1.5F)),
          k(random_values<bf16>(tokens * of.narrow(), stream + 1, 1.5F)),
          v(random_values<bf16>(tokens * of.narrow(), stream + 2, 1.5F)) {}

    /// Attention of the query at `position`.
    [[nodiscard]] std::vector<double> expected(std::size_t position) const {
        auto const at = [](std::vector<bf16> const& x, std::size_t i) {
            return static_cast<double>(fpq::to_float(x[i]));
        };
        std::vector<double> out(h.wide(), 0.0);
        for (std::size_t head = 0; head < h.heads; ++head) {
            std::size_t const column = head / (h.heads / h.kv_heads) * h.head_dim;
            std::vector<double> p;
            for (std::size_t t = 0; t <= position; ++t) {
                double dot = 0;
                for (std::size_t d = 0; d < h.head_dim; ++d) {
                    dot += at(q, position * h.wide() + head * h.head_dim + d) *
                           at(k, t * h.narrow() + column + d);
                }
                p.push_back(dot / std::sqrt(static_cast<double>(h.head_dim)));
            }
            double const top = *std::max_element(p.begin(), p.end());
            double sum = 0;
            for (double& s : p) {
                s = std::exp(s - top);
                sum += s;
            }
            for (std::size_t t = 0; t <= position; ++t) {
                for (std::size_t d = 0; d < h.head_dim; ++d) {
                    out[head * h.head_dim + d] += p[t] / sum * at(v, t * h.narrow() + column + d);
                }
            }
        }
        return out;
    }
};

/// Rows of a step: of a sequence, `count` from `position` on.
struct asked {
    std::size_t sequence, position, count;
};

/// Sequences in a pool of pages that lie in a random order, NaN wherever nothing was stored.
struct pool {
    std::vector<one_sequence> const& sequences;
    std::size_t page;
    std::vector<std::size_t> tables;
    std::vector<std::int32_t> pages;
    std::vector<bf16> keys, values;

    pool(std::vector<one_sequence> const& all, std::size_t tokens_of_a_page, std::uint64_t seed)
        : sequences(all), page(tokens_of_a_page) {
        for (one_sequence const& s : all) {
            tables.push_back(pages.size());
            pages.resize(pages.size() + (s.length + page - 1) / page);
        }
        std::iota(pages.begin(), pages.end(), 3);  // three pages that are nobody's
        fpq::philox const source{seed, 77};
        for (std::size_t i = pages.size(); i > 1; --i) {
            std::swap(pages[i - 1], pages[source.below(i, static_cast<std::uint32_t>(i))]);
        }
        heads_of const& h = all[0].h;
        keys.assign((pages.size() + 3) * page * h.narrow(), bf16{0xFFFF});
        values = keys;
    }

    [[nodiscard]] std::int32_t slot(std::size_t sequence, std::size_t t) const {
        return static_cast<std::int32_t>(
            static_cast<std::size_t>(pages[tables[sequence] + t / page]) * page + t % page);
    }

    /// The rows that are asked, attended on the device after all that they see was stored there.
    [[nodiscard]] std::vector<std::vector<bf16>> run(std::vector<asked> const& rows,
                                                     std::size_t splits) const {
        heads_of const& h = sequences[0].h;
        std::vector<bf16> q, k, v;
        std::vector<std::int32_t> slots;
        std::vector<cuda::paged_query> singles;
        std::vector<cuda::paged_chunk> chunks;
        std::vector<cuda::paged_tile> tiles;
        std::size_t partial = 0;
        std::size_t row = 0;
        auto const number = [](std::size_t n) { return static_cast<std::int32_t>(n); };
        for (asked const& a : rows) {
            one_sequence const& s = sequences[a.sequence];
            auto const wide = static_cast<std::ptrdiff_t>(h.wide());
            auto const first = s.q.begin() + static_cast<std::ptrdiff_t>(a.position) * wide;
            q.insert(q.end(), first, first + static_cast<std::ptrdiff_t>(a.count) * wide);
            // Everything up to the last row, so that a step can stand alone in a test.
            for (std::size_t t = 0; t < a.position + a.count; ++t) {
                auto const narrow = static_cast<std::ptrdiff_t>(h.narrow());
                auto const at = static_cast<std::ptrdiff_t>(t) * narrow;
                k.insert(k.end(), s.k.begin() + at, s.k.begin() + at + narrow);
                v.insert(v.end(), s.v.begin() + at, s.v.begin() + at + narrow);
                slots.push_back(slot(a.sequence, t));
            }
            std::int32_t const table = number(tables[a.sequence]);
            if (a.count == 1) {
                singles.push_back({number(row), number(a.position + 1), table, number(partial)});
                partial += a.position / cuda::paged_split + 1;
            } else {
                for (std::size_t i = 0; i < a.count; i += cuda::chunk_queries(h.head_dim)) {
                    tiles.push_back({number(chunks.size()), number(i)});
                }
                chunks.push_back({number(row), number(a.count), number(a.position), table});
            }
            row += a.count;
        }
        singles.push_back({0, 0, 0, 0});  // one that fills up: nothing happens
        k.resize(k.size() + h.narrow(), bf16{0xFFFF});
        v.resize(v.size() + h.narrow(), bf16{0xFFFF});
        slots.push_back(-1);
        auto const q_there = on_device(q);
        auto const k_there = on_device(k);
        auto const v_there = on_device(v);
        auto const slots_there = on_device(slots);
        auto const pages_there = on_device(pages);
        auto const singles_there = on_device(singles);
        auto const keys_there = on_device(keys);
        auto const values_there = on_device(values);
        require_ok(cuda::launch_store_rows({k_there.data(), h.narrow()},
                                           {v_there.data(), h.narrow()}, slots.size(), h.narrow(),
                                           slots_there.data(), {keys_there.data(), h.narrow()},
                                           {values_there.data(), h.narrow()}, nullptr));
        auto out = poisoned<bf16>(q.size());
        cuda::paged_cache const cache{{keys_there.data(), h.narrow()},
                                      {values_there.data(), h.narrow()},
                                      pages_there.data(),
                                      page};
        auto partials = poisoned<float>((partial + 1) * cuda::paged_partials(h.heads, h.head_dim));
        cuda::device_buffer<unsigned> counters;
        require_ok(counters.resize(singles.size() * h.heads));
        require_ok(counters.fill(0));
        cuda::paged_attention_args args;
        args.q = {q_there.data(), h.wide()};
        args.out = {out.data(), h.wide()};
        args.cache = cache;
        args.queries = singles_there.data();
        args.count = singles.size();
        args.splits = splits;
        args.heads = h.heads;
        args.kv_heads = h.kv_heads;
        args.head_dim = h.head_dim;
        args.partials = partials.data();
        args.counters = counters.data();
        require_ok(cuda::launch_paged_attention(args, nullptr));
        for (unsigned const left : on_host(counters)) {
            REQUIRE(left == 0);
        }
        if (!tiles.empty()) {
            auto const chunks_there = on_device(chunks);
            auto const tiles_there = on_device(tiles);
            cuda::chunk_attention_args more;
            more.q = args.q;
            more.out = args.out;
            more.cache = cache;
            more.chunks = chunks_there.data();
            more.tiles = tiles_there.data();
            more.tile_count = tiles.size();
            more.heads = h.heads;
            more.kv_heads = h.kv_heads;
            more.head_dim = h.head_dim;
            require_ok(cuda::launch_chunk_attention(more, nullptr));
            static_cast<void>(on_host(out));  // tables live until here
        }
        std::vector<bf16> const all = on_host(out);
        std::vector<std::vector<bf16>> parts;
        std::size_t begin = 0;
        for (asked const& a : rows) {
            auto const from = all.begin() + static_cast<std::ptrdiff_t>(begin * h.wide());
            parts.emplace_back(from, from + static_cast<std::ptrdiff_t>(a.count * h.wide()));
            begin += a.count;
        }
        return parts;
    }
};

}  // namespace

TEST_CASE("the GPU's attention to pages is that of float64", "[gpu]") {
    std::vector<heads_of> const sizes{{4, 2, 8},  {4, 2, 64},   {6, 2, 72},
                                      {8, 8, 80}, {10, 2, 96},  {8, 2, 128},
                                      {9, 1, 64}, {16, 1, 128}, {4, 1, 256}};
    for (heads_of const& h : sizes) {
        std::vector<one_sequence> all;
        for (std::size_t const length : {1, 40, 256, 257, 700}) {
            all.emplace_back(h, length, 100 + 3 * length);
        }
        pool const lent(all, 16, 5);
        std::vector<asked> rows;
        for (std::size_t i = 0; i < all.size(); ++i) {
            rows.push_back({i, all[i].length - 1, 1});
        }
        rows.push_back({4, 0, 700});
        rows.push_back({3, 130, 127});
        rows.push_back({2, 3, 2});
        auto const parts = lent.run(rows, 3);
        for (std::size_t i = 0; i < rows.size(); ++i) {
            bool const chunk = rows[i].count != 1;
            std::vector<double> want;
            for (std::size_t t = 0; t < rows[i].count; ++t) {
                auto const one = all[rows[i].sequence].expected(rows[i].position + t);
                want.insert(want.end(), one.begin(), one.end());
            }
            INFO("heads " << h.heads << "/" << h.kv_heads << " of " << h.head_dim << ", rows "
                          << i);
            // Chunks round their probabilities to bf16 before the second product.
            CHECK(relative_error(widened(parts[i]), want) <= (chunk ? 1e-2 : 4e-3));
            if (!chunk) {
                CHECK(off_by_more_than_rounding(widened(parts[i]), want, 2e-5) == 0);
            }
        }
    }
}

TEST_CASE("the GPU's attention to pages has the same bits in any company and place", "[gpu]") {
    for (std::size_t const dim : {64u, 128u, 256u}) {
        heads_of const h{8, 2, dim};
        std::vector<one_sequence> all;
        for (std::size_t const length : {30, 400, 1100}) {
            all.emplace_back(h, length, 200 + 3 * length);
        }
        std::vector<asked> const rows{{2, 1099, 1}, {1, 100, 200}, {0, 29, 1}, {1, 399, 1}};
        auto const first = pool(all, 16, 1).run(rows, 1);
        for (std::size_t const splits : {2u, 4u, 64u}) {
            auto const other = pool(all, splits == 4 ? 64 : 1, splits).run(rows, splits);
            for (std::size_t i = 0; i < rows.size(); ++i) {
                CHECK(same_bytes(first[i], other[i]));
            }
        }
        for (std::size_t i = 0; i < rows.size(); ++i) {
            CHECK(same_bytes(first[i], pool(all, 32, 9).run({rows[i]}, 3)[0]));
        }
    }
}

TEST_CASE("a row of logits says the same on the GPU as in float64", "[gpu]") {
    for (std::size_t const vocab : {5u, 96u, 4096u, 50257u, 151936u}) {
        constexpr std::size_t rows = 5;
        std::vector<float> logits = gaussian(rows * vocab, 9, vocab, 3.0F);
        logits[vocab + 1] = logits[vocab + 4] = 60.0F;  // equal, and first of all
        logits[2 * vocab + 3] = std::numeric_limits<float>::quiet_NaN();
        logits[3 * vocab + 2] = std::numeric_limits<float>::infinity();
        std::vector<std::int32_t> const targets{4, -1, 0, 0, static_cast<std::int32_t>(vocab - 1)};
        std::vector<std::int32_t> const counts{5, 3, 1, 1, 1};
        auto const logits_there = on_device(logits);
        auto const targets_there = on_device(targets);
        auto const counts_there = on_device(counts);
        auto facts_there = poisoned<cuda::row_facts>(rows);
        auto parts_there = poisoned<cuda::score_part>(rows * cuda::row_facts_parts);
        auto arrived = on_device(std::vector<unsigned>(rows));
        require_ok(cuda::launch_row_facts(
            logits_there.data(), vocab, rows, vocab, targets_there.data(), counts_there.data(),
            {parts_there.data(), arrived.data()}, facts_there.data(), nullptr));
        CHECK(on_host(arrived) == std::vector<unsigned>(rows));
        auto const facts = on_host(facts_there);
        CHECK_FALSE(std::isfinite(facts[2].lse));
        CHECK_FALSE(std::isfinite(facts[3].lse));
        for (std::size_t const r : {0u, 1u, 4u}) {
            float const* const x = logits.data() + r * vocab;
            std::vector<std::int32_t> order(vocab);
            std::iota(order.begin(), order.end(), 0);
            std::stable_sort(order.begin(), order.end(),
                             [&](std::int32_t a, std::int32_t b) { return x[a] > x[b]; });
            double sum = 0;
            for (std::size_t j = 0; j < vocab; ++j) {
                sum += std::exp(static_cast<double>(x[j]) - static_cast<double>(x[order[0]]));
            }
            CAPTURE(vocab, r);
            CHECK(facts[r].lse ==
                  Approx(std::log(sum) + static_cast<double>(x[order[0]])).margin(2e-5));
            CHECK(facts[r].target == (targets[r] < 0 ? 0.0F : x[targets[r]]));
            REQUIRE(facts[r].listed == counts[r]);
            for (std::int32_t i = 0; i < counts[r]; ++i) {
                CHECK(facts[r].ids[i] == order[static_cast<std::size_t>(i)]);
                CHECK(facts[r].logits[i] == x[order[static_cast<std::size_t>(i)]]);
            }
        }
    }
}

TEST_CASE("launchers over pages refuse what they cannot do", "[gpu]") {
    auto x = poisoned<bf16>(4096);
    auto ints = poisoned<std::int32_t>(64);
    auto floats = poisoned<float>(4096);
    cuda::paged_attention_args good;
    good.q = good.out = {x.data(), 64};
    good.cache = {{x.data(), 64}, {x.data(), 64}, ints.data(), 16};
    good.queries = reinterpret_cast<cuda::paged_query const*>(ints.data());
    good.count = good.heads = good.kv_heads = 1;
    good.head_dim = 64;
    good.partials = floats.data();
    good.counters = reinterpret_cast<unsigned*>(ints.data());
    auto const refused = [](cuda::status const& s, char const* word) {
        INFO(s.text);
        CHECK(!s.ok());
        CHECK(std::strstr(s.text, word) != nullptr);
    };
    auto bad = good;
    bad.cache.page = 12;
    refused(cuda::launch_paged_attention(bad, nullptr), "power of two");
    bad = good;
    bad.head_dim = 12;
    refused(cuda::launch_paged_attention(bad, nullptr), "head_dim");
    bad = good;
    bad.partials = nullptr;
    refused(cuda::launch_paged_attention(bad, nullptr), "null");
    cuda::chunk_attention_args chunk;
    chunk.q = chunk.out = good.q;
    chunk.cache = good.cache;
    chunk.tile_count = chunk.heads = chunk.kv_heads = 1;
    chunk.head_dim = 64;
    refused(cuda::launch_chunk_attention(chunk, nullptr), "null");
    refused(cuda::launch_store_rows(good.q, good.q, 2, 60, ints.data(), good.q, good.q, nullptr),
            "multiple of 8");
    refused(cuda::launch_row_facts(floats.data(), 3, 1, 4, ints.data(), ints.data(), {}, nullptr,
                                   nullptr),
            "null");
}

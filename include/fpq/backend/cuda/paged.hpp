// SPDX-License-Identifier: Apache-2.0
// Floor 6. The verbs of an engine's step on a CUDA device; meanings are those of
// backend/cpu/paged.hpp and choose.hpp. Nothing between set_step and answer_rows waits for the
// device. Rows of a step are filled up to a few sizes, so that products have few shapes and steps
// of single rows can be recorded.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/backend/attention_shape.hpp"
#include "fpq/backend/cpu/choose.hpp"
#include "fpq/backend/cuda/forward.hpp"
#include "fpq/backend/cuda/generate.hpp"
#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/backend/cuda/staging.hpp"
#include "fpq/backend/cuda/status.hpp"
#include "fpq/backend/cuda/step_tables.hpp"
#include "fpq/backend/ragged.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/cuda/api/forward.hpp"
#include "fpq/cuda/api/paged.hpp"

namespace fpq {

/// cuBLAS and our own products sum a row in an order that depends on how many there are:
/// padded_rows leaves few different numbers, but a row's last bits may still depend on its company.
[[nodiscard]] inline gpu with_rows_alone(gpu b) { return b; }

/// 1, 2, 4 ... 64, then multiples of 64.
[[nodiscard]] inline std::size_t padded_rows(gpu const&, std::size_t rows) noexcept {
    constexpr std::size_t step = most_recorded_rows;
    return rows <= step ? std::bit_ceil(rows) : (rows + step - 1) / step * step;
}

[[nodiscard]] inline std::size_t logit_slice(gpu const&) noexcept { return 128; }

[[nodiscard]] inline gpu::page_store make_pages(gpu const& b, std::size_t slots,
                                                std::size_t kv_size) {
    return {make(b, slots, kv_size), make(b, slots, kv_size)};
}

/// Throws fpq::error (usage) for pages of another size than a power of two.
[[nodiscard]] inline gpu::step_tables make_step_tables(gpu const& b, ragged_limits const& most) {
    if (!std::has_single_bit(most.page)) {
        fail_usage("tokens of a page", "gpu", "a power of two", std::to_string(most.page));
    }
    return std::make_unique<gpu_step_tables>(b.context, most);
}

inline void set_step(gpu const& b, ragged_rows const& step, std::span<row_query const> queries,
                     attention_shape const& shape, gpu::step_tables& tables) {
    tables->set(step, queries, padded_rows(b, step.tokens.size()),
                queries.empty() ? 0 : padded_rows(b, queries.size()),
                cuda::chunk_queries(shape.head_dim));
    tables->make_room(shape.heads, shape.head_dim);
}

inline void embed_step(gpu const& b, gpu::table const& table, gpu::step_tables const& tables,
                       gpu::view hidden) {
    gpu::view const rows = detail::table_on_device(b, table);
    require_ok(cuda::launch_embed(tables->tokens(), rows.bf16_matrix().data, rows.rows,
                                  detail::stream_of(hidden, "embed"), b.context->stream()),
               {});
}

inline void rotate_and_store_step(gpu const& b, gpu::view q, gpu::view k, gpu::const_view v,
                                  std::size_t head_dim, gpu::vector const& q_norm,
                                  gpu::vector const& k_norm, float eps, gpu::rope const& rope,
                                  gpu::step_tables const& tables, gpu::page_store& pages) {
    cuda::rope_args args;
    args.q = q.bf16_matrix();
    args.k = k.bf16_matrix();
    args.tokens = q.rows;
    args.heads = q.cols / head_dim;
    args.kv_heads = k.cols / head_dim;
    args.head_dim = head_dim;
    args.cos = rope.cos.data();
    args.sin = rope.sin.data();
    args.length = rope.positions();
    args.positions = tables->positions();
    args.q_norm = q_norm.empty() ? nullptr : q_norm.data();
    args.k_norm = k_norm.empty() ? nullptr : k_norm.data();
    args.eps = eps;
    args.slots = tables->slots();
    args.v = v.bf16_matrix();
    args.keys = pages.keys.view().bf16_matrix();
    args.values = pages.values.view().bf16_matrix();
    require_ok(cuda::launch_rope(args, b.context->stream()), {});
}

inline void attend_step(gpu const& b, gpu::const_view q, attention_shape const& shape,
                        gpu::step_tables const& tables, gpu::page_store const& pages,
                        gpu::view out) {
    cuda::paged_cache const cache{pages.keys.view().bf16_matrix(),
                                  pages.values.view().bf16_matrix(), tables->pages(),
                                  tables->page()};
    if (tables->singles() != 0) {
        cuda::paged_attention_args args;
        args.q = q.bf16_matrix();
        args.out = out.bf16_matrix();
        args.cache = cache;
        args.queries = tables->queries();
        args.count = tables->singles();
        // Blocks for every multiprocessor of a large card several times over; with many sequences
        // one block walks over all splits of its own.
        constexpr std::size_t blocks = 1024;
        args.splits = std::clamp<std::size_t>(blocks / (args.count * shape.kv_heads), 1, 64);
        args.heads = shape.heads;
        args.kv_heads = shape.kv_heads;
        args.head_dim = shape.head_dim;
        args.partials = tables->partials();
        args.counters = tables->counters();
        require_ok(cuda::launch_paged_attention(args, b.context->stream()), {});
    }
    if (tables->chunk_tiles() != 0) {
        cuda::chunk_attention_args args;
        args.q = q.bf16_matrix();
        args.out = out.bf16_matrix();
        args.cache = cache;
        args.chunks = tables->chunks();
        args.tiles = tables->tiles();
        args.tile_count = tables->chunk_tiles();
        args.heads = shape.heads;
        args.kv_heads = shape.kv_heads;
        args.head_dim = shape.head_dim;
        require_ok(cuda::launch_chunk_attention(args, b.context->stream()), {});
    }
}

inline void gather_wanted(gpu const& b, gpu::const_view x, gpu::step_tables const& tables,
                          std::size_t first, gpu::view out) {
    // Rows of a matrix by their numbers, as rows of an embedding.
    require_ok(cuda::launch_embed(tables->wanted_rows() + first, x.bf16_matrix().data, x.rows,
                                  detail::stream_of(out, "gather_wanted"), b.context->stream()),
               {});
}

/// Steps of single rows are recorded by their number, where `repeatable`: the work does nothing on
/// the host that counts.
template <class F>
void run_step(gpu const& b, gpu::step_tables& tables, bool repeatable, F const& work) {
    if (repeatable && tables->only_decodes() && tables->rows() <= most_recorded_rows) {
        tables->record().run(*b.context, work);
    } else {
        work();
    }
}

inline void measure_wanted(gpu const& b, gpu::const_view logits, gpu::step_tables const& tables,
                           std::size_t first) {
    require_ok(
        cuda::launch_row_facts(static_cast<float const*>(logits.data), logits.stride, logits.rows,
                               logits.cols, tables->targets() + first, tables->counts() + first,
                               tables->facts_room(), tables->facts() + first, b.context->stream()),
        {});
}

namespace detail {

/// What the device did not settle: a choice at random, or a long list.
inline bool needs_logits(row_query const& q) noexcept {
    return (!q.target && q.temperature > 0.0F) || q.top > cuda::most_listed;
}

inline row_answer answer_of_facts(cuda::row_facts const& facts, row_query const& query) {
    row_answer out;
    out.finite = std::isfinite(facts.lse);
    if (!out.finite) {
        return out;
    }
    auto const logprob = [&](float logit) {
        return static_cast<float>(static_cast<double>(logit) - facts.lse);
    };
    out.token = query.target.value_or(facts.ids[0]);
    out.logprob = logprob(query.target ? facts.target : facts.logits[0]);
    auto const listed = std::min(query.top, static_cast<std::size_t>(facts.listed));
    for (std::size_t i = 0; i < listed; ++i) {
        out.top.emplace_back(facts.ids[i], logprob(facts.logits[i]));
    }
    return out;
}

}  // namespace detail

/// Greedy choices, log-probabilities and short lists come from the device; other rows' logits are
/// brought here, neighbours together, and answered by the CPU's verb.
inline void answer_rows(gpu const& b, gpu::const_view logits, gpu::step_tables& tables,
                        std::size_t first, std::span<row_query const> queries,
                        std::span<row_answer> answers) {
    auto const facts = tables->fetch_facts(first, queries.size());
    for (std::size_t i = 0; i < queries.size(); ++i) {
        answers[i] = detail::answer_of_facts(facts[i], queries[i]);
    }
    std::size_t const row = logits.cols * sizeof(float);
    std::size_t const most = std::max<std::size_t>(1, pinned_staging::piece / row);
    cpu const host{b.threads};
    cpu::tensor here;
    for (std::size_t begin = 0; begin < queries.size();) {
        std::size_t end = begin;
        while (end < queries.size() && end - begin < most && detail::needs_logits(queries[end])) {
            ++end;
        }
        if (end == begin) {
            ++begin;
            continue;
        }
        if (here.rows() < end - begin) {
            here = cpu::tensor(end - begin, logits.cols);
        }
        cpu::view const part = here.view().rows_at(0, end - begin);
        b.context->staging().to_host(part.data, logits.rows_at(begin, end - begin).data,
                                     (end - begin) * row, b.context->stream(), b.threads);
        answer_rows(host, part, cpu::step_tables{}, 0, queries.subspan(begin, end - begin),
                    answers.subspan(begin, end - begin));
        begin = end;
    }
}

}  // namespace fpq

// SPDX-License-Identifier: Apache-2.0
// Floor 6. Token by token on a CUDA device: keys and values of a layer in bf16, one query of each
// sequence against them, logits in float32. Tokens are drawn on the host, by the CPU's own verb:
// its random numbers, its order of sums.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "fpq/backend/attention_shape.hpp"
#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/backend/cpu/sample.hpp"
#include "fpq/backend/cuda/forward.hpp"
#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/backend/cuda/staging.hpp"
#include "fpq/backend/cuda/status.hpp"
#include "fpq/core/float_type.hpp"
#include "fpq/core/half.hpp"
#include "fpq/core/hosted/error.hpp"
#include "fpq/cuda/api/forward.hpp"

namespace fpq {

/// One tile of rows: cuBLAS chooses how to sum by the number of rows, so with always the same one a
/// sequence's text does not depend on how many there are or have room.
[[nodiscard]] inline std::size_t step_rows(gpu const&) noexcept { return 128; }

/// Bytes that caches may take beside `weights` values of weights in bf16, of what is free and of
/// the budget; `one` are those of a sequence. Throws fpq::error (device) when not one has room.
[[nodiscard]] inline std::size_t cache_room(gpu const& b, std::uint64_t weights, std::size_t one) {
    device_room const room = room_of(b);
    std::uint64_t const usable =
        room.bytes - room.bytes / 8;  // the rest: logits, what libraries keep
    std::uint64_t const held = weights * sizeof(bf16);
    if (held + one > usable) {
        fail(error_category::device, "not enough device memory to sample from the model",
             room.limit,
             std::to_string((held + one) >> 20) + " MiB for all weights and one sequence",
             std::to_string(usable >> 20) + " MiB");
    }
    return usable - held;
}

/// Uninitialized logits, float32.
[[nodiscard]] inline gpu::tensor make_logits(gpu const& b, std::size_t rows, std::size_t vocab) {
    return {b.context, float_type::fp32, rows, vocab};
}

/// The weight in bf16, as `linear` would round it at each call.
[[nodiscard]] inline gpu::tensor product_weight(gpu const& b, gpu::tensor weight) {
    return weight.view().type == float_type::bf16
               ? std::move(weight)
               : detail::converted(b, weight.view(), float_type::bf16, nullptr);
}

/// out (tokens, vocab) = x (tokens, hidden) table^T, rounded to out's type.
inline void logits(gpu const& b, gpu::const_view x, gpu::table const& table, gpu::view out) {
    detail::multiply(b, x, detail::table_on_device(b, table), out);
}

[[nodiscard]] inline gpu::cache make_cache(gpu const& b, std::size_t sequences, std::size_t tokens,
                                           std::size_t kv_size) {
    return {tokens, make(b, sequences * tokens, kv_size), make(b, sequences * tokens, kv_size)};
}

inline void cached_attention(gpu const& b, gpu::const_view q, gpu::const_view k, gpu::const_view v,
                             attention_shape const& shape, std::size_t position, gpu::cache& cache,
                             gpu::view out) {
    // Row i of these is that of sequence i at `position`.
    auto const place = [&](gpu::tensor const& all) {
        gpu::view rows = all.view().rows_at(position, q.rows);
        rows.stride *= cache.length;
        return rows;
    };
    copy(b, k, place(cache.keys));
    copy(b, v, place(cache.values));
    cuda::cached_attention_args args;
    args.q = q.bf16_matrix();
    args.k = cache.keys.view().bf16_matrix();
    args.v = cache.values.view().bf16_matrix();
    args.out = out.bf16_matrix();
    args.sequences = q.rows;
    args.capacity = cache.length;
    args.length = position + 1;
    args.heads = shape.heads;
    args.kv_heads = shape.kv_heads;
    args.head_dim = shape.head_dim;
    require_ok(cuda::launch_cached_attention(args, b.context->stream()), {});
}

/// See the CPU's; the logits on the device stay as they are.
inline void draw_tokens(gpu const& b, gpu::view logits, std::uint64_t seed, std::uint64_t stream,
                        std::uint64_t step, std::span<std::int32_t> tokens) {
    cpu const host{b.threads};
    std::size_t const row = logits.cols * sizeof(float);
    std::size_t const most = std::clamp<std::size_t>(pinned_staging::piece / row, 1, logits.rows);
    cpu::tensor here(most, logits.cols);
    for (std::size_t begin = 0; begin < logits.rows; begin += most) {
        std::size_t const count = std::min(most, logits.rows - begin);
        b.context->staging().to_host(here.view().data, logits.rows_at(begin, count).data,
                                     count * row, b.context->stream(), b.threads);
        draw_tokens(host, here.view().rows_at(0, count), seed, stream + begin, step,
                    tokens.subspan(begin, count));
    }
}

}  // namespace fpq

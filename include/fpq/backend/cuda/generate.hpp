// SPDX-License-Identifier: Apache-2.0
// Floor 6. Token by token on a CUDA device: not yet. Text that a model writes itself is sampled on
// the CPU's backend; a plan that asks for it here is refused before it begins.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "fpq/backend/attention_shape.hpp"
#include "fpq/backend/cuda/forward.hpp"
#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/core/hosted/error.hpp"

namespace fpq {

/// Throws fpq::error (usage): this backend cannot sample from a model.
[[noreturn]] inline void require_generation(gpu const&) {
    fail_usage("sampling from the model itself", "--device", "cpu, or a text to calibrate on",
               "cuda");
}

/// out (tokens, vocab) = x (tokens, hidden) table^T, rounded to out's type.
inline void logits(gpu const& b, gpu::const_view x, gpu::table const& table, gpu::view out) {
    detail::multiply(b, x, detail::table_on_device(b, table), out);
}

inline gpu::cache make_cache(gpu const& b, std::size_t, std::size_t, std::size_t) {
    require_generation(b);
}

inline void cached_attention(gpu const& b, gpu::const_view, gpu::const_view, gpu::const_view,
                             attention_shape const&, std::size_t, gpu::cache&, gpu::view) {
    require_generation(b);
}

inline void draw_tokens(gpu const& b, gpu::view, std::uint64_t, std::uint64_t, std::uint64_t,
                        std::span<std::int32_t>) {
    require_generation(b);
}

}  // namespace fpq

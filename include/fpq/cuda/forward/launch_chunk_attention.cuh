// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definition of launch_chunk_attention: checks, then the smallest kernel that holds a
// head.
#pragma once

#include <cuda_runtime.h>

#include <bit>
#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/paged.hpp"
#include "fpq/cuda/forward/attention_tile.hpp"
#include "fpq/cuda/forward/checks.hpp"
#include "fpq/cuda/forward/chunk_attention.cuh"
#include "fpq/cuda/forward/launch_paged_attention.cuh"

namespace fpq::cuda {

namespace detail {

template <int Dim>
status launch_chunk_dim(chunk_attention_args const& a, chunk_attention_work const& work,
                        cudaStream_t stream) {
    using tile = attention_tile<Dim>;
    static_assert(tile::queries == chunk_queries(Dim));
    std::size_t const blocks = a.tile_count * a.heads;
    if (blocks > 0x7FFFFFFFu) {
        return refuse("launch_chunk_attention: tiles", "fewer",
                      static_cast<long long>(a.tile_count));
    }
    auto const kernel = chunk_attention_kernel<Dim>;
    status const s = from_cuda(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, tile::shared),
        "launch_chunk_attention: shared memory");
    if (!s.ok()) {
        return s;
    }
    kernel<<<static_cast<unsigned>(blocks), tile::threads, tile::shared, stream>>>(work);
    return after_launch("launch_chunk_attention");
}

}  // namespace detail

status launch_chunk_attention(chunk_attention_args const& a, cudaStream_t stream) {
    char const* const who = "launch_chunk_attention";
    status s = check_heads(who, a.heads, a.kv_heads, a.head_dim);
    if (!s.ok() || a.tile_count == 0) {
        return s;
    }
    s = first_error(detail::check_pages(who, a.cache), check_attention(who, detail::rows_of(a)));
    s = first_error(s, check_given(who, {a.chunks, a.tiles}));
    if (!s.ok()) {
        return s;
    }
    chunk_attention_work const work{a.q.data,
                                    a.cache.keys.data,
                                    a.cache.values.data,
                                    a.out.data,
                                    a.q.stride,
                                    a.cache.keys.stride,
                                    a.cache.values.stride,
                                    a.out.stride,
                                    a.cache.pages,
                                    a.chunks,
                                    a.tiles,
                                    static_cast<std::uint32_t>(std::countr_zero(a.cache.page)),
                                    static_cast<std::uint32_t>(a.heads),
                                    static_cast<std::uint32_t>(a.heads / a.kv_heads),
                                    static_cast<std::uint32_t>(a.head_dim),
                                    scale_of_scores(a)};
    if (a.head_dim <= 64) {
        return detail::launch_chunk_dim<64>(a, work, stream);
    }
    if (a.head_dim <= 80) {
        return detail::launch_chunk_dim<80>(a, work, stream);
    }
    if (a.head_dim <= 96) {
        return detail::launch_chunk_dim<96>(a, work, stream);
    }
    return a.head_dim <= 128 ? detail::launch_chunk_dim<128>(a, work, stream)
                             : detail::launch_chunk_dim<256>(a, work, stream);
}

}  // namespace fpq::cuda

// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definition of launch_attention: checks, then the smallest kernel that holds a head.
#pragma once

#include <cuda_runtime.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/forward.hpp"
#include "fpq/cuda/forward/attention.cuh"
#include "fpq/cuda/forward/attention_tile.hpp"
#include "fpq/cuda/forward/checks.hpp"

namespace fpq::cuda {

namespace detail {

template <int Dim>
status launch_attention_dim(attention_args const& a, attention_work work, cudaStream_t stream) {
    using tile = attention_tile<Dim>;
    work.order.tiles = static_cast<std::uint32_t>((a.length + tile::queries - 1) / tile::queries);
    std::size_t const blocks = std::size_t{work.order.pairs} * work.order.tiles;
    if (blocks > 0x7FFFFFFFu) {
        return refuse("launch_attention: windows", "fewer", static_cast<long long>(a.windows));
    }
    auto const kernel = attention_kernel<Dim>;
    status const s = from_cuda(
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, tile::shared),
        "launch_attention: shared memory");
    if (!s.ok()) {
        return s;
    }
    kernel<<<static_cast<unsigned>(blocks), tile::threads, tile::shared, stream>>>(work);
    return after_launch("launch_attention");
}

}  // namespace detail

status launch_attention(attention_args const& a, cudaStream_t stream) {
    char const* const who = "launch_attention";
    status s = check_heads(who, a.heads, a.kv_heads, a.head_dim);
    if (!s.ok() || a.windows == 0 || a.length == 0) {
        return s;
    }
    if (a.length > 0x3FFFFFFFu) {
        return refuse("launch_attention: length", "up to 1073741823",
                      static_cast<long long>(a.length));
    }
    if (a.windows * a.heads > 0x7FFFFFFFu) {
        return refuse("launch_attention: windows", "windows * heads up to 2147483647",
                      static_cast<long long>(a.windows));
    }
    if (s = check_attention(who, a); !s.ok()) {
        return s;
    }
    attention_work const work{a.q.data,
                              a.k.data,
                              a.v.data,
                              a.out.data,
                              a.q.stride,
                              a.k.stride,
                              a.v.stride,
                              a.out.stride,
                              static_cast<std::uint32_t>(a.length),
                              static_cast<std::uint32_t>(a.heads),
                              static_cast<std::uint32_t>(a.heads / a.kv_heads),
                              static_cast<std::uint32_t>(a.head_dim),
                              static_cast<std::uint32_t>(a.sliding < a.length ? a.sliding : 0),
                              scale_of_scores(a),
                              {static_cast<std::uint32_t>(a.windows * a.heads), 0}};
    if (a.head_dim <= 64) {
        return detail::launch_attention_dim<64>(a, work, stream);
    }
    if (a.head_dim <= 80) {
        return detail::launch_attention_dim<80>(a, work, stream);
    }
    if (a.head_dim <= 96) {
        return detail::launch_attention_dim<96>(a, work, stream);
    }
    return a.head_dim <= 128 ? detail::launch_attention_dim<128>(a, work, stream)
                             : detail::launch_attention_dim<256>(a, work, stream);
}

}  // namespace fpq::cuda

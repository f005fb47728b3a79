// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definition of launch_hessian: checks, then the path.
#pragma once

#include <algorithm>
#include <cstddef>

#include "fpq/cuda/api/gptq.hpp"
#include "fpq/cuda/gptq/hessian_blas.hpp"
#include "fpq/cuda/gptq/hessian_launch.cuh"
#include "fpq/cuda/gptq/linear_algebra.hpp"

namespace fpq::cuda {

namespace detail {

/// One call's worth of tokens by the path asked for.
inline status launch_hessian_part(linear_algebra& libraries, cudaStream_t stream,
                                  hessian_args const& args) {
    char const* const why = tiles_refuse(args);
    bool const tiles = why == nullptr && args.path != hessian_path::blas && tiles_can_run();
    if (tiles) {
        return launch_tiles(stream, args);
    }
    if (args.path == hessian_path::tiles) {
        return unsupported("launch_hessian: path", "inputs and a device for our tiles",
                           why != nullptr ? why : "no kernels for sm_90a, or no such device");
    }
    return hessian_by_blas(libraries, args);
}

}  // namespace detail

status launch_hessian(linear_algebra& libraries, cudaStream_t stream, hessian_args const& args) {
    auto const number = [](std::size_t x) { return static_cast<long long>(x); };
    if (args.cols == 0 || args.cols > 0x7FFFFFFFu || args.tokens > 0x7FFFFFFFu) {
        return refuse("launch_hessian: cols and tokens", "1 to 2147483647",
                      number(std::max(args.cols, args.tokens)));
    }
    if (args.x_stride < args.cols) {
        return refuse("launch_hessian: x_stride", "cols or more", number(args.x_stride));
    }
    if (args.h == nullptr || (args.x == nullptr && args.tokens != 0)) {
        return refuse("launch_hessian: x, h", "device pointers", "null");
    }
    if (status s = libraries.use(stream); !s.ok()) {
        return s;
    }
    if (args.tokens == 0) {
        return args.accumulate
                   ? status{}
                   : from_cuda(
                         cudaMemsetAsync(args.h, 0, args.cols * args.cols * sizeof(float), stream),
                         "launch_hessian: memset");
    }
    hessian_args part = args;
    for (std::size_t done = 0; done < args.tokens; done += part.tokens) {
        part.x = static_cast<unsigned char const*>(args.x) +
                 done * args.x_stride * float_bytes(args.type);
        part.tokens = std::min(hessian_tokens, args.tokens - done);
        part.accumulate = args.accumulate || done != 0;
        if (status s = detail::launch_hessian_part(libraries, stream, part); !s.ok()) {
            return s;
        }
    }
    return {};
}

}  // namespace fpq::cuda

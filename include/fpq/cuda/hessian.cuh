// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Definition of launch_hessian: checks, then the path.
#pragma once

#include <algorithm>
#include <cstddef>

#include "fpq/cuda/api_gptq.hpp"
#include "fpq/cuda/hessian_blas.hpp"
#include "fpq/cuda/hessian_launch.cuh"
#include "fpq/cuda/linear_algebra.hpp"

namespace fpq::cuda {

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
    char const* const why = detail::tiles_refuse(args);
    bool const tiles = why == nullptr && detail::tiles_can_run();
    switch (args.path) {
        case hessian_path::blas:
            break;
        case hessian_path::automatic:
            if (tiles) {
                return detail::launch_tiles<2>(stream, args);
            }
            break;
        case hessian_path::tiles:
        case hessian_path::clusters:
            if (!tiles) {
                return unsupported("launch_hessian: path",
                                   "one that these inputs and this device have",
                                   why != nullptr ? why : "tiles without sm_90a");
            }
            return args.path == hessian_path::tiles ? detail::launch_tiles<1>(stream, args)
                                                    : detail::launch_tiles<2>(stream, args);
    }
    return hessian_by_blas(libraries, args);
}

}  // namespace fpq::cuda

// SPDX-License-Identifier: Apache-2.0
// Wing cuda. Host side of the W4A16 tiles: the two launches.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstddef>
#include <cstdint>

#include "fpq/cuda/api/gemm.hpp"
#include "fpq/cuda/api/status.hpp"
#include "fpq/cuda/gemm/w4a16_tiles.cuh"
#include "fpq/cuda/gemm/w4a16_tiles_image.cuh"
#include "fpq/cuda/ptx/launch_overlapping.cuh"
#include "fpq/cuda/ptx/tensor_map.hpp"

namespace fpq::cuda::detail {

/// The image of the activations, then the product, which may begin while the image is written.
template <class Math, class Weight, class Tile>
status launch_tile(w4a16_args args, w4a16_plan const& plan, std::uint8_t* image, bool overlap,
                   cudaStream_t stream) noexcept {
    args.alpha = std::ldexp(args.alpha, -Weight::template shift<Math>);
    CUtensorMap codes{};
    tensor_matrix const matrix{
        CU_TENSOR_MAP_DATA_TYPE_UINT8, args.codes,       args.k / 2, args.n, args.row_bytes,
        w4a16_tiles::block / 2,        w4a16_tiles::rows};
    status s = describe_matrix("launch_w4a16", matrix, codes);
    auto* const kernel = &w4a16_tiles_kernel<Math, Weight, Tile>;
    if (s.ok()) {
        s = from_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                           static_cast<int>(Tile::shared)),
                      "launch_w4a16: shared memory");
    }
    auto const token_blocks = static_cast<unsigned>(plan.token_blocks);
    unsigned const blocks = (args.k + w4a16_tiles::block - 1) / w4a16_tiles::block;
    unsigned const pieces = token_blocks * blocks;
    if (s.ok()) {
        launch_shape const shape{dim3((pieces * Tile::tokens * 8 + 255) / 256), dim3(256), 0,
                                 stream};
        // Measured: with more splits or tokens an early start costs more than it gives.
        s = launch_kernel("launch_w4a16: image", &w4a16_image_kernel<Tile::tokens>, shape,
                          overlap && plan.windows <= 2 && Tile::tokens <= 64, args, blocks, pieces,
                          image);
    }
    launch_shape const shape{
        dim3(static_cast<unsigned>(plan.windows), token_blocks, static_cast<unsigned>(plan.ctas)),
        dim3(w4a16_tiles::threads), Tile::shared, stream};
    return s.ok() ? launch_kernel("launch_w4a16: tiles", kernel, shape, true, codes, args, image)
                  : s;
}

/// The workspace: counters, the image, sums of splits.
template <class Math, class Weight>
status launch_tiles(w4a16_args args, w4a16_plan const& plan, void* workspace, bool overlap,
                    cudaStream_t stream) noexcept {
    auto* const image = static_cast<std::uint8_t*>(workspace) + plan.head_bytes;
    args.partials = reinterpret_cast<float*>(image + plan.body_bytes);
    switch (plan.token_tiles) {
        case 4:
            return launch_tile<Math, Weight, w4a16_tile<32>>(args, plan, image, overlap, stream);
        case 8:
            return launch_tile<Math, Weight, w4a16_tile<64>>(args, plan, image, overlap, stream);
        default:
            return launch_tile<Math, Weight, w4a16_tile<128>>(args, plan, image, overlap, stream);
    }
}

}  // namespace fpq::cuda::detail

// SPDX-License-Identifier: Apache-2.0
// Wing cuda. A matrix as the copy engine of sm_90 needs it described: boxes of it go to shared
// memory, zero outside, in the 128-byte swizzle.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "fpq/cuda/api/status.hpp"

namespace fpq::cuda::detail {

/// A row-major matrix of `type`, and the box that one copy takes; box_cols fill 128 bytes.
struct tensor_matrix {
    CUtensorMapDataType type;
    void const* data;  // on 16 bytes
    std::size_t cols, rows;
    std::size_t stride_bytes;  // from row to row, a multiple of 16
    std::uint32_t box_cols, box_rows;
};

/// Describes it. The driver is asked for its encoder, so nothing links to it.
inline status describe_matrix(char const* who, tensor_matrix const& m, CUtensorMap& map) {
    using encoder = decltype(&cuTensorMapEncodeTiled);
    static encoder const encode = [] {
        void* found = nullptr;
        cudaDriverEntryPointQueryResult result{};
        static_cast<void>(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &found, 12000,
                                                           cudaEnableDefault, &result));
        return result == cudaDriverEntryPointSuccess ? reinterpret_cast<encoder>(found) : nullptr;
    }();
    char what[64];
    std::snprintf(what, sizeof what, "%s: cuTensorMapEncodeTiled", who);
    if (encode == nullptr) {
        return unsupported(what, "a driver that has it", "none");
    }
    cuuint64_t const sizes[2] = {m.cols, m.rows};
    cuuint64_t const strides[1] = {m.stride_bytes};
    cuuint32_t const box[2] = {m.box_cols, m.box_rows};
    cuuint32_t const every[2] = {1, 1};
    CUresult const result =
        encode(&map, m.type, 2, const_cast<void*>(m.data), sizes, strides, box, every,
               CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
               CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    status s;
    if (result != CUDA_SUCCESS) {
        s = refuse(what, "CUDA_SUCCESS (0)", static_cast<long long>(result));
        s.code = status_code::device;
    }
    return s;
}

}  // namespace fpq::cuda::detail

// SPDX-License-Identifier: Apache-2.0
// Floor 6. Plans and workspaces of products with packed weights, kept from call to call.
#pragma once

#include <cublasLt.h>
#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "fpq/backend/cuda/gpu_context.hpp"
#include "fpq/backend/cuda/status.hpp"
#include "fpq/cuda/api/gemm.hpp"
#include "fpq/format/block.hpp"

namespace fpq {

/// Plans and workspaces of packed products. Calls follow each other on one stream, so workspaces
/// are shared by those whose counters lie in as many bytes: a workspace begins with counters that
/// every call leaves zero, and what follows them means nothing between calls.
class gpu_packed_products {
public:
    /// out (m, n) = x w^T + bias on the context's stream.
    void multiply(std::shared_ptr<gpu_context> const& context, cuda::w4a16_problem const& problem,
                  cuda::w4a16_operands operands) {
        cuda::w4a16_plan const& plan = plan_of(problem);
        gpu_array<std::uint8_t>& workspace = workspaces_[plan.head_bytes];
        if (workspace.size() < plan.workspace_bytes) {
            // Recorded steps still write into the smaller one.
            outgrown_.push_back(std::move(workspace));
            workspace = gpu_array<std::uint8_t>(context, plan.workspace_bytes);
            require_cuda(cudaMemsetAsync(workspace.data(), 0, workspace.size(), context->stream()),
                         "workspace of a product");
        }
        operands.workspace = workspace.data();
        operands.workspace_bytes = workspace.size();
        // A cuBLAS handle is one of cuBLASLt, too.
        // Weights were there before the engine's first step.
        operands.overlap_previous = true;
        operands.blas = reinterpret_cast<cublasLtHandle_t>(context->libraries().blas());
        require_ok(cuda::launch_w4a16(problem, operands, context->stream()), {});
    }

private:
    struct shape {
        bool nv;
        std::size_t m, n, k;
        auto operator<=>(shape const&) const = default;
    };

    cuda::w4a16_plan const& plan_of(cuda::w4a16_problem const& p) {
        shape const key{p.format == nvfp4, p.m, p.n, p.k};
        auto const at = plans_.find(key);
        if (at != plans_.end()) {
            return at->second;
        }
        cuda::w4a16_plan plan;
        require_ok(cuda::plan_w4a16(p, /*with_blas=*/true, /*aligned=*/true, &plan), {});
        return plans_.emplace(key, plan).first->second;
    }

    std::map<shape, cuda::w4a16_plan> plans_;
    std::map<std::size_t, gpu_array<std::uint8_t>> workspaces_;  // by bytes of counters
    std::vector<gpu_array<std::uint8_t>> outgrown_;
};

}  // namespace fpq

// SPDX-License-Identifier: Apache-2.0
// Floor 6. The score verb of a CUDA device: the vocabulary goes by tiles, logits are never whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fpq/backend/cuda/gpu.hpp"
#include "fpq/backend/cuda/load.hpp"
#include "fpq/backend/score.hpp"
#include "fpq/cuda/api/score.hpp"

namespace fpq {

inline void score_rows(gpu const& b, scored_head<gpu> const& model,
                       scored_head<gpu> const& reference, std::span<std::int32_t const> targets,
                       std::span<position_score> scores, gpu::score_workspace& held) {
    auto const part = [&](scored_head<gpu> const& one) {
        cuda::score_model out;
        if (one.head != nullptr) {
            out.hidden = one.input.bf16_matrix().data;
            out.head = detail::table_on_device(b, *one.head).bf16_matrix().data;
            out.cols = one.input.cols;
        }
        return out;
    };
    gpu_array<std::int32_t> const wanted = detail::array_of(b, targets.data(), scores.size());
    gpu_array<cuda::position_score> const found(b.context, scores.size());
    cuda::score_args args;
    args.model = part(model);
    args.reference = part(reference);
    args.rows = scores.size();
    args.vocab = model.head->rows();
    args.targets = wanted.data();
    args.out = found.data();
    require_ok(cuda::launch_score(b.context->libraries(), b.context->stream(), args, held.tiles),
               {});
    std::vector<cuda::position_score> there(scores.size());
    b.context->staging().to_host(there.data(), found.data(),
                                 there.size() * sizeof(cuda::position_score), b.context->stream(),
                                 b.threads);
    for (std::size_t i = 0; i < there.size(); ++i) {
        scores[i] = {there[i].nll, there[i].reference_nll, there[i].kl, there[i].same_top != 0};
    }
}

}  // namespace fpq

// SPDX-License-Identifier: Apache-2.0
// Floor 2. The candidates of eight searches, one a lane: each is scored by a near error first, and
// exactly only where the near errors leave a choice. The winner is the first candidate with the
// least exact error, whatever order they were scored in.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/core/hosted/simd_level.hpp"
#include "fpq/quant/kernels/lane_errors.hpp"
#include "fpq/quant/kernels/lane_near.hpp"

namespace fpq::kernels {

class lane_candidates {
public:
    /// square: the loss is a square, else |d|^2.4; most: candidates of a list at most.
    lane_candidates(bool integer, bool weighted, bool square, std::size_t most)
        : near_(most * lane_groups), step_(most * lane_groups), code_(most) {
        for (std::vector<std::size_t>& r : rivals_of_) {
            r.reserve(most);  // so that choose() never allocates
        }
        simd_level const level = active_simd_level();
        try_ = try_candidate_at(level, integer, weighted, square);
        exact_ = lane_errors_at(level, integer, weighted, square);
        rivals_ = rivals_at(level);
        scores.over = square ? near_square_ratio : near_power_over;
        scores.under = square ? near_square_ratio : near_power_under;
        scores.near = near_.data();
        scores.step = step_.data();
    }
    lane_candidates(lane_candidates const&) = delete;
    lane_candidates& operator=(lane_candidates const&) = delete;

    /// Begins a new list.
    void clear() noexcept { tried_ = 0; }

    /// Scores the next candidate; `code` is for the caller. False: no lane's list goes on.
    bool add(lane_block const& block, lane_source const& from, lane_test test, int code) noexcept {
        if (!try_(block, scores, from, test, tried_)) {
            return false;
        }
        code_[tried_++] = code;
        return true;
    }

    /// Chooses. set(l, code): makes the block ready for that candidate of lane l.
    template <class Set>
    void choose(lane_block const& block, Set set) noexcept {
        float best[lane_groups];  // exact errors of the winners, or more
        for (std::size_t l = 0; l < lane_groups; ++l) {
            best[l] = scores.least[l] * scores.under;
            rivals_of_[l].clear();
        }
        unsigned open = 0;  // lanes with rivals
        for (std::size_t k = 0; k < tried_; ++k) {
            unsigned found = rivals_(scores, k, best);
            open |= found;
            for (; found != 0; found &= found - 1) {
                rivals_of_[static_cast<std::size_t>(std::countr_zero(found))].push_back(k);
            }
        }
        for (std::size_t l = 0; l < lane_groups; ++l) {
            next_[l] = 0;
            open &= rivals_of_[l].size() > 1 ? ~0u : ~(1u << l);  // the winner is one
        }
        if (open == 0) {
            return;
        }
        std::size_t at[lane_groups];
        for (std::size_t l = 0; l < lane_groups; ++l) {
            at[l] = static_cast<std::size_t>(scores.winner[l]);
        }
        score(block, at, best, set);
        while (advance(open, best, at)) {
            float error[lane_groups];
            score(block, at, error, set);
            for (unsigned left = open; left != 0; left &= left - 1) {
                auto const l = static_cast<std::size_t>(std::countr_zero(left));
                auto const k = static_cast<std::int32_t>(at[l]);
                if (error[l] < best[l] || (error[l] == best[l] && k < scores.winner[l])) {
                    best[l] = error[l];
                    scores.winner[l] = k;
                }
            }
        }
    }

    /// Of the chosen one.
    [[nodiscard]] int code(std::size_t l) const noexcept {
        return code_[static_cast<std::size_t>(scores.winner[l])];
    }

    /// unit, top, reach, heavy and half are the caller's.
    lane_scores scores{};

private:
    /// at = the next rivals of the open lanes; lanes without one are closed. False: all are.
    bool advance(unsigned& open, float const* best, std::size_t* at) noexcept {
        for (unsigned left = open; left != 0; left &= left - 1) {
            auto const l = static_cast<std::size_t>(std::countr_zero(left));
            float const limit = best[l] * scores.over + 0x1p-110F;
            std::vector<std::size_t> const& rivals = rivals_of_[l];
            std::size_t i = next_[l];
            while (i < rivals.size() && (static_cast<std::int32_t>(rivals[i]) == scores.winner[l] ||
                                         scores.near[rivals[i] * lane_groups + l] > limit)) {
                ++i;
            }
            next_[l] = i + 1;
            if (i < rivals.size()) {
                at[l] = rivals[i];
            } else {
                open &= ~(1u << l);
            }
        }
        return open != 0;
    }

    template <class Set>
    void score(lane_block const& block, std::size_t const* at, float* error, Set set) noexcept {
        float step[lane_groups];
        for (std::size_t l = 0; l < lane_groups; ++l) {
            step[l] = scores.step[at[l] * lane_groups + l];
            set(l, code_[at[l]]);
        }
        exact_(block, step, error);
    }

    try_candidate_function try_;
    lane_errors_function exact_;
    rivals_function rivals_;
    std::vector<float> near_;
    std::vector<float> step_;
    std::vector<int> code_;
    std::vector<std::size_t> rivals_of_[lane_groups];
    std::size_t tried_ = 0;
    std::size_t next_[lane_groups] = {};  // rival to look at
};

}  // namespace fpq::kernels

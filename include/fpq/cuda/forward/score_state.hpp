// SPDX-License-Identifier: Apache-2.0
// Wing cuda. What is known of one position's distribution after some of its logits, and how two
// such parts join. Host and device: a test on the CPU joins parts in many ways.
//
//   sum   = sum of e^(x - most)
//   cross = sum of e^(x - most) (x - y), y another model's logits: KL(x || y) =
//           cross / sum + lse(y) - lse(x)
#pragma once

#include <cmath>
#include <cstdint>

#include "fpq/core/bits.hpp"
#include "fpq/core/config.hpp"

namespace fpq::cuda {

struct score_part {
    float most = bits_of<float>(0xFF800000u);  // -infinity: nothing seen yet
    std::int32_t index = 0x7FFFFFFF;           // the first place of `most`
    double sum = 0;
    double cross = 0;

    [[nodiscard]] FPQ_HD double log_sum() const noexcept {
        return log(sum) + static_cast<double>(most);
    }
    /// e^(most - to), 0 for a part that has seen nothing.
    [[nodiscard]] FPQ_HD double weight(float to) const noexcept {
        return most == to ? 1.0 : static_cast<double>(expf(most - to));
    }
};

/// Both parts' logits together; of equal ones the first place.
FPQ_HD inline score_part join(score_part const& a, score_part const& b) noexcept {
    score_part out;
    out.most = a.most < b.most ? b.most : a.most;
    out.index = a.most != b.most ? (a.most < b.most ? b.index : a.index)
                                 : (a.index < b.index ? a.index : b.index);
    double const x = a.weight(out.most);
    double const y = b.weight(out.most);
    out.sum = a.sum * x + b.sum * y;
    out.cross = a.cross * x + b.cross * y;
    return out;
}

/// One position between two tiles of the vocabulary.
struct score_state {
    score_part model;
    score_part reference;
    float target = 0;            // the logit of the next token
    float reference_target = 0;  // the reference's
};

/// What one position says, as the CPU's evaluation has it.
struct position_score {
    float nll = 0;            // 0 without a target
    float reference_nll = 0;  // 0 without a reference or a target
    float kl = 0;             // KL(reference || model)
    std::int32_t same_top =
        0;  // 1: both hold the same token for the most likely, the first of equals
};

FPQ_HD inline position_score finished(score_state const& s, bool target, bool reference) noexcept {
    position_score out;
    double const lse = s.model.log_sum();
    if (target) {
        out.nll = static_cast<float>(lse - static_cast<double>(s.target));
    }
    if (reference) {
        double const reference_lse = s.reference.log_sum();
        if (target) {
            out.reference_nll =
                static_cast<float>(reference_lse - static_cast<double>(s.reference_target));
        }
        out.kl = static_cast<float>(s.reference.cross / s.reference.sum + (lse - reference_lse));
        out.same_top = s.model.index == s.reference.index ? 1 : 0;
    }
    return out;
}

}  // namespace fpq::cuda

// SPDX-License-Identifier: Apache-2.0
// Floor 7. What a quantized client does to the inputs of its linears.
#pragma once

#include <optional>

#include "fpq/format/quant_args.hpp"
#include "fpq/transform/transform.hpp"

namespace fpq {

/// What a quantized client does to one input before the linears read it.
struct input_treatment {
    std::optional<block_transform> transform;
    std::optional<quant_args> quantized;  ///< empty: the input stays as it is
    float global_scale = 1.0F;
};

/// Does it to x, (tokens, inputs), in place.
template <class B>
void treat(B const& b, input_treatment const& how, typename B::view x) {
    if (how.transform) {
        transform_inputs(b, *how.transform, x);
    }
    if (how.quantized) {
        fake_quantize(b, *how.quantized, how.global_scale, x);
    }
}

}  // namespace fpq

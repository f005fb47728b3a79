// SPDX-License-Identifier: Apache-2.0
// Floor 8. Calibration windows that the model itself writes (texts.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "fpq/io/text/token_windows.hpp"
#include "fpq/model/generate.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/progress.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/texts.hpp"

namespace fpq {

template <class B>
token_windows sample_windows(B const& b, calibration_args const& args, opened_model<B> const& model,
                             progress_sink const& progress) {
    progress({"sample", 0, 1, "from the model"});
    sample_options options;
    options.sequences = args.num_sequences;
    options.length = args.sequence_length;
    options.first_token = first_token(model);
    options.seed = args.seed;
    options.cache_bytes = sample_room(b, model.graph(), options.length);
    std::vector<std::int32_t> tokens;
    {
        std::vector<decoder_layer<B>> layers;
        for (std::size_t layer = 0; layer < model.config().layers; ++layer) {
            layer_hooks<B> hooks;
            layers.push_back(model.load(b, layer, hooks));
            for (linear_weights<B>& linear : layers.back().linears) {
                linear.weight = product_weight(b, std::move(linear.weight));
            }
        }
        tokens = sample_tokens<B>(b, model.network(), layers, options);
    }
    trim(b);  // the layers were most of the memory; what comes next needs other things
    token_windows windows;
    for (std::size_t w = 0; w < options.sequences; ++w) {
        auto const begin = tokens.begin() + static_cast<std::ptrdiff_t>(w * options.length);
        windows.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(options.length));
    }
    progress({"sample", 1, 1, "from the model"});
    return windows;
}

}  // namespace fpq

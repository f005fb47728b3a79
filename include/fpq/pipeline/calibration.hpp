// SPDX-License-Identifier: Apache-2.0
// Floor 8. Where the calibration windows come from: a text, or the model itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "fpq/io/chat/chat_template.hpp"
#include "fpq/io/text/document.hpp"
#include "fpq/io/text/text.hpp"
#include "fpq/io/text/text_windows.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"
#include "fpq/model/generate.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/report.hpp"
#include "fpq/pipeline/streams.hpp"

namespace fpq {

/// Windows sampled from the model itself: text of its own distribution, without any data. Starts at
/// BOS where the tokenizer has one. Holds all layers while it samples.
template <class B>
token_windows sample_windows(B const& b, calibration_args const& args, opened_model<B> const& model,
                             progress_sink const& progress) {
    progress({"sample", 0, 1, "from the model"});
    std::vector<decoder_layer<B>> layers;
    for (std::size_t layer = 0; layer < model.config().layers; ++layer) {
        layer_hooks<B> hooks;
        layers.push_back(model.load(layer, hooks));
    }
    sample_options options;
    options.sequences = args.num_sequences;
    options.length = args.sequence_length;
    options.first_token = tokenizer::open(model.directory()).bos().value_or(-1);
    options.seed = args.seed;
    std::vector<std::int32_t> const tokens = sample_tokens<B>(b, model.network(), layers, options);
    token_windows windows;
    for (std::size_t w = 0; w < options.sequences; ++w) {
        auto const begin = tokens.begin() + static_cast<std::ptrdiff_t>(w * options.length);
        windows.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(options.length));
    }
    progress({"sample", 1, 1, "from the model"});
    return windows;
}

/// The windows of a plan: from a file or directory, or sampled from the model itself.
/// Throws fpq::error (input) when the text is too short.
template <class B>
calibration_cut load_calibration_windows(B const& b, calibration_args const& args,
                                         opened_model<B> const& model,
                                         progress_sink const& progress) {
    if (args.dataset == "self") {
        return {sample_windows(b, args, model, progress), 0, 0, false, 0, 0};
    }
    tokenizer const words = tokenizer::open(model.directory());
    progress({"tokenize", 0, 1, args.dataset});
    text_options const how{chat_style_of(words), args.text_column,
                           open_chat_template(model.directory())};
    text_source const text = load_text(args.dataset, how);
    window_options options;
    options.sequence_length = args.sequence_length;
    options.num_sequences = args.num_sequences;
    options.seed = args.seed;
    options.is_plain_text = text.is_plain_text;
    calibration_cut cut = calibration_windows(words, text.documents, options);
    if (text.conversations != 0 && !how.chat) {
        cut.remarks.push_back(std::to_string(text.conversations) +
                              " conversations are joined without a chat template: the checkpoint "
                              "has none");
    }
    progress({"tokenize", 1, 1, args.dataset});
    return cut;
}

}  // namespace fpq

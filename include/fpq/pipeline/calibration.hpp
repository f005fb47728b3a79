// SPDX-License-Identifier: Apache-2.0
// Floor 8. The calibration windows as hidden states that advance through the model, one decoder
// layer at a time; and where those windows come from.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "fpq/io/text/text.hpp"
#include "fpq/io/text/text_windows.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"
#include "fpq/model/decoder.hpp"
#include "fpq/model/generate.hpp"
#include "fpq/pipeline/opened_model.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/report.hpp"

namespace fpq {

/// Hidden states (windows * tokens, hidden) in float32, all windows of one length.
class hidden_states {
public:
    hidden_states(decoder const& network, std::vector<std::vector<std::int32_t>> const& windows)
        : network_(network),
          tokens_(windows.front().size()),
          width_(network.config().hidden_size),
          states_(windows.size() * tokens_ * width_) {
        for (std::size_t w = 0; w < windows.size(); ++w) {
            network.embed(windows[w], window(w));
        }
    }

    [[nodiscard]] std::size_t windows() const { return states_.size() / (tokens_ * width_); }

    /// (tokens, hidden) of one window.
    [[nodiscard]] matrix_view<float> window(std::size_t w) {
        return as_view(states_.data() + w * tokens_ * width_, tokens_, width_);
    }

    /// Replaces every window by its output of `layer`.
    void advance(decoder_layer const& layer, layer_hooks const& hooks, int threads) {
        for (std::size_t w = 0; w < windows(); ++w) {
            network_.forward_layer(layer, window(w), hooks, threads);
        }
    }

    /// Runs `layer` on a copy of every window, for what the hooks see.
    void observe(decoder_layer const& layer, layer_hooks const& hooks, int threads) {
        std::vector<float> copy(tokens_ * width_);
        for (std::size_t w = 0; w < windows(); ++w) {
            matrix_view<float> const from = window(w);
            std::copy(from.data, from.data + copy.size(), copy.begin());
            network_.forward_layer(layer, as_view(copy.data(), tokens_, width_), hooks, threads);
        }
    }

private:
    decoder const& network_;
    std::size_t tokens_;
    std::size_t width_;
    std::vector<float> states_;
};

/// Windows sampled from the model itself: text of its own distribution, without any data. Starts at
/// BOS where the tokenizer has one. Holds all layers while it samples.
inline std::vector<std::vector<std::int32_t>> sample_windows(recipe const& r,
                                                             opened_model const& model,
                                                             progress_sink const& progress) {
    progress({"sample", 0, 1, "from the model"});
    std::vector<decoder_layer> layers;
    for (std::size_t layer = 0; layer < model.config().layers; ++layer) {
        layer_hooks hooks;
        layers.push_back(model.load(layer, hooks, r.threads));
    }
    sample_options options;
    options.sequences = r.num_sequences;
    options.length = r.sequence_length;
    options.first_token = tokenizer::open(model.directory()).bos().value_or(-1);
    options.seed = r.seed;
    options.threads = r.threads;
    std::vector<std::int32_t> const tokens = sample_tokens(model.network(), layers, options);
    std::vector<std::vector<std::int32_t>> windows;
    for (std::size_t w = 0; w < options.sequences; ++w) {
        auto const begin = tokens.begin() + static_cast<std::ptrdiff_t>(w * options.length);
        windows.emplace_back(begin, begin + static_cast<std::ptrdiff_t>(options.length));
    }
    progress({"sample", 1, 1, "from the model"});
    return windows;
}

/// The windows that a recipe asks for: from a file or directory, or sampled from the model itself.
/// Throws fpq::error (input) when the text is too short.
inline calibration_cut load_calibration_windows(recipe const& r, opened_model& model,
                                                progress_sink const& progress) {
    if (r.dataset == "self") {
        return {sample_windows(r, model, progress), 0, 0, false, 0};
    }
    tokenizer const words = tokenizer::open(model.directory());
    progress({"tokenize", 0, 1, r.dataset});
    text_source const text = load_text(r.dataset, chat_style_of(words));
    window_options options;
    options.sequence_length = r.sequence_length;
    options.num_sequences = r.num_sequences;
    options.seed = r.seed;
    options.is_plain_text = text.is_plain_text;
    calibration_cut cut = calibration_windows(words, text.documents, options);
    progress({"tokenize", 1, 1, r.dataset});
    return cut;
}

}  // namespace fpq

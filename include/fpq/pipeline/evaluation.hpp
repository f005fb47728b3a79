// SPDX-License-Identifier: Apache-2.0
// Floor 8. The evaluation of opened checkpoints. That of a model while it is being quantized is
// streams.hpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "fpq/io/text/token_windows.hpp"
#include "fpq/model/evaluate.hpp"
#include "fpq/model/layer.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/layer_reader.hpp"
#include "fpq/pipeline/progress.hpp"
#include "fpq/pipeline/streams.hpp"

namespace fpq {

namespace detail {

inline std::vector<std::span<std::int32_t const>> spans_of(token_windows const& windows) {
    return {windows.begin(), windows.end()};
}

/// A layer and what must happen to its inputs.
template <class B>
struct treated_layer {
    decoder_layer<B> weights;
    layer_hooks<B> hooks;
};

/// `waited` grows by the seconds that its layers are waited for.
template <class B>
eval_model<B> eval_face(B const& b, opened_model<B> const& model, double& waited) {
    auto const reader = std::make_shared<layer_reader<B, treated_layer<B>>>(
        b, model.graph().layers(), [&model](B const& from, std::size_t layer) {
            treated_layer<B> out;
            out.weights = model.load(from, layer, out.hooks);
            return out;
        });
    auto const next = [reader, &waited](std::size_t layer, layer_hooks<B>& hooks) {
        auto const begin = std::chrono::steady_clock::now();
        treated_layer<B> taken = reader->take(layer);
        waited += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
        reader->begin(layer + 1);
        hooks = std::move(taken.hooks);
        return std::move(taken.weights);
    };
    return {&model.network(), next, model.head_hooks()};
}

}  // namespace detail

struct models_evaluation {
    eval_result result;
    double load_seconds = 0.0;  ///< that computing waited for layers
};

/// Perplexity of `model`, and its distance to `reference` (may be null).
template <class B>
models_evaluation evaluate_models(B const& b, opened_model<B> const& model,
                                  opened_model<B> const* reference, evaluation_set const& set,
                                  progress_sink const& progress) {
    models_evaluation out;
    eval_model<B> const subject = detail::eval_face(b, model, out.load_seconds);
    eval_model<B> const other =
        reference != nullptr ? detail::eval_face(b, *reference, out.load_seconds) : eval_model<B>{};
    eval_options options;
    options.texts = set.texts;
    options.progress = [&progress](std::size_t done, std::size_t total) {
        progress({"evaluate", done, total, ""});
    };
    out.result = evaluate<B>(b, subject, reference != nullptr ? &other : nullptr,
                             detail::spans_of(set.windows), options);
    return out;
}

}  // namespace fpq

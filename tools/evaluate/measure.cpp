// SPDX-License-Identifier: Apache-2.0
#include "evaluate/measure.hpp"

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "common/console.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/graph/model_config.hpp"
#include "fpq/io/file/hub_cache.hpp"
#include "fpq/io/tokenizer/same_tokens.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/evaluation.hpp"
#include "line/gpu.hpp"
#include "line/texts.hpp"

namespace fpq::tools {

namespace {

/// How a checkpoint was read, and windows that it was not made for; `whose` begins each line.
void say_notes(std::string const& whose, model_config const& config, std::size_t length) {
    for (auto const* notes : {&config.notes, &config.contradictions}) {
        for (std::string const& note : *notes) {
            say("note: {}{}\n", whose, fpq::detail::printable(note, 400));
        }
    }
    if (std::string const longer = config.long_windows(length); !longer.empty()) {
        say("note: {}{}\n", whose, longer);
    }
}

template <class B>
measurement measure_on(B const& backend, evaluate_options const& options) {
    using model_type = opened_model<B>;
    auto last = std::chrono::steady_clock::now();
    auto const since_last = [&last] {
        auto const now = std::chrono::steady_clock::now();
        return std::chrono::duration<double>(now - std::exchange(last, now)).count();
    };
    model_type const model(backend, model_directory(options.model), shipped_architectures);
    std::optional<model_type> reference;
    if (!options.reference.empty()) {
        reference.emplace(backend, model_directory(options.reference), shipped_architectures);
        if (!require_same_tokens(model.directory(), reference->directory())) {
            say("note: the reference has no tokenizer: that it gives tokens the ids of the model "
                "is taken for granted\n");
        }
    }
    say_notes("", model.config(), options.sequence_length);
    if (reference) {
        say_notes("reference: ", reference->config(), options.sequence_length);
    }
    evaluation_text const text{options.texts,       options.sequence_length, options.max_characters,
                               options.max_windows, options.add_special,     options.text_column};
    evaluation_set const set = evaluation_windows(model, text);
    for (std::string const& note : set.notes) {
        say("note: {}\n", fpq::detail::printable(note, 400));
    }
    progress_printer progress(options.verbose);
    measurement m;
    m.open_seconds = since_last();
    models_evaluation const both =
        evaluate_models<B>(backend, model, reference ? &*reference : nullptr, set,
                           [&progress](progress_event const& event) { progress(event); });
    m.load_seconds = both.load_seconds;
    m.compute_seconds = since_last() - both.load_seconds;
    m.result = both.result;
    m.texts = set.texts;
    m.windows = set.windows.size();
    m.bits_per_weight = model.bits_per_weight();
    m.stored_bits_per_weight = model.stored_bits_per_weight();
    return m;
}

}  // namespace

measurement measure(evaluate_options const& options, chosen_device const& device, int threads) {
    return on_device(device, threads, {},
                     [&](auto const& backend) { return measure_on(backend, options); });
}

}  // namespace fpq::tools

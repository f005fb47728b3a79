// SPDX-License-Identifier: Apache-2.0
#include "evaluate/measure.hpp"

#include <optional>

#include "common/console.hpp"
#include "fpq/backend/cpu/cpu.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/io/file/hub_cache.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/evaluation.hpp"
#include "line/instances.hpp"

namespace fpq::tools {

measurement measure(evaluate_options const& options, int threads) {
    cpu const backend{threads};
    using model_type = opened_model<cpu>;
    model_type const model(backend, model_directory(options.model), shipped_architectures);
    std::optional<model_type> reference;
    if (!options.reference.empty()) {
        reference.emplace(backend, model_directory(options.reference), shipped_architectures);
    }
    evaluation_text const text{options.texts, options.sequence_length, options.max_characters,
                               options.max_windows, options.add_special};
    evaluation_set const set = evaluation_windows(model, text);
    progress_printer progress(options.verbose);
    return {evaluate_models(backend, model, reference ? &*reference : nullptr, set,
                            [&progress](progress_event const& event) { progress(event); }),
            set.windows.size(), model.bits_per_weight()};
}

}  // namespace fpq::tools

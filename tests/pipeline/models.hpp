// SPDX-License-Identifier: Apache-2.0
// Test support. Opened models on the CPU, and what a run wrote against what it read.
#pragma once

#include "fpq/graph/families.hpp"
#include "line/texts.hpp"
#include "pipeline/line.hpp"

namespace fpq_test {

using model_on_cpu = fpq::opened_model<fpq::cpu>;

/// KL of the checkpoint that a run wrote to the original, on the run's windows.
inline double written_kl(fpq::harness_flags const& f) {
    fpq::cpu const b{2};
    model_on_cpu const written(b, f.output.directory, fpq::shipped_architectures);
    model_on_cpu const original(b, f.model, fpq::shipped_architectures);
    fpq::evaluation_text const text{f.evaluation.texts, f.calibration.sequence_length, 0,
                                    f.evaluation.windows, true};
    return fpq::evaluate_models(b, written, &original, fpq::evaluation_windows(original, text),
                                no_progress)
        .kl_mean;
}

}  // namespace fpq_test

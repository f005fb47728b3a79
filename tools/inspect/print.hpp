// SPDX-License-Identifier: Apache-2.0
// A survey on standard output: as text, or as one JSON object.
#pragma once

#include <optional>

#include "inspect/survey.hpp"
#include "inspect/verify.hpp"

namespace fpq::tools {

/// The summary, then a line for each quantized linear with its codes beside its scales, then all
/// other tensors. `tables` false: the summary alone.
void print_survey(survey const& found, bool tables);

void print_findings(verification const& checked);

/// Keys: checkpoint, model_type, layout, shards, tensors, bytes, summary, linears, plain_tensors,
/// and verify where it was asked for. With `tables` false without linears and plain_tensors.
void print_json(survey const& found, std::optional<verification> const& checked, bool tables);

}  // namespace fpq::tools

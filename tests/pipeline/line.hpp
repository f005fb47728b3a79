// SPDX-License-Identifier: Apache-2.0
// Test support. The line on the CPU as tests call it, on the small models of the repository.
// Compiled once, in line.cpp.
#pragma once

#include <filesystem>
#include <string>

#include "fpq/graph/families.hpp"
#include "fpq/pipeline/flags.hpp"
#include "line/calls.hpp"
#include "support/shared_data.hpp"

namespace fpq_test {

inline void no_progress(fpq::progress_event const&) {}

std::filesystem::path repo_model(std::string const& name);

/// A small run on tiny-llama with an evaluation.
fpq::harness_flags small_run(fpq::format_family family);

/// As the programs do: OpenBLAS where it is there, which sanitizers do not slow down.
void take_fast_products();

fpq::run_report go(fpq::recipe const& r, fpq::architecture_list known);
/// With the families that the library ships.
fpq::run_report go(fpq::harness_flags const& f);

/// KL of the checkpoint that a run wrote to the original, on the run's windows.
double written_kl(fpq::harness_flags const& f);

}  // namespace fpq_test

// SPDX-License-Identifier: Apache-2.0
// Test support. The registry of dialects and the check of what they wrote, compiled once for all
// tests that ask them.
#pragma once

#include <string>
#include <vector>

namespace fpq {
class checkpoint;
class model_graph;
}  // namespace fpq

namespace fpq_test {

/// Of every dialect of the registry.
std::vector<std::string> dialect_names();

/// verify_checkpoint(source, graph).
std::vector<std::string> findings_of(fpq::checkpoint const& source, fpq::model_graph const* graph);

}  // namespace fpq_test

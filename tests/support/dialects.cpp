// SPDX-License-Identifier: Apache-2.0
#include "dialects.hpp"

#include "fpq/dialect/registry.hpp"
#include "fpq/dialect/verify.hpp"

namespace fpq_test {

std::vector<std::string> dialect_names() {
    std::vector<std::string> names;
    for (fpq::dialect const* const d : fpq::dialects) {
        names.emplace_back(d->name);
    }
    return names;
}

std::vector<std::string> findings_of(fpq::checkpoint const& source, fpq::model_graph const* graph) {
    return fpq::verify_checkpoint(source, graph);
}

}  // namespace fpq_test

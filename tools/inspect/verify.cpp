// SPDX-License-Identifier: Apache-2.0
#include "inspect/verify.hpp"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/verify.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/model/settle.hpp"

namespace fpq::tools {

verification verify(checkpoint& source) {
    verification out;
    std::optional<model_graph> graph;
    try {
        graph.emplace(settle_model(source, shipped_architectures));
    } catch (error const& why) {
        out.findings.push_back(std::string("warning: no shapes are checked: ") + why.what());
    }
    for (std::string& finding : verify_checkpoint(source, graph ? &*graph : nullptr)) {
        out.findings.push_back(std::move(finding));
    }
    out.faulty =
        std::any_of(out.findings.begin(), out.findings.end(),
                    [](std::string const& finding) { return !finding.starts_with("warning: "); });
    return out;
}

}  // namespace fpq::tools

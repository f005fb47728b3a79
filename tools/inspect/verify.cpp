// SPDX-License-Identifier: Apache-2.0
#include "inspect/verify.hpp"

#include <fmt/format.h>

#include <optional>
#include <string>

#include "fpq/dialect/verify.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/model/settle.hpp"

namespace fpq::tools {

bool verify(checkpoint& source) {
    bool faulty = false;
    std::optional<model_graph> graph;
    try {
        graph.emplace(settle_model(source, shipped_architectures));
    } catch (error const& why) {
        fmt::print("warning: no shapes are checked: {}\n", why.what());
    }
    for (std::string const& finding : verify_checkpoint(source, graph ? &*graph : nullptr)) {
        fmt::print("{}\n", finding);
        faulty = faulty || !finding.starts_with("warning: ");
    }
    fmt::print("verify: {}\n", faulty ? "faults found" : "fine");
    return faulty;
}

}  // namespace fpq::tools

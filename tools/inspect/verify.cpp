// SPDX-License-Identifier: Apache-2.0
#include "inspect/verify.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/verify.hpp"
#include "fpq/graph/families.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/json/json_member.hpp"
#include "fpq/model/settle.hpp"

namespace fpq::tools {

namespace {

/// Whether config.json says that it is a model of a family of ours.
bool is_of_known_family(checkpoint const& source) {
    nlohmann::json const& type = fpq::detail::member_or_null(source.config(), "model_type");
    return std::any_of(shipped_architectures.begin(), shipped_architectures.end(),
                       [&](architecture const* family) {
                           return fpq::detail::json_equals(type, family->model_type);
                       });
}

}  // namespace

verification verify(checkpoint& source) {
    verification out;
    std::optional<model_graph> graph;
    try {
        graph.emplace(settle_model(source, shipped_architectures));
    } catch (error const& why) {
        // Of a family that we do not know this says nothing; clients read a known one as we do.
        std::string const kind = is_of_known_family(source) ? "" : "warning: ";
        out.findings.push_back(kind + "no shapes are checked: " + why.what());
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

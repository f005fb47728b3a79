// SPDX-License-Identifier: Apache-2.0
// Floor 8. Strangers: tensors of a checkpoint that its model does not read and that an export
// copies. Which of them no export can keep, because a client would take them, or their names in a
// list of what is not converted, for something else.
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/dialect/dialect.hpp"
#include "fpq/dialect/modelopt.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/pipeline/plan.hpp"

namespace fpq::detail {

/// The strangers of a plan, and the questions that an export asks about them.
class stranger_check {
public:
    stranger_check(run_plan const& plan, model_graph const& graph, checkpoint const& source,
                   std::vector<std::string> const& names)
        : plan_(plan), graph_(graph), source_(source), names_(names) {}

    /// Refuses what lies below a linear and is not the model's (a bias of a plain one may stay),
    /// and what is named like a part of a quantized one: clients have no place for it, or take it
    /// for theirs. Throws fpq::error (input).
    void refuse_parts() const {
        for (std::string const& name : names_) {
            for_each_linear([&](linear_node const& node, bool quantized) {
                bool const below = name.starts_with(node.module + ".");
                bool const right_below = below && name.rfind('.') == node.module.size();
                if (quantized ? below : right_below && name != node.bias_name()) {
                    refuse(name,
                           std::string("under a ") + (quantized ? "quantized" : "plain") +
                               " linear only what config.json promises" +
                               (name == node.bias_name() ? " (or --ignore " + node.module + ")"
                                                         : std::string()),
                           "a tensor that the model does not read");
                }
            });
            if (is_quantized_part(name)) {
                refuse(name, "no name of a quantized linear's part where there is none",
                       "a tensor that the model does not read");
            }
        }
    }

    /// The modules that clients would convert: those of matrices. Throws fpq::error (input) for a
    /// name that means more modules than its own where it is listed.
    [[nodiscard]] std::vector<std::string> modules() const {
        std::vector<std::string> out;
        constexpr std::string_view suffix = ".weight";
        for (std::string const& name : names_) {
            if (!name.ends_with(suffix) || source_.at(name).shape.size() != 2) {
                continue;
            }
            std::string const module = name.substr(0, name.size() - suffix.size());
            if (module == "Linear" || module == "Module" || module.starts_with("re:") ||
                module.find_first_of("*?[") != std::string::npos) {
                refuse(name, "a module whose name is no pattern", module);
            }
            for_each_linear([&](linear_node const& node, bool quantized) {
                // Clients match by the beginning or the end of a name.
                if (quantized &&
                    (node.module.starts_with(module) || node.module.ends_with(module))) {
                    refuse_part_of(name, module, node.module);
                }
            });
            out.push_back(module);
        }
        return out;
    }

    /// Refuses what the clients of the output's layout would take for a quantized linear, or by
    /// whose name they would leave one as it is. Throws fpq::error (input).
    void refuse_in(planned_output const& out) const {
        for (std::string const& name : names_) {
            for (tensor_plan const& tensor : out.tensors) {
                std::string_view const part =
                    std::string_view(tensor.name).substr(tensor.name.rfind('.'));
                if (tensor.type == source_.at(name).type && name.ends_with(part)) {
                    refuse(name,
                           "no tensor of the name and type of a quantized linear's " +
                               std::string(part),
                           dtype_name(tensor.type));
                }
            }
        }
        if (out.layout != &modelopt) {
            return;
        }
        for (std::string const& module : modules()) {  // clients look for it anywhere in a name
            for (export_linear const& linear : out.linears.linears) {
                if (linear.module.find(module) != std::string::npos) {
                    refuse_part_of(module + ".weight", module, linear.module);
                }
            }
        }
    }

private:
    /// Of the layers, then the head; whether its weight is quantized.
    template <class F>
    void for_each_linear(F f) const {
        auto const one = [&](linear_node const& node) {
            scheme const* const how = plan_.scheme_of(graph_, node);
            f(node, how != nullptr && how->weight.has_value());
        };
        std::for_each(graph_.linears().begin(), graph_.linears().end(), one);
        one(graph_.head());
    }

    [[noreturn]] void refuse(std::string const& name, std::string const& expected,
                             std::string_view found) const {
        fail_input("tensor that no export can keep", tensor_place(source_.at(name)), expected,
                   found);
    }

    [[noreturn]] void refuse_part_of(std::string const& name, std::string const& module,
                                     std::string const& linear) const {
        refuse(name, "a module whose name is no part of " + linear, module);
    }

    run_plan const& plan_;
    model_graph const& graph_;
    checkpoint const& source_;
    std::vector<std::string> const& names_;
};

}  // namespace fpq::detail

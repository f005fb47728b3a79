// SPDX-License-Identifier: Apache-2.0
// Floor 8. From a recipe to the plan of a run: opens the model, believes its tensors, resolves.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/dialect/stored.hpp"
#include "fpq/graph/graph.hpp"
#include "fpq/io/file/hub_cache.hpp"
#include "fpq/io/json/json_member.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/model/settle.hpp"
#include "fpq/pipeline/line.hpp"
#include "fpq/pipeline/memory.hpp"
#include "fpq/pipeline/plan.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/resolve.hpp"

namespace fpq {

/// Opens the model of a recipe and resolves it for a backend: what `--dry_run` shows. Nothing is
/// written.
template <class B>
run_plan plan_run(B const& b, recipe const& r, architecture_list known) {
    checkpoint source(model_directory(r.model));
    model_graph const graph(settle_model(source, known));
    if (source.config().contains("quantization_config")) {
        nlohmann::json const& quantizer =
            detail::member_or_null(source.config().at("quantization_config"), "quant_method");
        std::string found =
            "a quantization_config, quant_method " + detail::printable(quantizer.dump());
        if (std::string const first = graph.linears().front().weight(); source.contains(first)) {
            dtype const type = source.at(first).type;
            bool const fp8 = type == dtype::f8_e4m3 || type == dtype::f8_e5m2;
            found.append(fp8 ? ", FP8 weights (" : ", weights of ")
                .append(dtype_name(type))
                .append(fp8 ? ")" : "");
        }
        fail_input("checkpoint is already quantized", r.model.string(),
                   "bf16, fp16 or fp32 weights", found);
    }
    run_plan plan = resolve(b, r, source, graph);
    if (std::string note = memory_note(plan.peak_memory, machine_memory()); !note.empty()) {
        plan.notes.push_back(std::move(note));
    }
    return plan;
}

}  // namespace fpq

// SPDX-License-Identifier: Apache-2.0
#include "evaluate/options.hpp"

#include <utility>
#include <vector>

#include "common/device.hpp"
#include "common/flag_kinds.hpp"
#include "common/foreign.hpp"
#include "common/products.hpp"
#include "common/task_flags.hpp"
#include "fpq/pipeline/flags.hpp"

namespace fpq::tools {

namespace {

/// The same as fpq-quantize's; --lm_eval_tasks, before or behind it, names others.
flag_spec openllm_flag(task_args& tasks, bool& asked) {
    return {"eval_openllm",
            {},
            "the six tasks of OpenLLM v1, unless others are named",
            {},
            [&tasks, &asked](std::string const& text) {
                asked = read_switch("eval_openllm", text);
                if (asked && tasks.names.empty()) {
                    tasks.names.assign(openllm_tasks.begin(), openllm_tasks.end());
                }
            }};
}

std::vector<flag_spec> all_task_flags(evaluate_options& o) {
    std::vector<flag_spec> flags = task_flags(o.tasks);
    flags.insert(flags.begin(), openllm_flag(o.tasks, o.openllm));
    return flags;
}

}  // namespace

program_spec evaluate_program(evaluate_options& o) {
    flag_group run{"Run",
                   {path_flag("json", o.json, "FILE", "write the results here"),
                    count_flag("threads", o.threads, bounds::threads, "worker threads"),
                    device_flag(o.device, false), products_flag(o.products),
                    switch_flag("verbose", o.verbose, true, "a line a step")}};
    std::vector<flag_spec> const logs = log_flags(o.logs);
    run.flags.insert(run.flags.end(), logs.begin(), logs.end());
    return {"fpq-evaluate",
            "Perplexity of a checkpoint, and its distance (KL, top-1) to a reference.",
            {{"Checkpoints and text",
              {required(path_flag("model", o.model, "DIR", "checkpoint, quantized or not")),
               path_flag("reference", o.reference, "DIR", "the original: adds KL and top-1"),
               paths_flag("text", o.texts,
                          "text of the evaluation; may be repeated (required without tasks)"),
               text_column_flag(o.text_column),
               count_flag("sequence_length", o.sequence_length, bounds::sequence_length,
                          "tokens of a window"),
               count_flag("max_characters", o.max_characters, bounds::characters, "of each text"),
               count_flag("max_windows", o.max_windows, bounds::windows, "of each text"),
               choice_flag("bos", o.add_special, special_tokens, special_synonyms,
                           "special tokens as the tokenizer adds them")}},
             {"Tasks", all_task_flags(o)},
             std::move(run)},
            {"fpq-evaluate --model OUT --text wiki.test.raw.txt",
             "fpq-evaluate --model OUT --reference MODEL --text wiki.test.raw.txt --json out.json",
             "fpq-evaluate --model OUT --lm_eval_tasks hellaswag,winogrande"},
            evaluate_foreign()};
}

}  // namespace fpq::tools

// SPDX-License-Identifier: Apache-2.0
// Tests of dialect/carried_files.hpp: side files go with the model, weights and leftovers do not.
#include "fpq/dialect/carried_files.hpp"

#include <filesystem>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support/files.hpp"

TEST_CASE("all side files are carried over, weights, other models and leftovers are not", "[io]") {
    fpq_test::temporary_directory dir;
    std::vector<std::string> const carried{"1_Pooling/config.json",
                                           "2_Dense/model.safetensors",
                                           "LICENSE",
                                           "USE_POLICY.md",
                                           "additional_chat_templates/tool.jinja",
                                           "generation_config.json",
                                           "imatrix.dat",
                                           "modeling_custom.py",
                                           "modules.json",
                                           "tekken.json",
                                           "tokenizer.model"};
    std::vector<std::string> const left{"config.json",
                                        "model.safetensors",
                                        "model.safetensors.index.json",
                                        "pytorch_model.bin",
                                        "model.gguf",
                                        "imatrix.gguf",
                                        "optimizer.pt",
                                        "trainer_state.json",
                                        "latest",
                                        "zero_to_fp32.py",
                                        "events.out.tfevents.1",
                                        "model.safetensors.tmp",
                                        "config.py~",
                                        "tokenizer.json.bak",
                                        "README.md",
                                        ".gitattributes",
                                        ".git/config",
                                        ".cache/lock",
                                        "original/params.json",
                                        "checkpoint-10/rng.json",
                                        "older/config.json",
                                        "older/tokenizer.json",
                                        "out.partial-7/tokenizer.json"};
    for (auto const* list : {&carried, &left}) {
        for (std::string const& name : *list) {
            std::filesystem::create_directories((dir.path() / name).parent_path());
            fpq_test::write_text(dir.path() / name, "{}");
        }
    }
    std::filesystem::create_symlink("LICENSE", dir.path() / "NOTICE");  // as in a hub cache
    std::filesystem::create_symlink("/dev/full", dir.path() / "device.json");
    std::vector<std::string> expected = carried;
    expected.emplace_back("NOTICE");
    std::sort(expected.begin(), expected.end());
    CHECK(fpq::carried_files(dir.path()) == expected);
}

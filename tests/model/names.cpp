// SPDX-License-Identifier: Apache-2.0
// Tensor names, groups and shapes, and the names of the committed models.
#include "fpq/model/names.hpp"

#include <set>
#include <string>

#include "catch.hpp"
#include "fpq/model/load.hpp"

#ifndef FPQ_SOURCE_DIR
#define FPQ_SOURCE_DIR "."
#endif

TEST_CASE("modules are named as the checkpoints name them", "[model]") {
    REQUIRE(fpq::linear_name(0, fpq::linear_role::q) == "model.layers.0.self_attn.q_proj");
    REQUIRE(fpq::linear_name(11, fpq::linear_role::o) == "model.layers.11.self_attn.o_proj");
    REQUIRE(fpq::weight_name(3, fpq::linear_role::down) == "model.layers.3.mlp.down_proj.weight");
    REQUIRE(fpq::bias_name(3, fpq::linear_role::k) == "model.layers.3.self_attn.k_proj.bias");
}

TEST_CASE("q, k and v share an input, and so do gate and up", "[model]") {
    for (const fpq::linear_role role : fpq::linear_roles) {
        bool found = false;
        for (const fpq::linear_role member : fpq::fused_group(role)) {
            found = found || member == role;
            REQUIRE(fpq::shared_input(member) == fpq::shared_input(role));
        }
        REQUIRE(found);
    }
    REQUIRE(fpq::shared_input(fpq::linear_role::v) == fpq::linear_role::q);
    REQUIRE(fpq::shared_input(fpq::linear_role::up) == fpq::linear_role::gate);
    REQUIRE(fpq::fused_group(fpq::linear_role::o).size() == 1);
    REQUIRE(fpq::fused_group(fpq::linear_role::down).size() == 1);
}

TEST_CASE("the committed models hold exactly the tensors that are named", "[model]") {
    for (const std::string name : {"tiny-llama", "tiny-qwen3"}) {
        const fpq::checkpoint source(std::string(FPQ_SOURCE_DIR) + "/examples/models/" + name);
        std::set<std::string> expected;
        fpq::for_each_tensor_name(fpq::load_model_config(source),
                                  [&](const std::string& tensor) { expected.insert(tensor); });
        REQUIRE(std::set<std::string>(source.names().begin(), source.names().end()) == expected);
    }
}

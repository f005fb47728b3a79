// SPDX-License-Identifier: Apache-2.0
// Writes a small checkpoint, opens it again through a memory map and compares bytes. Floor 5.
#include <cstdio>
#include <filesystem>
#include <span>
#include <vector>

#include "fpq/io/safetensors/checkpoint.hpp"
#include "fpq/io/safetensors/checkpoint_writer.hpp"

int main() {
    namespace fs = std::filesystem;
    fs::path const directory = fs::temp_directory_path() / "fpq_example_05";
    fs::remove_all(directory);
    std::vector<float> const values = {1.0F, -2.5F, 0.0F, 448.0F, 1e-8F, 6.0F};
    {
        // The plan comes first, so that every offset is known before a byte is computed. Nothing
        // carries its final name until finish().
        std::vector<fpq::tensor_plan> plan;
        plan.push_back({"layer.weight", fpq::dtype::f32, {2, 3}, ""});
        fpq::checkpoint_writer writer(directory, plan, 1U << 20U);
        writer.write("layer.weight", std::as_bytes(std::span(values)));
        writer.add_json("config.json", {{"model_type", "example"}});
        writer.finish();
    }
    fpq::checkpoint const opened(directory);
    std::vector<float> const back = fpq::load_floats(opened.at("layer.weight"));
    std::printf("%s: %zu values, %s\n", directory.string().c_str(), back.size(),
                back == values ? "equal" : "different");
    bool const right = back == values;
    fs::remove_all(directory);
    return right ? 0 : 1;
}

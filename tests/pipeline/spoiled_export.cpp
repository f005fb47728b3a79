// SPDX-License-Identifier: Apache-2.0
#include "pipeline/spoiled_export.hpp"

#include "fpq/graph/families.hpp"
#include "fpq/model/settle.hpp"
#include "fpq/pipeline/check_written.hpp"
#include "support/dialects.hpp"

using namespace fpq;

namespace fpq_test {

std::string findings(std::filesystem::path const& dir,
                     std::function<void(std::vector<raw_tensor>&)> const& on_tensors,
                     std::function<void(nlohmann::json&)> const& on_config, bool warnings) {
    temporary_directory copy;
    for (auto const& entry : std::filesystem::directory_iterator(dir)) {
        std::filesystem::copy(entry.path(), copy.path() / entry.path().filename(),
                              std::filesystem::copy_options::recursive);
    }
    if (on_tensors) {
        std::vector<raw_tensor> tensors;
        {
            checkpoint const read(dir);
            for (std::string const& name : read.names()) {
                tensor_ref const& t = read.at(name);
                tensors.push_back(
                    {t.name, t.type, t.shape,
                     std::string(reinterpret_cast<char const*>(t.bytes.data()), t.bytes.size())});
            }
        }
        on_tensors(tensors);
        write_text(copy.path() / "model.safetensors", safetensors_bytes(tensors));
    }
    if (on_config) {
        nlohmann::json config = nlohmann::json::parse(read_text(copy.path() / "config.json"));
        on_config(config);
        write_text(copy.path() / "config.json", config.dump());
    }
    std::string text;
    try {
        checkpoint source(copy.path());
        model_graph const graph(settle_model(source, shipped_architectures));
        for (std::string const& line : findings_of(source, &graph)) {
            text += line.starts_with("warning: ") && !warnings ? "" : line + "\n";
        }
    } catch (error const& why) {
        text += why.what();
    }
    return text;
}

}  // namespace fpq_test

// SPDX-License-Identifier: Apache-2.0
#include "inspect/gguf.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/hosted/printable.hpp"
#include "fpq/dialect/gguf_verify.hpp"
#include "fpq/io/file/look.hpp"
#include "fpq/io/gguf/gguf_file.hpp"
#include "fpq/io/safetensors/checkpoint.hpp"
#include "inspect/print.hpp"
#include "inspect/verify.hpp"

namespace fpq::tools {

namespace {

void refuse_flags(inspect_options const& o) {
    char const* const flag = !o.reference.empty() ? "--reference"
                             : !o.only.empty()    ? "--only"
                             : o.json             ? "--json"
                                                  : nullptr;
    if (flag != nullptr) {
        fail_usage(flag, "a GGUF file", "--verify or --summary alone", flag);
    }
}

void print_tensors(gguf_file const& file, bool each) {
    struct sum {
        std::size_t tensors = 0;
        std::uint64_t bytes = 0;
    };
    std::map<ggml_type, sum> by_type;
    for (gguf_tensor const& t : file.tensors()) {
        sum& of_type = by_type[t.type];
        ++of_type.tensors;
        of_type.bytes += t.bytes.size();
        if (each) {
            fmt::print("{:<40} {:<6} {:<18} {:>12}\n", fpq::detail::printable(t.name),
                       ggml_type_name(t.type), shape_text(t.dims), t.bytes.size());
        }
    }
    std::string const* const name = find_gguf<std::string>(file.metadata(), "general.architecture");
    fmt::print("GGUF version {}, architecture {}, {} keys, {} tensors\n", file.version(),
               name == nullptr ? "none" : fpq::detail::printable(*name), file.metadata().size(),
               file.tensors().size());
    for (auto const& [type, of_type] : by_type) {
        fmt::print("{:<6} {:>5} tensors {:>14} bytes\n", ggml_type_name(type), of_type.tensors,
                   of_type.bytes);
    }
}

}  // namespace

std::optional<std::filesystem::path> gguf_of(std::filesystem::path const& path) {
    if (path.extension() == ".gguf") {
        return path;
    }
    std::filesystem::path const inside = path / gguf_file_name;
    bool const other = is_there(path / single_shard_name) || is_there(path / index_name);
    return !other && is_there(inside) ? std::optional(inside) : std::nullopt;
}

int inspect_gguf(std::filesystem::path const& path, inspect_options const& options) {
    refuse_flags(options);
    if (options.verify) {
        verification checked{verify_gguf(path), false};
        checked.faulty =
            std::any_of(checked.findings.begin(), checked.findings.end(),
                        [](std::string const& line) { return !line.starts_with("warning: "); });
        print_findings(checked);
        if (checked.faulty) {
            return static_cast<int>(error_category::input);
        }
    }
    print_tensors(gguf_file(path), !options.summary);
    return 0;
}

}  // namespace fpq::tools

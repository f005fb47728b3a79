// SPDX-License-Identifier: Apache-2.0
// Fuzz target of the chat templates: the input is a template. It must end in fpq::error or in a
// text, soon, whatever it says.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fpq/io/chat/chat_template.hpp"

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    static nlohmann::ordered_json const row = nlohmann::ordered_json::parse(
        R"({"messages": [{"role": "system", "content": " s\n"}, {"role": "user", "content": "u"},
            {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function",
             "function": {"name": "f", "arguments": {"z": 1, "a": [1.5, null, true]}}}]},
            {"role": "tool", "content": "caf\u00e9"}], "x": "a b  c", "n": 7, "d": {"b": 1}})");
    try {
        (void)fpq::chat_template(std::string_view(reinterpret_cast<char const*>(data), size),
                                 "fuzz", {{"bos_token", "<s>"}, {"eos_token", "</s>"}})
            .render(row);
    } catch (fpq::error const&) {
    }
    return 0;
}

// SPDX-License-Identifier: Apache-2.0
// Floor 8. The chat template of a checkpoint, for the texts of a run (texts.hpp).
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "fpq/io/chat/chat_template.hpp"
#include "fpq/io/text/document.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/texts.hpp"

namespace fpq {

template <class B>
conversation_writer writer_of_chats(opened_model<B> const& model) {
    std::optional<chat_template> chat = open_chat_template(model.directory());
    if (!chat) {
        return {};
    }
    return [chat = *std::move(chat)](nlohmann::ordered_json const& variables,
                                     std::string const& where) {
        return chat.render(variables, where);
    };
}

}  // namespace fpq

// SPDX-License-Identifier: Apache-2.0
// Chat templates of models.
#include "fpq/pipeline/read_chat.hpp"
#include "line/models.hpp"

namespace fpq {

template conversation_writer writer_of_chats<line_backend>(opened_model<line_backend> const&);

}  // namespace fpq

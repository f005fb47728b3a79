// SPDX-License-Identifier: Apache-2.0
// Chat templates of models on the CPU.
#include "fpq/pipeline/read_chat.hpp"
#include "line/models.hpp"

namespace fpq {

template conversation_writer writer_of_chats<cpu>(opened_model<cpu> const&);

}  // namespace fpq

// SPDX-License-Identifier: Apache-2.0
// Floor 8. The texts of a run as windows of tokens. Only declared here: their readers are much to
// compile. Defined in read_texts.hpp, read_chat.hpp and sample.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "fpq/io/text/document.hpp"
#include "fpq/io/text/token_windows.hpp"
#include "fpq/model/opened_model.hpp"
#include "fpq/pipeline/progress.hpp"
#include "fpq/pipeline/recipe.hpp"
#include "fpq/pipeline/streams.hpp"

namespace fpq {

/// Texts of an evaluation. Each document of one is tokenized once, as a whole, and cut by itself;
/// the limits are of a text with all its documents.
struct evaluation_text {
    std::vector<std::filesystem::path> files;
    std::size_t sequence_length = 2048;
    std::size_t max_characters = 0;  // of each text, in code points; 0: all
    std::size_t max_windows = 0;     // of each text; 0: all
    bool add_special = true;         // as the tokenizer does by itself
    std::string text_column{};       // of rows; empty: the known shapes
};

/// The evaluation text of a plan.
inline evaluation_text evaluation_text_of(evaluation_args const& args,
                                          calibration_args const& calibration) {
    return {args.texts,       calibration.sequence_length, args.characters, args.windows,
            args.add_special, calibration.text_column};
}

/// The windows of a plan: from a file or directory, or sampled from the model itself.
/// Throws fpq::error (input) when the text is too short.
template <class B>
calibration_cut load_calibration_windows(B const& b, calibration_args const& args,
                                         opened_model<B> const& model,
                                         progress_sink const& progress);

/// Windows sampled from the model itself: text of its own distribution, without any data. Starts at
/// first_token. Holds all layers while it samples.
template <class B>
token_windows sample_windows(B const& b, calibration_args const& args, opened_model<B> const& model,
                             progress_sink const& progress);

/// What sampled windows begin with: BOS, or -1 where the tokenizer has none. Throws fpq::error
/// (input) for a tokenizer that cannot be read.
template <class B>
std::int32_t first_token(opened_model<B> const& model);

/// Writes conversations by the checkpoint's chat template; empty when there is none. Throws
/// fpq::error (input) for one that cannot be read.
template <class B>
conversation_writer writer_of_chats(opened_model<B> const& model);

/// Consecutive windows of each text; remainders are dropped. Conversations are written as those of
/// the calibration. Throws fpq::error (input) when not one window is whole.
template <class B>
evaluation_set evaluation_windows(opened_model<B> const& model, evaluation_text const& text);

}  // namespace fpq

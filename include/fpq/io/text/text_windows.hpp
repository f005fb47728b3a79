// SPDX-License-Identifier: Apache-2.0
// Floor 5. Cuts tokenized text into windows at random, for calibration (seeded, the same on every
// platform).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "fpq/core/hosted/error.hpp"
#include "fpq/core/random.hpp"
#include "fpq/io/text/document_store.hpp"
#include "fpq/io/text/token_windows.hpp"
#include "fpq/io/tokenizer/tokenizer.hpp"

namespace fpq {

struct window_options {
    std::size_t sequence_length = 2048;  // tokens a window
    std::size_t num_sequences = 1024;    // windows
    std::uint64_t seed = 42;
    bool is_plain_text = false;  // documents are parts of one stream
    bool add_bos = true;  // documents begin with what the tokenizer adds; a stream never does
    std::string where{};  // of the text, for messages
};

namespace detail {

/// Chat templates write BOS themselves, and the tokenizer puts one before: it is there once.
inline void leave_one_bos(tokenizer const& t, std::vector<std::int32_t>& ids) {
    if (t.bos() && ids.size() > 1 && ids[0] == *t.bos() && ids[1] == *t.bos()) {
        ids.erase(ids.begin());
    }
}

/// A document's ids.
inline std::vector<std::int32_t> encode_document(tokenizer const& t, std::string const& document,
                                                 window_options const& options) {
    std::vector<std::int32_t> ids = t.encode(document, options.add_bos);
    if (options.add_bos) {
        leave_one_bos(t, ids);
    }
    return ids;
}

/// One U+FFFD in so many bytes is worth a word.
inline constexpr std::uint64_t characters_of_many = 1000;

inline constexpr std::uint64_t window_stream = 0x77696E646F77;  // "window": this use of the seed

/// Uniform integers from consecutive Philox indices.
class window_random {
public:
    explicit window_random(std::uint64_t seed) : source_{seed, window_stream} {}
    /// In [0, bound); bound >= 1 and below 2^32.
    std::size_t below(std::size_t bound) {
        if (bound > std::numeric_limits<std::uint32_t>::max()) {
            fail_input("calibration text too long", {}, "fewer than 2^32 tokens and documents",
                       std::to_string(bound));
        }
        return static_cast<std::size_t>(source_.below(next_++, static_cast<std::uint32_t>(bound)));
    }

private:
    philox source_;
    std::uint64_t next_ = 0;
};

inline std::vector<std::int32_t> crop(std::vector<std::int32_t> const& ids, std::size_t length,
                                      window_random& random) {
    std::size_t const offset = random.below(ids.size() - length + 1);
    auto const begin = ids.begin() + static_cast<std::ptrdiff_t>(offset);
    return {begin, begin + static_cast<std::ptrdiff_t>(length)};
}

inline token_windows crops(std::vector<std::int32_t> const& ids, window_options const& options) {
    window_random random(options.seed);
    token_windows out(options.num_sequences);
    for (auto& window : out) {
        window = crop(ids, options.sequence_length, random);
    }
    return out;
}

inline calibration_cut stream_windows(tokenizer const& t, document_store const& documents,
                                      window_options const& options) {
    // Whole: a pre-tokenizer may look as far as it likes, so that no place is sure to be a cut.
    std::vector<std::int32_t> const ids = t.encode(documents.joined("\n"), false);
    if (ids.size() < options.sequence_length) {
        fail_input("calibration text too short", options.where,
                   std::to_string(options.sequence_length) + " tokens or more",
                   std::to_string(ids.size()));
    }
    return {crops(ids, options), documents.size(), documents.size(), false, 0, 0};
}

/// All documents one after another, each with what the tokenizer adds to a text and EOS behind.
inline calibration_cut packed_windows(tokenizer const& t, document_store const& documents,
                                      window_options const& options) {
    std::vector<std::int32_t> ids;
    for (std::size_t i = 0; i < documents.size(); ++i) {
        std::vector<std::int32_t> const more = encode_document(t, documents[i], options);
        ids.insert(ids.end(), more.begin(), more.end());
        if (t.eos() && (ids.empty() || ids.back() != *t.eos())) {
            ids.push_back(*t.eos());
        }
    }
    if (ids.size() < options.sequence_length) {
        fail_input("calibration documents too short", options.where,
                   std::to_string(options.sequence_length) + " tokens or more",
                   std::to_string(documents.size()) + " documents of " +
                       std::to_string(ids.size()) + " tokens together");
    }
    return {crops(ids, options), documents.size(), documents.size(), true, 0, 0};
}

/// Draws documents until one is longer than a window. One that is not is never drawn again, which
/// leaves the choice among the others uniform. When there is none, all are joined.
inline calibration_cut document_windows(tokenizer const& t, document_store const& documents,
                                        window_options const& options) {
    std::vector<std::size_t> open(documents.size());
    for (std::size_t i = 0; i < open.size(); ++i) {
        open[i] = i;
    }
    window_random random(options.seed);
    std::vector<bool> used(documents.size(), false);
    calibration_cut out;
    out.documents = documents.size();
    while (out.windows.size() < options.num_sequences) {
        if (open.empty()) {
            return packed_windows(t, documents, options);
        }
        std::size_t const drawn = random.below(open.size());
        std::vector<std::int32_t> const ids = encode_document(t, documents[open[drawn]], options);
        if (ids.size() > options.sequence_length) {
            out.windows.push_back(crop(ids, options.sequence_length, random));
            out.used += used[open[drawn]] ? 0 : 1;
            used[open[drawn]] = true;
        } else {
            open[drawn] = open.back();
            open.pop_back();
        }
    }
    return out;
}

}  // namespace detail

/// num_sequences windows of sequence_length tokens. Plain text: the documents joined by a newline
/// are tokenized once, without BOS, and windows begin anywhere. Documents: a random crop of a
/// random document that is longer than a window (the harness's rule for C4); when there is none, of
/// all documents joined. The same seed gives the same windows everywhere. Errors: fpq::error
/// (usage) for a length of zero; (input) for too few tokens.
inline calibration_cut calibration_windows(tokenizer const& t, document_store const& documents,
                                           window_options const& options) {
    if (options.sequence_length == 0) {
        fail_usage("sequence_length", {}, "1 or more", "0");
    }
    calibration_cut out = options.is_plain_text ? detail::stream_windows(t, documents, options)
                                                : detail::document_windows(t, documents, options);
    out.malformed = documents.malformed();
    out.replaced = documents.replaced() * detail::characters_of_many >= documents.bytes()
                       ? documents.replaced()
                       : 0;
    return out;
}

}  // namespace fpq
